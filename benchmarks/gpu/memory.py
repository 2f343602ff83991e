"""Memory traffic by size, and what a launch costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.grids import Copy
from benchmarks.gpu.record import Timing, summary

COLUMNS = ("operation", "bytes", "time_us", "GBps")
KEYS = ("operation", "bytes")
LAUNCH_COLUMNS = ("kind", "time_us")
LAUNCHES = 1000  # a sample
WARM = 3  # samples that are thrown away

# Bytes read and written per byte of the tensor.
TRAFFIC = {
    "memset": 1, "sum": 1, "copy": 2, "silu": 2, "add": 3,
    "host_to_device": 1, "device_to_host": 1, "host_to_device_pageable": 1,
}  # fmt: skip


def traffic(point: Copy) -> int:
    """Bytes that the operation reads and writes; over the host's bus, the bytes that cross it."""
    return TRAFFIC[point.operation] * point.size


def graphable(point: Copy) -> bool:
    """Copies over the host's bus are launched one by one."""
    return "host" not in point.operation


def calls(point: Copy, sets: Callable[[int], int], device: str) -> list[Callable[[], Any]]:
    """One call a set of tensors; bfloat16, contiguous, results into memory that is there already."""
    import torch

    def tensor(where: str = device, pinned: bool = False) -> Any:
        found = torch.empty(point.size // 2, dtype=torch.bfloat16, device=where, pin_memory=pinned)
        return found.fill_(0.5) if where == "cpu" else found.normal_()

    def call() -> Callable[[], Any]:
        name = point.operation
        if name == "memset":
            return tensor().zero_
        if name in ("copy", "host_to_device", "device_to_host", "host_to_device_pageable"):
            pinned = name in ("host_to_device", "device_to_host")
            source = tensor("cpu", pinned) if name.startswith("host") else tensor()
            target = tensor("cpu", pinned) if name == "device_to_host" else tensor()
            return lambda: target.copy_(source, non_blocking=True)
        a, out = tensor(), tensor()
        if name == "sum":
            return lambda: torch.sum(a, dim=0, out=out[0])
        if name == "silu":
            return lambda: torch.ops.aten.silu.out(a, out=out)
        b = tensor()
        return lambda: torch.add(a, b, out=out)

    return [call() for _ in range(sets(traffic(point)))]


def row(point: Copy, us: float) -> dict[str, object]:
    moved = traffic(point)
    return {"operation": point.operation, "bytes": moved, "time_us": us, "GBps": moved / us / 1e3}


KINDS = (
    "launch_host",  # the host's time to enqueue a kernel
    "launch",  # from kernel to kernel, launched one by one
    "launch_round_trip",  # one kernel, and the host's wait for its end
    "graph_kernel",  # from kernel to kernel in a graph
    "graph_launch",  # from graph to graph of one kernel
    "event_pair",  # what two events with nothing between them measure
)


def launch(kind: str) -> Timing:
    """What a launch costs, with a kernel that works on 32 numbers."""
    import torch

    small = torch.zeros(32, dtype=torch.bfloat16, device="cuda")

    def kernels(count: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(count):
                small.add_(1)

        return work

    def graph(count: int) -> Callable[[], None]:
        found = torch.cuda.CUDAGraph()
        with torch.cuda.graph(found):
            kernels(count)()
        return found.replay

    def replays(count: int) -> Callable[[], None]:
        replay = graph(1)

        def work() -> None:
            for _ in range(count):
                replay()

        return work

    if kind == "launch_host":
        return _on_host(kernels(LAUNCHES), LAUNCHES)
    if kind == "launch_round_trip":
        return _on_host(kernels(1), 1, wait=True)
    if kind == "event_pair":
        return _on_device(kernels(0), 1)
    if kind == "graph_launch":
        return _on_device(replays(100), 100)
    return _on_device((graph if kind == "graph_kernel" else kernels)(LAUNCHES), LAUNCHES)


def _on_host(work: Callable[[], object], count: int, wait: bool = False) -> Timing:
    """By the host's clock, ``count`` launches a sample; ``wait`` counts the wait for the GPU in."""
    import torch

    samples = []
    for _ in range(WARM + 20):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        if wait:
            torch.cuda.synchronize()
        samples.append((time.perf_counter() - begin) * 1e6)
    return summary(samples[WARM:], count)


def _on_device(work: Callable[[], object], count: int) -> Timing:
    import torch

    samples = []
    for _ in range(WARM + 20):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        samples.append(begin.elapsed_time(end) * 1e3)
    return summary(samples[WARM:], count)
