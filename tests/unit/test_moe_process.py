"""GPUs and layers with experts on a plain SimPy clock: short stories with exact times."""

from __future__ import annotations

import numpy as np
import pytest
import simpy

from models.architectures import ARCHITECTURES
from models.moe_layer import DENSE, EXPERTS, LayerCosts, LayerMemory, token_bytes
from sim.dispatch.api import Message
from sim.processes.gpu import Gpu, Gpus, GpuSettings
from sim.processes.moe import Decision, Job, MoeWorkload, Steps
from sim.processes.plan import Plan
from tests.unit.test_processes import FakeFlows

US = 10**6


class FlatModel:
    """A GPU on which every GEMM takes 10 us, grouped experts 1 us a copy, and memory nothing."""

    def __init__(self) -> None:
        self.extrapolated: dict[str, int] = {}

    def gemm(self, dtype: str, m: int, n: int, k: int) -> float:
        return 10.0

    def grouped(self, dtype: str, hidden: int, inner: int, tokens: np.ndarray) -> float:
        return float(tokens.sum())

    def memory(self, size: int) -> float:
        return 0.0

    def attention(self, *shape: object) -> float:
        return 5.0


ARCH = ARCHITECTURES["olmoe-1b-7b"]
MEMORY = LayerMemory(ARCH, "bf16", False)


