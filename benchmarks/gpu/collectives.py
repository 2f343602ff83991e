"""NCCL collectives of one machine's GPUs: a process a GPU, sizes and bandwidths counted as nccl-tests does."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import inner_calls, repeats, summary

COLUMNS = (
    "system", "device", "collective", "dtype", "num_gpus", "bytes", "time_us", "algbw_GBps", "busbw_GBps",
    "nccl_version_reported",
)  # fmt: skip
KEYS = ("collective", "dtype", "num_gpus", "bytes")
DTYPES = {"half": "float16"}
QUIET_US = 30_000.0  # of samples a point


def bus_factor(collective: str, ranks: int) -> float:
    """Bus bandwidth over algorithm bandwidth (bytes over time), as nccl-tests defines them."""
    return (2.0 if collective == "all_reduce" else 1.0) * (ranks - 1) / ranks


def row(system: str, device: str, nccl: str, found: dict[str, Any]) -> dict[str, object]:
    """``found`` is one line of a rank: collective, dtype, num_gpus, bytes, time_us."""
    algorithm = found["bytes"] / found["time_us"] / 1e3
    factor = bus_factor(found["collective"], found["num_gpus"])
    return {
        "system": system, "device": device, "nccl_version_reported": nccl,
        **{name: found[name] for name in ("collective", "dtype", "num_gpus", "bytes", "time_us")},
        "algbw_GBps": algorithm, "busbw_GBps": algorithm * factor,
    }  # fmt: skip


def elements(size: int, each: int, ranks: int) -> int:
    """Numbers of ``each`` bytes in ``size`` bytes, a whole number of them a rank and at least one."""
    return max(1, size // each // ranks) * ranks


def operation(collective: str, count: int, dtype: Any, device: Any, ranks: int) -> Callable[[], Any]:
    """One call. ``count`` numbers are what a rank sends (all_reduce, reduce_scatter, alltoall) or receives
    (all_gather) in all. They are zeros, since all_reduce is in place and sums of others would grow without end."""
    import torch
    import torch.distributed as dist

    whole = torch.zeros(count, dtype=dtype, device=device)
    if collective == "all_reduce":
        return lambda: dist.all_reduce(whole)
    if collective == "alltoall":
        other = torch.empty_like(whole)
        return lambda: dist.all_to_all_single(other, whole)
    share = torch.zeros(count // ranks, dtype=dtype, device=device)
    if collective == "all_gather":
        return lambda: dist.all_gather_into_tensor(whole, share)
    return lambda: dist.reduce_scatter_tensor(share, whole)


def _rank(
    rank: int, ranks: int, points: list[tuple[str, int]], dtype_name: str, deadline: float, quick: bool, folder: str
) -> None:
    """The process of one GPU. Rank 0 decides when time is up and writes a line a point."""
    import torch
    import torch.distributed as dist

    torch.cuda.set_device(rank)
    device = torch.device("cuda", rank)
    dist.init_process_group("nccl", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    dtype = getattr(torch, DTYPES[dtype_name])
    word = torch.zeros(1, dtype=torch.float64, device=device)

    def agreed(value: float, how: Any) -> float:
        word.fill_(value)
        dist.all_reduce(word, op=how)
        return float(word.item())

    def sample(call: Callable[[], Any], inner: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(inner):
            call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e3

    try:
        for collective, size in points:
            if agreed(float(rank == 0 and time.monotonic() >= deadline), dist.ReduceOp.MAX):
                break
            count = elements(size, dtype.itemsize, ranks)
            call = operation(collective, count, dtype, device, ranks)
            sample(call, 5)
            estimate = agreed(sample(call, 5) / 5, dist.ReduceOp.MAX)
            inner = inner_calls(estimate, 1)
            many = repeats(estimate * inner, QUIET_US, (3, 5) if quick else (5, 15))
            samples = []
            for _ in range(many):
                dist.barrier()
                samples.append(sample(call, inner))
            timing = summary(samples, inner)
            mean = agreed(timing.us, dist.ReduceOp.SUM) / ranks
            if rank == 0:
                found = {
                    "collective": collective, "dtype": dtype_name, "num_gpus": ranks,
                    "bytes": count * dtype.itemsize, "time_us": mean, "spread": timing.spread, "repeats": many,
                }  # fmt: skip
                with (Path(folder) / "lines").open("a") as file:
                    file.write(json.dumps(found) + "\n")
    finally:
        dist.destroy_process_group()


def measure(
    ranks: int, points: list[tuple[str, int]], dtype: str, deadline: float, quick: bool
) -> Iterator[dict[str, Any]]:
    """Lines as ``row`` takes them, with ``spread`` and ``repeats`` of rank 0; the time is the mean of the ranks.

    ``deadline`` is a time of ``time.monotonic``. RuntimeError where a rank fails, after the lines that were done.
    """
    import torch.multiprocessing as processes

    with tempfile.TemporaryDirectory() as folder:
        failure = None
        try:
            processes.spawn(_rank, (ranks, points, dtype, deadline, quick, folder), nprocs=ranks)
        except (processes.ProcessRaisedException, processes.ProcessExitedException) as error:
            failure = str(error).strip().splitlines()[-1]
        lines = Path(folder) / "lines"
        if lines.exists():
            yield from map(json.loads, lines.read_text().splitlines())
        if failure:
            raise RuntimeError(failure)
