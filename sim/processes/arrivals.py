"""Flows that arrive over time: when (gaps), between whom (pairs), how large (sizes), how many.

Every draw is made from the workload's own generator in blocks of a fixed length, so that neither a policy nor the
number of flows changes the flows that come before; 100,000 flows take the memory of one block.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from models.sizes import SizeDistribution
from sim.processes.collective import SendsOne
from sim.processes.pairs import Pairs

BLOCK = 4096


class Block(NamedTuple):
    """Flows in order of their start: ps, hosts, bytes; [n] each."""

    start: NDArray[np.int64]
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    size: NDArray[np.int64]


class Gaps(Protocol):
    def starts(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Blocks of start times in ps, not falling; all but the last have ``BLOCK`` entries."""
        ...


def poisson_gap(load: float, capacity: int, mean_size: float) -> float:
    """Mean gap in ps at which flows of ``mean_size`` bytes offer ``load`` x ``capacity`` bit/s."""
    return mean_size * 8.0 * 1e12 / (load * capacity)


class PoissonGaps:
    """Exponential gaps of ``mean`` ps; starts are rounded down to ps."""

    def __init__(self, mean: float) -> None:
        if not 0.0 < mean < 2.0**60:
            raise ValueError(f"a mean gap of {mean:g} ps is out of range")
        self._mean = mean

    def _draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """[BLOCK] gaps of mean 1."""
        return rng.standard_exponential(BLOCK)

    def starts(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        whole, rest = 0, 0.0  # time so far, so that the sums of a long run keep their precision
        while True:
            times = rest + np.cumsum(self._draw(rng) * self._mean)
            if whole + float(times[-1]) >= 2.0**63:
                return
            down = np.floor(times)
            yield whole + down.astype(np.int64)
            whole += int(down[-1])
            rest = float(times[-1] - down[-1])


class EqualGaps:
    """The same gap in ps before every flow; the first comes after one gap."""

    def __init__(self, gap: int) -> None:
        if gap < 0:
            raise ValueError(f"a gap of {gap} ps is negative")
        self._gap = gap

    def starts(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        begin = 0
        while begin + BLOCK * self._gap < 2**63:
            yield begin + self._gap * np.arange(1, BLOCK + 1, dtype=np.int64)
            begin += BLOCK * self._gap


class ListedGaps:
    """Given gaps in ps; with their end no more flows come."""

    def __init__(self, gaps: Iterable[int]) -> None:
        self._starts = np.cumsum(np.array(list(gaps), dtype=np.int64))

    def starts(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        for begin in range(0, len(self._starts), BLOCK):
            yield self._starts[begin : begin + BLOCK]


def draw_flows(
    rng: np.random.Generator,
    gaps: Gaps,
    pairs: Pairs,
    sizes: SizeDistribution,
    *,
    count: int | None = None,
    until: int | None = None,
) -> Iterator[Block]:
    """The flows of an open loop: at most ``count``, none that starts after ``until`` ps."""
    left = count
    for start in gaps.starts(rng):
        src, dst = pairs.draw(rng, BLOCK)
        size = sizes.sample(rng, BLOCK)
        number = len(start) if left is None else min(left, len(start))
        if until is not None:
            number = min(number, int(np.searchsorted(start, until, side="right")))
        if number:
            yield Block(start[:number], src[:number], dst[:number], size[:number])
        if left is not None:
            left -= number
        if left == 0 or number < len(start):
            return


def listed_flows(start: Iterable[int], src: Iterable[int], dst: Iterable[int], size: Iterable[int]) -> Iterator[Block]:
    """Given flows, in order of their start (those of one instant in the order given)."""
    columns = [np.array(list(values), dtype=np.int64) for values in (start, src, dst, size)]
    order = np.argsort(columns[0], kind="stable")
    for begin in range(0, len(order), BLOCK):
        now = order[begin : begin + BLOCK]
        yield Block(*(column[now] for column in columns))


class Arrivals:
    """Starts flows when they are due. ``done`` comes when all of them have been delivered, or given up by a gate.

    ``endless``: the flows have no end of their own, so ``done`` never comes.
    """

    def __init__(
        self,
        env: simpy.Environment,
        flows: SendsOne,
        blocks: Iterator[Block],
        *,
        endless: bool = False,
        name: str = "flows",
    ) -> None:
        self._env = env
        self._flows = flows
        self._name = name
        self.endless = endless
        self.started = 0
        self.delivered = 0
        self._given_up = 0
        self._all_started = False
        self.done: simpy.Event = env.event()
        env.process(self._run(blocks))

    def _run(self, blocks: Iterator[Block]) -> Generator[simpy.Event, Any, None]:
        env, send, note, job = self._env, self._flows.send, self._note, self._name
        for block in blocks:
            for start, src, dst, size in zip(*(column.tolist() for column in block), strict=True):
                if start > env.now:
                    yield env.timeout(start - env.now)
                self.started += 1
                send(src, dst, size, note, job)
        self._all_started = True
        self._end_if_over()

    def _note(self) -> None:
        self.delivered += 1
        self._end_if_over()

    def give_up(self) -> None:
        """A flow that was started will not be delivered."""
        self._given_up += 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._all_started and self.delivered + self._given_up == self.started and not self.done.triggered:
            self.done.succeed()

    def describe_waiting(self) -> list[str]:
        open_flows = self.started - self.delivered - self._given_up
        if not open_flows:
            return []
        return [f"{self._name}: {open_flows} of {self.started} started flows are not delivered"]
