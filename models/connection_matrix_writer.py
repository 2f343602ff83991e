"""Writer of htsim's connection matrices: what ``models/connection_matrix.py`` reads back as it was.

htsim's own reader takes single blanks, comments only above the first flow, ids from 1, and an id for each flow that a
trigger starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.connection_matrix import CmFailure, CmFlow, CmTrigger, ConnectionMatrix


def written(matrix: ConnectionMatrix, comments: Sequence[str] = ()) -> str:
    """The text of a ``.cm`` file. ``comments``: lines for its head."""
    return "\n".join(_lines(matrix, comments)) + "\n"


def _lines(matrix: ConnectionMatrix, comments: Sequence[str]) -> Iterator[str]:
    for comment in comments:
        yield f"# {comment}"
    yield f"Nodes {matrix.nodes}"
    yield f"Connections {len(matrix.flows)}"
    for word, items in (("Triggers", matrix.triggers), ("Failures", matrix.failures)):
        if items:
            yield f"{word} {len(items)}"
    yield from map(_flow, matrix.flows)
    yield from map(_trigger, matrix.triggers)
    yield from map(_failure, matrix.failures)


def _flow(flow: CmFlow) -> str:
    begins = f"start {flow.start}" if flow.trigger is None else f"trigger {flow.trigger}"
    words = [f"{flow.src}->{flow.dst}", f"id {flow.id}" if flow.id is not None else "", begins, f"size {flow.size}"]
    for name in ("send_done_trigger", "recv_done_trigger", "prio"):
        value: int | None = getattr(flow, name)
        words.append(f"{name} {value}" if value is not None else "")
    return " ".join(word for word in words if word)


def _trigger(trigger: CmTrigger) -> str:
    return f"trigger id {trigger.id} {trigger.kind}" + (f" count {trigger.count}" if trigger.kind == "barrier" else "")


def _failure(failure: CmFailure) -> str:
    return f"failure switch_type {failure.switch_type} switch_id {failure.switch_id} link_id {failure.link_id}"
