"""The parts of a measurement: each goes through its points until its time is up and keeps a table of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from benchmarks.gpu import attention, collectives, gemm, grids, loads, machine, memory, moe
from benchmarks.gpu.record import Budget, Outcome, Table, Timing, first_line
from benchmarks.gpu.timer import Pool, Timer

Point = TypeVar("Point")


class DeviceLost(RuntimeError):
    """The GPU answers no more; what is measured stays."""


@dataclass
class Bench:
    """What the parts share."""

    system: str
    timer: Timer
    pool: Pool
    budget: Budget
    out: Path
    quick: bool
    device: str = "cuda"
    deadline: float = 0.0

    def until(self, points: Sequence[Point], outcome: Outcome) -> Iterator[Point]:
        for point in points:
            if self.budget.over(self.deadline):
                outcome.stopped = True
                return
            yield point

    def attempt(self, outcome: Outcome, work: Callable[..., Timing], *given: Any) -> Timing | None:
        """``work(bench, *given)``; None, and the reason noted, where this GPU or this PyTorch cannot do it."""
        import torch

        try:
            timing = work(self, *given)
        except torch.cuda.OutOfMemoryError:
            outcome.fail("out of GPU memory")
        except (RuntimeError, ValueError, NotImplementedError) as error:
            outcome.fail(first_line(error))
            try:
                torch.cuda.synchronize()
            except RuntimeError as lost:
                raise DeviceLost(first_line(lost)) from error
        else:
            outcome.measure(timing)
            return timing
        return None


def _dtypes() -> list[str]:
    import torch

    return gemm.dtypes(torch.cuda.get_device_capability())


def _product(bench: Bench, point: grids.Gemm) -> Timing:
    return bench.timer(gemm.calls(point, bench.pool, bench.timer.sets))


def _products(bench: Bench, points: list[grids.Gemm], name: str) -> Outcome:
    outcome = Outcome(len(points))
    with Table(bench.out / name, gemm.COLUMNS, gemm.KEYS) as table:
        for point in bench.until(points, outcome):
            if timing := bench.attempt(outcome, _product, point):
                table.add(**gemm.row(bench.system, point, timing.us))
    return outcome


def gemm_part(bench: Bench, name: str) -> Outcome:
    return _products(bench, grids.gemm(_dtypes(), bench.quick), name)


def gemm_sweep_part(bench: Bench, name: str) -> Outcome:
    return _products(bench, grids.gemm_sweep(_dtypes(), bench.quick), name)


def _attention(bench: Bench, point: grids.Attention, backend: Any) -> Timing:
    return bench.timer(attention.calls(point, backend, bench.pool, bench.timer.sets))


def attention_part(bench: Bench, name: str) -> Outcome:
    points, kernels = grids.attention(bench.quick), attention.kernels()
    outcome = Outcome(len(points) * len(kernels))
    with Table(bench.out / name, attention.COLUMNS, attention.KEYS) as table:
        for point in bench.until(points, outcome):
            for kernel, backend in kernels.items():
                if timing := bench.attempt(outcome, _attention, point, backend):
                    table.add(**attention.row(point, kernel, timing.us))
    return outcome


def moe_part(bench: Bench, name: str) -> Outcome:
    """Each row is the mean over its draws; the draws themselves, with the copies by expert, are in a second table."""
    groups, kernels = grids.moe(bench.quick), moe.kernels()
    outcome = Outcome(sum(map(len, groups)) * len(kernels))
    path = bench.out / name
    second = path.with_name(f"{path.stem}_draws.csv")
    with (
        Table(path, moe.COLUMNS, moe.KEYS) as table,
        Table(second, moe.DRAW_COLUMNS, (*moe.KEYS, "draw")) as every,
    ):
        for group in groups:
            if bench.budget.over(bench.deadline):
                outcome.stopped = True
                break
            shape, tp, ep = group[0].shape, group[0].tp, group[0].ep
            if moe.Experts.size(shape, shape.experts // ep, tp) > 0.6 * _free():
                outcome.fail(f"weights of {shape.name} with ep {ep} do not fit", len(group) * len(kernels))
                continue
            experts = moe.Experts(shape, shape.experts // ep, tp, bench.pool, bench.device)
            for point in bench.until(group, outcome):
                for kernel in kernels:
                    if timing := bench.attempt(outcome, _draws, experts, point, kernel, every):
                        table.add(**moe.row(point, kernel, timing.us))
            del experts
    return outcome


def _free() -> int:
    """Bytes of GPU memory that are free or kept by PyTorch for the next tensor."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _draws(bench: Bench, experts: moe.Experts, point: grids.Moe, kernel: str, every: Table) -> Timing:
    shape, timings = point.shape, []
    for number in range(loads.draws(point.distribution, bench.quick)):
        counts = loads.draw(point.distribution, point.tokens, shape.experts, shape.top_k, point.ep, number)
        timing = _experts(bench, experts, counts, point.tokens, kernel)
        timings.append(timing)
        every.add(
            **moe.row(point, kernel, timing.us), draw=number, copies=sum(counts),
            tokens_per_expert=" ".join(map(str, counts)),
        )  # fmt: skip
    mean = statistics.fmean(timing.us for timing in timings)
    return Timing(mean, max(timing.spread for timing in timings), sum(timing.repeats for timing in timings))


