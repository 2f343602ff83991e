"""Times of GPU work: operands that are not in the cache by chance, and CUDA events around many calls.

One sample is a CUDA graph of enough calls to last 2 ms (the calls themselves where a graph cannot hold them), between
two events; a point is the median of 5 to 25 samples after a warm-up. The kernels of a graph follow each other at
once, so a time holds the gap between two dependent kernels and no launch from the host.

States of the cache, by name:
    rotate  operands take turns among up to 6 sets, or as many as exceed the L2 twice: weights come from memory as in
            a model of many layers, unless they are smaller than a third of the L2. The state of the shipped tables.
    warm    one set: whatever fits into the L2 is read from there.
    flush   the L2 is overwritten before every call; the time of overwriting is measured alone and taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.gpu.machine import l2_bytes
from benchmarks.gpu.record import Timing, inner_calls, repeats, summary

CACHES = ("rotate", "warm", "flush")
SETS = 6  # at most, as the collector of the shipped GEMM tables has it
QUIET_US = 12_000.0  # of samples a point
Call = Callable[[], object]


class Pool:
    """Random numbers made once, handed out as operands: no point waits for its own.

    Operands must not be zeros: a GPU computes those with less power, hence at a higher clock.
    """

    def __init__(self, device: str, size: int, fill: str = "random") -> None:
        """``size`` in bytes of bfloat16. ``fill`` is ``random`` (normal) or ``zeros``."""
        import torch

        self._torch, self._device = torch, device
        self._buffers: dict[Any, Any] = {torch.bfloat16: torch.zeros(size // 2, dtype=torch.bfloat16, device=device)}
        if fill == "random":
            torch.manual_seed(1)
            self._buffers[torch.bfloat16].normal_()
        self._at: dict[Any, int] = {}

    def take(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """A contiguous tensor of ``shape``, other memory than the one before. ValueError where the pool is too small.

        What is handed out is for reading only: it comes around again.
        """
        torch = self._torch
        dtype = dtype or torch.bfloat16
        if dtype not in self._buffers:
            self._buffers[dtype] = self._converted(dtype)
        buffer, at = self._buffers[dtype], self._at.get(dtype, 0)
        count = 1
        for side in shape:
            count *= side
        if count > buffer.numel():
            raise ValueError("larger than the pool of operands")
        if at + count > buffer.numel():
            at = 0
        self._at[dtype] = at + -(-count // 512) * 512  # aligned to 512 bytes and more
        return buffer[at : at + count].view(*shape)

    def fill(self, tensor: Any) -> Any:
        """The pool's numbers over and over into a tensor of its own."""
        flat, source = tensor.view(-1), self._buffers[self._torch.bfloat16]
        for at in range(0, flat.numel(), source.numel()):
            part = flat[at : at + source.numel()]
            part.copy_(source[: part.numel()])
        return tensor

    def _converted(self, dtype: Any) -> Any:
        source = self._buffers[self._torch.bfloat16]
        result = self._torch.empty(source.numel(), dtype=dtype, device=self._device)
        for at in range(0, source.numel(), 2**26):
            result[at : at + 2**26].copy_(source[at : at + 2**26])
        return result


class Timer:
    """Measures calls on the current GPU in one state of the cache."""

    def __init__(self, cache: str = "rotate", quick: bool = False) -> None:
        import torch

        self._torch, self.cache = torch, cache
        self._limits = (3, 7) if quick else (5, 25)
        self._l2 = l2_bytes()
        self._scrap = torch.empty(2 * self._l2, dtype=torch.int8, device="cuda") if cache == "flush" else None
        self._flush_us: float | None = None

    def sets(self, size: int) -> int:
        """How many sets of operands of ``size`` bytes take turns."""
        if self.cache != "rotate":
            return 1
        return max(1, min(SETS, -(-2 * self._l2 // max(size, 1))))

    def __call__(self, calls: Sequence[Call], graph: bool = True) -> Timing:
        """Time of one call; the calls, one a set of operands, take turns. ``graph`` False launches from the host.

        RuntimeError (out of memory among them) and NotImplementedError come from PyTorch, ValueError for a time that
        cannot be told from nothing.
        """
        try:
            for call in calls:
                call()
            estimate = self._samples(lambda: _all(calls), 1)[0] / len(calls)
            if self.cache == "flush":
                return self._flushed(calls[0], graph, estimate)
            inner = inner_calls(estimate, len(calls))
            work = _turns(calls, inner)
            if graph:
                work = self._captured(work)
            return summary(self._repeated(work, estimate * inner), inner)
        finally:
            self._torch.cuda.empty_cache()  # the memory of graphs is not used again otherwise

    def _flushed(self, call: Call, graph: bool, estimate: float) -> Timing:
        assert self._scrap is not None
        scrap = self._scrap
        if not graph:  # one call behind a flush that hides its launch

            def prepare() -> None:
                scrap.zero_()

            return summary(self._samples(call, repeats(estimate, QUIET_US, self._limits), prepare))
        flushes = 8

        def flush() -> None:
            scrap.zero_()

        def both() -> None:
            scrap.zero_()
            call()

        if self._flush_us is None:
            self._flush_us = summary(self._repeated(self._captured(_turns([flush], flushes)), 0.0), flushes).us
        samples = self._repeated(self._captured(_turns([both], flushes)), estimate * flushes)
        return summary([sample - flushes * self._flush_us for sample in samples], flushes)

    def _captured(self, work: Call) -> Call:
        torch = self._torch
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def _repeated(self, work: Call, estimate: float) -> list[float]:
        work()
        return self._samples(work, repeats(estimate, QUIET_US, self._limits))

    def _samples(self, work: Call, count: int, prepare: Call | None = None) -> list[float]:
        """Microseconds between events around ``work``, ``count`` times one after the other."""
        torch = self._torch
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        torch.cuda.synchronize()
        for begin, end in pairs:
            if prepare:
                prepare()
            begin.record()
            work()
            end.record()
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) * 1000.0 for begin, end in pairs]


def _all(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


def _turns(calls: Sequence[Call], inner: int) -> Call:
    def work() -> None:
        for index in range(inner):
            calls[index % len(calls)]()

    return work
