"""The parts of a time: what they are called, how they add up, and how they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.why.text import BAR, bar, share_text, time_text
from models.explained import PARTS

# of a flow (models/explained.py), then what only collectives and layers of experts have
MEANING: dict[str, str] = {
    "hold": "path policy: batch timer, jitter; admission",
    "sending": "its earlier packets leave the source",
    "source": "at the source: NIC shared, window full",
    "recovery": "until a retransmission timer ran out",
    "serialisation": "its bits onto the wires",
    "propagation": "along the wires",
    "queueing": "in queues on the way",
    "sharing": "sharing links with other flows",
    "reordering": "at the receiver for earlier packets",
    "ack": "until the last ACK was back",
    "launch": "before messages leave: launches",
    "plan": "counts, planner, GPUs that came later",
    "join": "a rank or GPU came later than the first",
    "other": "work of other layers that had to end",
    "compute": "computing before it joined",
    "idle": "between what the tables hold",
    # of a request
    "held": "until the router sent it",
    "way": "from the router to the replica",
    "queue": "in the replica's queue",
    "prefill": "steps until the first token",
    "transfer": "its KV cache to another replica",
    "decode": "steps from then to the last token",
    "requeue": "in a queue again: preempted, or moved",
}
FLOW_PARTS = tuple(name.removesuffix("_ps") for name in PARTS)


def part_list(parts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Name, ps and share of each part that is not 0, in the order given."""
    total = sum(parts.values())
    return [{"part": name, "ps": ps, "share": ps / total} for name, ps in parts.items() if ps]


def of_flow(row: Any, *, acked: bool = True) -> dict[str, int]:
    """The parts of a row of ``flow_times``; without the last where only the delivery counts."""
    return {part: int(row[f"{part}_ps"]) for part in FLOW_PARTS if acked or part != "ack"}


def part_lines(parts: list[dict[str, Any]], total_ps: int) -> list[str]:
    """A line with a bar for each part, and their sum."""
    lines = [
        f"  {entry['part']:<14} {time_text(entry['ps']):>10} {share_text(entry['share']):>7}  "
        f"{bar(entry['share']):<{BAR}}  {MEANING.get(entry['part'], 'compute')}"
        for entry in parts
    ]
    return [line.rstrip() for line in [*lines, f"  {'total':<14} {time_text(total_ps):>10} {'':>7}  {total_ps} ps"]]