def _experts(bench: Bench, experts: moe.Experts, counts: list[int], tokens: int, kernel: str) -> Timing:
    batch = moe.Batch(counts, tokens, experts.hidden, bench.pool, bench.device)
    return bench.timer([partial(moe.kernels()[kernel], experts, batch)], graph=kernel != moe.LOOP)


def moe_activated_part(bench: Bench, name: str) -> Outcome:
    """One layer of Qwen3-30B-A3B by tokens and by how many experts they meet, by the grouped product if there is one
    and else by the loop in a graph."""
    points, shape = grids.activated(bench.quick), grids.QWEN_30B
    kernel = moe.GROUPED if moe.GROUPED in moe.kernels() else moe.LOOP_GRAPH
    outcome = Outcome(len(points))
    experts = moe.Experts(shape, shape.experts, 1, bench.pool, bench.device)
    with Table(bench.out / name, moe.ACTIVATED_COLUMNS, moe.ACTIVATED_COLUMNS[:2]) as table:
        for tokens, some in bench.until(points, outcome):
            counts = loads.even(tokens * shape.top_k, some) + [0] * (shape.experts - some)
            if timing := bench.attempt(outcome, _experts, experts, counts, tokens, kernel):
                table.add(
                    tokens=tokens, activated_experts=some, time_us=timing.us,
                    model_shape=shape.name, dtype="bfloat16", kernel=kernel,
                )  # fmt: skip
    return outcome


def _memory(bench: Bench, point: grids.Copy) -> Timing:
    return bench.timer(memory.calls(point, bench.timer.sets, bench.device), memory.graphable(point))


def memory_part(bench: Bench, name: str) -> Outcome:
    points = grids.memory(bench.quick)
    outcome = Outcome(len(points))
    with Table(bench.out / name, memory.COLUMNS, memory.KEYS) as table:
        for point in bench.until(points, outcome):
            if timing := bench.attempt(outcome, _memory, point):
                table.add(**memory.row(point, timing.us))
    return outcome


def launch_part(bench: Bench, name: str) -> Outcome:
    outcome = Outcome(len(memory.KINDS))
    with Table(bench.out / name, memory.LAUNCH_COLUMNS, memory.LAUNCH_COLUMNS[:1]) as table:
        for kind in bench.until(memory.KINDS, outcome):
            if timing := bench.attempt(outcome, _launch, kind):
                table.add(kind=kind, time_us=timing.us)
    return outcome


def _launch(bench: Bench, kind: str) -> Timing:
    return memory.launch(kind)


def collectives_part(bench: Bench, name: str) -> Outcome:
    import torch

    points, groups = grids.collectives(bench.quick), grids.group_sizes(torch.cuda.device_count())
    found = machine.describe()
    outcome = Outcome(len(points) * len(groups))
    shares = Budget(bench.budget.left(bench.deadline), {str(ranks): 1.0 for ranks in groups})
    with Table(bench.out / name, collectives.COLUMNS, collectives.KEYS) as table:
        for ranks in groups:
            try:
                for line in collectives.measure(ranks, points, "half", shares.start(str(ranks)), bench.quick):
                    table.add(**collectives.row(bench.system, found["gpu"], str(found["nccl"]), line))
                    outcome.measure(Timing(line["time_us"], line["spread"], line["repeats"]))
            except RuntimeError as error:
                outcome.fail(first_line(error))
    outcome.stopped = bench.budget.over(bench.deadline)
    return outcome


class Part(NamedTuple):
    file: str
    weight: float  # of the time
    measure: Callable[[Bench, str], Outcome]
    gpus: int = 1  # at least


PARTS = {
    "launch": Part("launch.csv", 0.1, launch_part),
    "memory": Part("memory.csv", 0.8, memory_part),
    "moe_activated": Part("moe_tokens_x_activated_experts.csv", 0.3, moe_activated_part),
    "gemm_sweep": Part("gemm_fine_m_sweep.csv", 2.0, gemm_sweep_part),
    "gemm": Part("gemm.csv", 2.5, gemm_part),
    "attention": Part("attention.csv", 2.5, attention_part),
    "moe": Part("moe.csv", 3.0, moe_part),
    "collectives": Part("nccl_intranode.csv", 2.5, collectives_part, gpus=2),
}
FILES = [part.file for part in PARTS.values()] + ["moe_draws.csv"]


def plan(quick: bool, dtypes: Sequence[str]) -> dict[str, int]:
    """How many points each part has."""
    return {
        "launch": len(memory.KINDS),
        "memory": len(grids.memory(quick)),
        "moe_activated": len(grids.activated(quick)),
        "gemm_sweep": len(grids.gemm_sweep(dtypes, quick)),
        "gemm": len(grids.gemm(dtypes, quick)),
        "attention": len(grids.attention(quick)),
        "moe": sum(map(len, grids.moe(quick))),
        "collectives": len(grids.collectives(quick)),
    }
