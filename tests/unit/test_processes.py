"""Sources of work on a plain SimPy clock: short stories with exact times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import simpy

from models.connection_matrix import read
from models.sizes import Constant, named
from sim.dispatch.api import Message
from sim.dispatch.collective import direct, double_binary_tree, halving_doubling, ring
from sim.processes import arrivals, pairs
from sim.processes.arrivals import Arrivals, EqualGaps, ListedGaps, PoissonGaps, draw_flows, listed_flows, poisson_gap
from sim.processes.collective import Collective, Collectives, CollectiveWorkload, Plan
from sim.processes.gpu import Gpus
from sim.processes.kernels import KernelLog
from sim.processes.matrix import Matrix, Transfer, Trigger, of_connections, together

RNG = np.random.default_rng


class FakeFlows:
    """Delivers every flow ``delay`` after its start; the sender knows ``back`` later. Loses flows to ``dead``."""

    def __init__(self, env: simpy.Environment, delay: int = 100, back: int = 40, dead: int = -1) -> None:
        self.env, self.delay, self.back, self.dead = env, delay, back, dead
        self.sent: list[tuple[int, int, int, int]] = []
        self.jobs: list[tuple[str, int]] = []  # and its cause
        self.cause = -1

    @contextmanager
    def because_of(self, cause: int) -> Iterator[None]:
        before, self.cause = self.cause, cause
        yield
        self.cause = before

    def send(self, src, dst, size, on_delivered=None, job="", on_end=None) -> int:
        self.jobs.append((job, self.cause))
        self.sent.append((self.env.now, src, dst, size))
        if dst != self.dead:
            for delay, call in ((self.delay, on_delivered), (self.delay + self.back, on_end)):
                if call is not None:
                    self.env.timeout(delay).callbacks.append(partial(self._call, call, len(self.sent) - 1))
        return len(self.sent) - 1

    def _call(self, call: Callable[[], None], flow: int, event: simpy.Event) -> None:
        with self.because_of(flow):
            call()

    def send_many(self, src, dsts, sizes, callbacks, job="", overheads=None, weights=None) -> None:
        for dst, size, callback in zip(dsts, sizes, callbacks, strict=True):
            self.send(src, dst, size, callback, job)


def world(**given) -> tuple[simpy.Environment, FakeFlows]:
    env = simpy.Environment(initial_time=0)
    return env, FakeFlows(env, **given)


# collectives


def workload(env, flows, module, op, ranks, size, records=None, gpus=None, hosts=None, **given) -> CollectiveWorkload:
    plan = Plan(*module.Policy(module.Params()).schedule(op, ranks, size), ranks)
    return CollectiveWorkload(
        env, flows, gpus or Gpus(env), records or Collectives(), plan, hosts or range(ranks),
        op=op, algorithm=module.__name__.split(".")[-1], size=size, **given,
    )  # fmt: skip


def test_direct_all_to_all_sends_in_order_and_ends_after_one_delivery() -> None:
    env, flows = world()
    records, gpus = Collectives(), Gpus(env)
    work = workload(env, flows, direct, "all_to_all", 3, 9, records, gpus, hosts=[5, 6, 7])
    env.run(work.done)
    assert flows.sent == [(0, 5, 6, 3), (0, 5, 7, 3), (0, 6, 7, 3), (0, 6, 5, 3), (0, 7, 5, 3), (0, 7, 6, 3)]
    (row,) = records.rows
    assert (row.op, row.algorithm, row.ranks, row.bytes, row.start, row.time) == ("all_to_all", "direct", 3, 9, 0, 100)
    assert row.finish == [100, 100, 100]
    assert [row[:3] for row in gpus.rows(env.now)] == [(5, 0, 100), (6, 0, 100), (7, 0, 100)]


@pytest.mark.parametrize("relaunch", [0, 7])
def test_a_flow_knows_its_job_and_what_released_it(relaunch: int) -> None:
    env, flows = world()
    plan = Plan([Message(0, 1, 5, -1, 0), Message(1, 2, 5, 0, -1)], [1], 3, launch=3, relaunch=relaunch)
    CollectiveWorkload(env, flows, Gpus(env), Collectives(), plan, range(3), op="x", algorithm="y", size=5)
    env.run()
    assert flows.jobs == [("collective:0", -1), ("collective:0", 0)]
    assert [time for time, *_ in flows.sent] == [3, 103 + relaunch]
    assert flows.cause == -1


def test_kernels_are_noted_up_to_a_limit() -> None:
    log = KernelLog(kept=2)
    for start in (5, 3, 9):
        log.note(start % 2, "gate", f"moe:0.{start}", start, 2)
    rows = log.rows()
    assert [list(column) for column in rows] == [[1, 1], ["gate", "gate"], ["moe:0.3", "moe:0.5"], [3, 5], [2, 2]]
    assert log.left_out == 1


@pytest.mark.parametrize(
    ("module", "op", "ranks", "deliveries"),
    [
        (direct, "all_reduce", 8, 2),
        (ring, "all_reduce", 8, 14),
        (ring, "reduce_scatter", 5, 4),
        (ring, "broadcast", 8, 14),
        (halving_doubling, "all_reduce", 8, 6),
        (halving_doubling, "all_gather", 16, 4),
        (double_binary_tree, "all_reduce", 8, 6),
        (double_binary_tree, "broadcast", 8, 4),  # the other root first, then three levels
    ],
)
def test_time_is_the_number_of_steps(module, op: str, ranks: int, deliveries: int) -> None:
    env, flows = world()
    records = Collectives()
    env.run(workload(env, flows, module, op, ranks, 8000, records).done)
    assert records.rows[0].time == deliveries * 100


def test_repeats_have_a_gap_of_computing_between_them() -> None:
    env, flows = world()
    records, gpus = Collectives(), Gpus(env)
    work = workload(env, flows, direct, "all_to_all", 4, 400, records, gpus, repeat=3, gap=1000, start=7)
    env.run(work.done)
    assert [(row.id, row.start, row.time) for row in records.rows] == [(0, 7, 100), (1, 1107, 100), (2, 2207, 100)]
    assert [row[:3] for row in gpus.rows(env.now)] == [(gpu, 2000, 300) for gpu in range(4)]
    assert env.now == 2307


def test_broadcast_from_another_root() -> None:
    env, flows = world()
    env.run(workload(env, flows, direct, "broadcast", 4, 10, root=2).done)
    assert [(src, dst) for _, src, dst, _ in flows.sent] == [(2, 3), (2, 0), (2, 1)]


def test_a_rank_that_joins_late_holds_its_gates() -> None:
    env, flows = world()
    records = Collectives()
    plan = Plan([Message(0, 1, 8, opens=0), Message(1, 2, 8, waits_for=0)], [1], 3)
    operation = Collective(env, flows, plan, [0, 1, 2], partial(records.begin, "x", "y", 3, 8))
    done = [operation.join(0), operation.join(2)]
    env.run(until=500)
    assert flows.sent == [(0, 0, 1, 8)]
    assert [event.triggered for event in done] == [True, False]
    done.append(operation.join(1))
    env.run(env.all_of(done))
    assert flows.sent[1:] == [(500, 1, 2, 8)]
    assert records.rows[0].finish == [100, 600, 600]
    assert records.rows[0].time == 600


def test_a_stalled_collective_says_who_waits() -> None:
    env, flows = world(dead=2)
    work = workload(env, flows, direct, "all_to_all", 3, 300, name="workload 0")
    env.run()
    assert not work.done.triggered
    assert work.describe_waiting() == [
        "workload 0 (all_to_all, direct), repeat 0: rank 0 on host 0 waits for 1 messages to or from it",
        "workload 0 (all_to_all, direct), repeat 0: rank 1 on host 1 waits for 1 messages to or from it",
        "workload 0 (all_to_all, direct), repeat 0: rank 2 on host 2 waits for 2 messages to or from it",
    ]


def test_time_under_way_is_counted_for_a_gpu() -> None:
    env, flows = world()
    gpus = Gpus(env)
    workload(env, flows, direct, "all_to_all", 2, 8, None, gpus, repeat=2, gap=1000)
    env.run(until=450)
    assert [row[:3] for row in gpus.rows(env.now)] == [(0, 350, 100), (1, 350, 100)]


# arrivals


def all_of(blocks) -> np.ndarray:
    return np.concatenate([np.stack(block) for block in blocks], axis=1)


def poisson(count=None, until=None, name="websearch") -> np.ndarray:
    rng = RNG(5)
    return all_of(draw_flows(rng, PoissonGaps(1e6), pairs.Uniform(8), named(name), count=count, until=until))


def test_poisson_offers_the_asked_load() -> None:
    sizes, capacity, load = named("fb_hadoop"), 16 * 10**11, 0.6
    gap = poisson_gap(load, capacity, sizes.mean())
    flows = all_of(draw_flows(RNG(1), PoissonGaps(gap), pairs.Uniform(16), sizes, count=100_000))
    offered = flows[3].sum() * 8 / (flows[0][-1] * 1e-12)
    assert offered / capacity == pytest.approx(load, rel=0.05)
    gaps = np.diff(flows[0])
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(gap, rel=0.02)
    assert gaps.std() == pytest.approx(gap, rel=0.02)


def test_gaps_of_no_length_are_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        PoissonGaps(0.0)


def test_more_flows_leave_the_first_as_they_are() -> None:
    few, many = poisson(count=10), poisson(count=10_000)
    assert many.shape == (4, 10_000)
    assert (many[:, :10] == few).all()
    limit = int(many[0, 6000])
    early = poisson(until=limit)
    assert (early == many[:, : early.shape[1]]).all()
    assert early[0, -1] <= limit < many[0, early.shape[1]]


def test_given_gaps() -> None:
    flows = draw_flows(RNG(0), EqualGaps(10), pairs.Fixed(0, 1), Constant(5), count=arrivals.BLOCK + 2)
    starts = all_of(flows)[0]
    assert (starts == 10 * np.arange(1, arrivals.BLOCK + 3)).all()
    flows = draw_flows(RNG(0), ListedGaps([3, 0, 4]), pairs.Fixed(0, 1), Constant(5))
    assert all_of(flows).tolist() == [[3, 3, 7], [0] * 3, [1] * 3, [5] * 3]


def test_arrivals_start_on_time_and_end_with_the_last_delivery() -> None:
    env, flows = world()
    work = Arrivals(env, flows, listed_flows([50, 0, 50], [0, 1, 2], [1, 2, 3], [7, 8, 9]))
    env.run(until=60)
    assert work.describe_waiting() == ["flows: 3 of 3 started flows are not delivered"]
    env.run(work.done)
    assert flows.sent == [(0, 1, 2, 8), (50, 0, 1, 7), (50, 2, 3, 9)]
    assert env.now == 150
    assert work.describe_waiting() == []


def test_no_flows_at_all_are_done_at_once() -> None:
    env, flows = world()
    work = Arrivals(env, flows, listed_flows([], [], [], []))
    env.run(work.done)
    assert env.now == 0


# matrices


def test_a_pattern_starts_at_once() -> None:
    env, flows = world()
    work = Matrix(env, flows, together([(0, 1), (0, 2), (1, 0)], 500, 30))
    env.run(work.done)
    assert flows.sent == [(30, 0, 1, 500), (30, 0, 2, 500), (30, 1, 0, 500)]
    assert env.now == 130


def test_triggers() -> None:
    env, flows = world()
    transfers = [
        Transfer(0, 1, 1, 0, send_done=1, recv_done=2),
        Transfer(1, 2, 2, 20, recv_done=2),
        Transfer(2, 3, 3, trigger=1, recv_done=3),  # 140: the last ACK of the first
        Transfer(3, 4, 4, trigger=2, recv_done=3),  # 120: both of the first two
        Transfer(4, 5, 5, trigger=2),
        Transfer(5, 6, 6, trigger=3),  # 220, the first shot
        Transfer(6, 7, 7, trigger=3),  # 240, the second
    ]
    work = Matrix(env, flows, transfers, {1: Trigger("oneshot"), 2: Trigger("barrier", 2), 3: Trigger("multishot")})
    env.run(work.done)
    assert [(now, size) for now, _, _, size in flows.sent] == [
        (0, 1), (20, 2), (120, 4), (120, 5), (140, 3), (220, 6), (240, 7),
    ]  # fmt: skip
    assert env.now == 340


def test_connections_of_htsim_become_transfers(tmp_path) -> None:
    (tmp_path / "x.cm").write_text(
        "Nodes 4\nConnections 3\nTriggers 1\n0->1 id 1 start 5 size 10 send_done_trigger 9\n"
        "1->2 id 2 trigger 9 size 20\n2->3 id 3 start 0 size 30 recv_done_trigger 9\ntrigger id 9 barrier count 2\n"
    )
    transfers, triggers = of_connections(read(tmp_path / "x.cm"))
    env, flows = world()
    env.run(Matrix(env, flows, transfers, triggers).done)
    assert flows.sent == [(0, 2, 3, 30), (5, 0, 1, 10), (145, 1, 2, 20)]


def test_a_trigger_that_never_fires_is_named() -> None:
    env, flows = world()
    work = Matrix(env, flows, [Transfer(0, 1, 1), Transfer(1, 2, 1, trigger=7)], {7: Trigger("oneshot")}, name="m")
    env.run()
    assert not work.done.triggered
    assert work.describe_waiting() == ["m: 1 flows wait for triggers that have not fired (7)"]