class Fixed:
    """Decides the same for every layer, and notes when it was asked."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked: list[tuple[int, int, int]] = []

    def decide(self, micro: int, step: int, layer: int) -> Decision:
        self.asked.append((micro, step, layer))
        return self.decision


def job(**given) -> Job:
    costs = LayerCosts(FlatModel(), ARCH, "bf16", "grouped")  # type: ignore[arg-type]
    known = {
        "tokens": 8, "top_k": 2, "layers": [EXPERTS], "steps": 1, "micro_batches": 1, "shards": 1,
        "costs": lambda kind: costs, "memory": MEMORY, "static": 1000, "sync": 0, "token_bytes": (10, 20),
    }  # fmt: skip
    return Job(**(known | given))


def decision(moves=(), planner=0, loads=((3,), (5,))) -> Decision:
    both = [Message(0, 1, 40), Message(1, 0, 30)]
    return Decision(
        slots=[np.array(load) for load in loads],
        extra=np.array([0, len(moves)]),
        moves=list(moves),
        move_overhead=[0] * len(moves),
        dispatch=Plan(both, [], 2),
        combine=Plan(both, [], 2),
        planner=planner,
        max_over_mean=1.25,
        bytes_moved=140,
    )


def run(work_job: Job, decided: Decision, settings=None, delay=100 * US):
    env = simpy.Environment(initial_time=0)
    flows = FakeFlows(env, delay)
    gpus = Gpus(env, settings or (lambda gpu: GpuSettings("h200_sxm", 10**12)))
    steps, decider = Steps(), Fixed(decided)
    work = MoeWorkload(env, flows, gpus, steps, work_job, [[4, 7]], [decider])
    env.run(work.done)
    return env, flows, gpus, steps, decider


def test_a_layer_is_gate_dispatch_experts_combine() -> None:
    env, flows, gpus, steps, decider = run(job(), decision())
    # gate 10, dispatch 100, experts of the busier GPU 5, combine 100 (us)
    assert env.now == 215 * US
    assert [sent[0] // US for sent in flows.sent] == [10, 10, 113, 115]
    assert [job for job, _ in flows.jobs] == 2 * ["moe:0.0.dispatch"] + 2 * ["moe:0.0.combine"]
    kernels = gpus.kernels.rows()
    assert list(zip(kernels.gpu, kernels.kernel, kernels.start // US, strict=True)) == [
        (4, "gate", 0), (7, "gate", 0), (4, "experts", 110), (7, "experts", 110)
    ]  # fmt: skip
    (row,) = steps.rows.values()
    assert (row.start, row.end, row.dispatch, row.experts, row.combine) == (0, 215 * US, 100 * US, 5 * US, 100 * US)
    assert (row.transfers, row.bytes, row.max_over_mean) == (0, 140, 1.25)
    assert decider.asked == [(0, 0, 0)]
    assert [row[:4] for row in gpus.rows(env.now)] == [(4, 13 * US, 202 * US, 3), (7, 15 * US, 200 * US, 5)]


def test_experts_wait_for_their_weights_and_the_planner_for_nobody() -> None:
    env, flows, _, steps, _ = run(job(), decision(moves=[(0, 1)], planner=50 * US))
    (row,) = steps.rows.values()
    assert (row.planner, row.weights, row.transfers) == (50 * US, 100 * US, 1)
    assert (60 * US, 4, 7, MEMORY.expert_bytes) in flows.sent
    assert env.now == (10 + 50 + 100 + 5 + 100) * US


def test_weights_of_one_gpu_leave_one_batch_after_the_other() -> None:
    two = job(micro_batches=2)
    _, flows, _, _, _ = run(two, decision(moves=[(0, 1)]))
    weights = [start // US for start, src, _, size in flows.sent if size == MEMORY.expert_bytes]
    assert weights == [10, 110]  # the second micro-batch's gate ended at 20; the copy stream was busy until 110


def test_micro_batches_overlap_computing_with_communication() -> None:
    alone, *_ = run(job(steps=2), decision())
    both, *_ = run(job(micro_batches=2), decision())
    assert both.now < alone.now


def test_a_straggler_holds_up_the_group() -> None:
    def settings(gpu: int) -> GpuSettings:
        return GpuSettings("h200_sxm", None, slowdown=3.0 if gpu == 7 else 1.0)

    env, *_ = run(job(), decision(), settings)
    assert env.now == (30 + 100 + 15 + 100) * US


def test_noise_is_drawn_for_each_kernel_and_reproducible() -> None:
    def settings(gpu: int) -> GpuSettings:
        return GpuSettings("h200_sxm", None, noise=0.2)

    first, *_ = run(job(), decision(), settings)
    again, *_ = run(job(), decision(), settings)
    assert first.now == again.now != 215 * US


def test_memory_is_taken_given_back_and_may_run_out() -> None:
    inputs, buffers = MEMORY.inputs(8), [MEMORY.buffers(load, load) for load in (3, 5)]
    full = 1000 + inputs + buffers[1]
    env, _, gpus, steps, _ = run(job(steps=2), decision(), lambda gpu: GpuSettings("h200_sxm", full - 1))
    peaks = {row[0]: row[4:] for row in gpus.rows(env.now)}
    assert peaks == {4: (1000 + inputs + buffers[0], 0), 7: (full, 1)}
    assert [device.index for device in gpus.out_of_memory()] == [7]
    assert max(row.peak for row in steps.rows.values()) == full
    assert gpus.device(7).memory.used == 1000
    with pytest.raises(RuntimeError, match="more were freed"):
        gpus.device(7).memory.give(2000)


def test_dense_layers_and_attention_come_with_the_whole_model() -> None:
    env, _, _, steps, _ = run(job(layers=[DENSE, EXPERTS], attention=("prefill", 8)), decision())
    # attention is a GEMM and the kernel (15 us) in both layers, a dense block two GEMMs
    assert env.now == (15 + 20 + 15 + 215) * US
    assert list(steps.rows) == [(0, 0, 1)]


def test_shards_of_a_rank_exchange_their_tokens() -> None:
    env = simpy.Environment(initial_time=0)
    flows = FakeFlows(env, 100 * US)
    work = MoeWorkload(
        env, flows, Gpus(env), Steps(), job(shards=2), [[0, 1, 2, 3]], [Fixed(decision(loads=((4,), (6,))))]
    )
    env.run(work.done)
    assert sorted(sent[1:] for sent in flows.sent if sent[0] == 110 * US) == [
        (0, 1, 20), (1, 0, 20), (2, 3, 30), (3, 2, 30),
    ]  # fmt: skip
    # gate 10, dispatch 100, all-gather 100, experts 6, reduce-scatter 100, combine 100
    assert env.now == 416 * US


def test_who_waits_is_said() -> None:
    env = simpy.Environment(initial_time=0)
    work = MoeWorkload(
        env, FakeFlows(env, 100 * US, dead=7), Gpus(env), Steps(), job(), [[4, 7]], [Fixed(decision())], name="w"
    )
    env.run()
    assert not work.done.triggered
    assert work.describe_waiting() == [
        "w: GPU 4, step 0, layer 0: dispatches",
        "w: GPU 7, step 0, layer 0: dispatches",
    ]


def test_two_jobs_share_a_stream() -> None:
    env = simpy.Environment(initial_time=0)
    gpus = Gpus(env)
    ends = []

    def job_of(duration: int):
        yield from Gpu(env, gpus, 0).compute(duration, "dense", "moe:0.0")
        ends.append(env.now)

    env.process(job_of(100))
    env.process(job_of(50))
    env.run()
    assert ends == [100, 150]
    assert [row[:3] for row in gpus.rows(env.now)] == [(0, 150, 100)]
    kernels = gpus.kernels.rows()
    assert (list(kernels.start), list(kernels.duration)) == ([0, 100], [100, 50])


def test_memory_of_the_published_peaks() -> None:
    """LLEP figure 4: rows of D per received copy are 10.00 (H = D) and 5.00 (H = 0.286 D)."""
    for name, rows in (("gpt-oss-120b", 10.0), ("deepseek-v3", 5.0)):
        arch = ARCHITECTURES[name]
        memory = LayerMemory(arch, "bf16", False)
        assert memory.buffers(1000, 1000) / (1000 * arch.hidden * 2) == pytest.approx(rows, rel=1e-3)


def test_bytes_of_a_token() -> None:
    assert token_bytes(7168, "bf16") == 14_336
    assert token_bytes(7168, "fp8") == 7168 + 56 * 4
