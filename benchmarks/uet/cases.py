"""The cases of uet-htsim's validation suite with what it published (commit 40ccb05, 2025-08-12): ``cases.csv``.

Columns: name; matrix (see ``matrices.py``); nodes; control (nscc: sender only, credit: receiver only, both); balancer
and its entropies (paths, 0: the switches choose); sack: an ACK per 16,384 B, or ``packet``; queue: packets, empty:
1 BDP; slow: links at a quarter of their rate; window: packets at the start, empty: 1.5 BDP; uplinks of a leaf with 32
hosts (two tiers), empty: a full three-tier fat-tree; bytes of a flow; the published tail (end of the last flow, us),
least (of the first, us) and again (packets sent again); held.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FILE = Path(__file__).with_name("cases.csv")
MTU, HEADER, ACK = 4150, 64, 64  # bytes: a full packet on the wire, what of it is header, an ACK
RATE, DELAY = 100 * 10**9, 1_000_000  # bit/s, ps: every link


@dataclass(frozen=True)
class Case:
    """One line of the table. ``held``: listed or further, and how: see ``kind``."""

    name: str
    matrix: str
    nodes: int
    control: str
    balancer: str
    paths: int
    sack: str
    queue: int | None
    slow: int
    window: int | None
    uplinks: int | None
    bytes: int
    tail: float
    least: float
    again: int
    held: str

    @property
    def listed(self) -> bool:
        """Whether the tolerance was agreed for this very row; the others are checked apart."""
        return self.held != "further" and not self.held.startswith("further ")

    @property
    def kind(self) -> str:
        """band: our median is near; range: the published value lies in our range; shown: held to nothing."""
        return {"range": "range", "shown": "shown"}.get(self.held.split()[-1], "band")

    @property
    def title(self) -> str:
        """What is special of it, in words."""
        words = [self.balancer if self.name == "balancer" else self.name]
        if self.sack:
            words.append("an ACK a packet")
        if self.queue is not None:
            words.append(f"queue {self.queue}")
        if self.slow:
            words.append(f"{self.slow} slow link{'s' if self.slow > 1 else ''}")
        return ", ".join(words)

    @property
    def slug(self) -> str:
        """Its name as a scenario's."""
        letters = "".join(letter if letter.isalnum() else "_" for letter in f"{self.title} {self.control}".lower())
        return "_".join(filter(None, letters.split("_")))

    @cached_property
    def bdp(self) -> int:
        """Packets: of the longest unloaded round trip, rounded up."""
        hops = 6 if self.uplinks is None else 4
        wire = 8 * (MTU + ACK) * 10**12 // RATE
        rtt = hops * (2 * DELAY + wire)
        return -(-rtt * RATE // (8 * 10**12 * MTU))


def cases() -> list[Case]:
    """All of them, in the file's order."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return [_case(row) for row in csv.DictReader(file)]


def _case(row: dict[str, str]) -> Case:
    optional = {key: int(row[key]) if row[key] else None for key in ("queue", "window", "uplinks")}
    return Case(
        name=row["name"], matrix=row["matrix"], nodes=int(row["nodes"]), control=row["control"],
        balancer=row["balancer"], paths=int(row["paths"]), sack=row["sack"], slow=int(row["slow"] or 0),
        bytes=int(row["bytes"]), tail=float(row["tail"]), least=float(row["least"]), again=int(row["again"]),
        held=row["held"], queue=optional["queue"], window=optional["window"], uplinks=optional["uplinks"],
    )  # fmt: skip
