"""What the schedules of this folder share: chunks, gates, and why a size or number of ranks won't do."""

from __future__ import annotations

from sim.dispatch.api import Message


def chunk(size: int, ranks: int, index: int) -> int:
    """Bytes of chunk ``index``: floor((i+1) S / n) - floor(i S / n)."""
    return (index + 1) * size // ranks - index * size // ranks


def chunks(size: int, ranks: int) -> list[int]:
    """All chunks of ``size``. ValueError where there is nothing to send."""
    if size < 1:
        raise ValueError(f"a collective of {size} bytes has nothing to send")
    return [chunk(size, ranks, index) for index in range(ranks)]


def too_few(ranks: int) -> str | None:
    """The fault that every operation has with fewer than two ranks."""
    return None if ranks >= 2 else f"a collective needs at least 2 ranks; the group has {ranks}"


class Schedule:
    """Messages and gates in the making. A message of 0 bytes is a signal: it only counts down a gate."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.counts: list[int] = []

    def gate(self, count: int) -> int:
        """A new gate that opens after ``count`` arrivals."""
        self.counts.append(count)
        return len(self.counts) - 1

    def send(self, src: int, dst: int, size: int, waits_for: int = -1, opens: int = -1) -> None:
        self.messages.append(Message(src, dst, size, waits_for, opens))

    def result(self) -> tuple[list[Message], list[int]]:
        return self.messages, self.counts
