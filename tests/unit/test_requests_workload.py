"""The workload ``requests``: what a scenario may say, when requests come, what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simpy

import run_sim
from models import request_lengths
from models.request_traces import RequestTrace
from sim.build import build
from sim.engine.serving.book import FINISHED, REJECTED, Book
from sim.processes.arrivals import BLOCK
from sim.processes.serving.arrivals import Asked, RequestArrivals
from sim.processes.serving.content import Content, Kind
from sim.processes.serving.gaps import GammaGaps, MmppGaps
from sim.request_source import asked_of
from sim.rng import Streams
from sim.scenario.fabric import make_topology
from sim.scenario.load import Loaded, Text, load
from sim.scenario.serving import Requests
from sim.scenario.serving_hosts import place
from sim.scenario.show import text_of

HEAD = """name: x
engine: ideal
fabric:
  topology: {kind: star, hosts: 4}
workload:
"""
COMMON = (
    "kind: requests, model: llama-3.1-8b, arrivals: {kind: poisson, rate: 100/s}, prompt: 500, output: 20, count: 9"
)
LINEAR = "engine: {kv_blocks: 4000, cost: {kind: linear, step: 2ms, prefill_token: 10us, decode_sequence: 20us}}"
MS, S = 10**9, 10**12


def loaded_of(item: str, folder: Path, head: str = HEAD) -> Loaded:
    return load(Text(f"{head}  - {{{item}}}\n", folder))[0]


def item_of(loaded: Loaded) -> Requests:
    item = loaded.scenario.workload[0]
    assert isinstance(item, Requests)
    return item


def asked(item: str, folder: Path, seed: int = 1) -> Asked:
    loaded = loaded_of(item, folder)
    return asked_of(item_of(loaded), 0, loaded, Streams(seed))


class Answer:
    """A front that answers each request after a fixed time, or turns it away."""

    def __init__(self, env: simpy.Environment, book: Book, takes: int, refuses: Callable[[int], bool]) -> None:
        self._env, self._book, self._takes, self._refuses = env, book, takes, refuses
        self.on_over: list[Callable[[int], None]] = []
        self.under_way = self.most = 0

    def submit(self, request: int) -> None:
        if self._refuses(request):
            self._end(request, REJECTED)
            return
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self._env.timeout(self._takes).callbacks.append(lambda event: self._done(request))

    def _done(self, request: int) -> None:
        self.under_way -= 1
        self._end(request, FINISHED)

    def _end(self, request: int, status: int) -> None:
        self._book.rows["status"][request] = status
        for told in self.on_over:
            told(request)


class Run:
    """A workload answered by ``Answer``, run to its end or to ``until`` ps."""

    def __init__(
        self,
        asked: Asked,
        takes: int = 50 * MS,
        until: int | None = None,
        refuses: Callable[[int], bool] = lambda request: False,
    ) -> None:
        self.env = simpy.Environment(0)
        self.book = Book(len(asked.content.kinds))
        self.front = Answer(self.env, self.book, takes, refuses)
        self.counts: dict[tuple[str, str], int] = {}
        self.arrivals = RequestArrivals(self.env, self.front, self.book, asked, self._count)
        self.env.run(until if until is not None else self.arrivals.done)

    def _count(self, what: str, reason: str, number: int) -> None:
        self.counts[what, reason] = self.counts.get((what, reason), 0) + number

    def __getitem__(self, name: str) -> list[int]:
        column: list[int] = self.book.rows[name][: self.book.count].tolist()
        return column

    def hashes(self, request: int) -> list[int]:
        start, count = self["hash_start"][request], self["hash_count"][request]
        found: list[int] = self.book.hashes[start : start + count].tolist()
        return found


# -- the scenario


def test_the_example_of_the_contract_loads(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
    (tmp_path / "azure_conv.csv").write_text(text)
    loaded = loaded_of(
        "kind: requests, model: llama-3.1-8b, replicas: 4, tensor_parallel: 1, arrivals: {kind: trace, "
        "file: azure_conv.csv}, engine: {token_budget: 2048, max_sequences: 128}",
        tmp_path,
    )
    (pool,) = item_of(loaded).pool_list()
    assert (pool.name, pool.replicas, pool.gpus, pool.role) == ("main", 4, 1, "mixed")
    assert asked_of(item_of(loaded), 0, loaded, Streams(1)).total == 1


def test_blocks_of_kv_cache_and_context_are_shown_with_their_reasons(tmp_path: Path) -> None:
    loaded = loaded_of(COMMON, tmp_path)
    blocks = item_of(loaded).engine.kv_blocks
    assert blocks == 56_394  # 0.9 x 139.8 GiB without 14.96 GiB of weights and the work of a batch, 2 MiB a block
    assert "GiB leave beside weights" in loaded.origins["workload", 0, "engine", "kv_blocks"]
    assert loaded.origins["workload", 0, "engine", "context"] == "default (that of llama-3.1-8b)"
    again = load(Text(text_of(loaded.effective), tmp_path))[0]
    assert again.effective == loaded.effective


def test_pools_take_what_they_do_not_say_from_the_workload(tmp_path: Path) -> None:
    loaded = loaded_of(
        COMMON.replace("llama-3.1-8b", "qwen3-8b") + ", dtype: fp8, engine: {token_budget: 512}, "
        "pools: {small: {replicas: 2, quality: 0.6}, large: {model: qwen3-32b, tensor_parallel: 2, dtype: bf16, "
        "engine: {max_sequences: 8}}}",
        tmp_path,
    )
    small, large = item_of(loaded).pool_list()
    assert (small.model, small.dtype, small.engine.token_budget, small.quality) == ("qwen3-8b", "fp8", 512, 0.6)
    assert (large.model, large.dtype, large.engine.token_budget, large.gpus) == ("qwen3-32b", "bf16", 2048, 2)


@pytest.mark.parametrize(
    ("topology", "extra", "expected"),
    [
        ("{kind: star, hosts: 4}", "replicas: 2, tensor_parallel: 2", [(0, 1), (2, 3)]),
        ("{kind: star, hosts: 4}", "replicas: 2, hosts: [3, 1]", [(3,), (1,)]),
        (
            "{kind: gpu_cluster, nodes: 2, gpus_per_node: 4}",
            "replicas: 3, tensor_parallel: 2, spread: nodes",
            [(0, 1), (4, 5), (2, 3)],
        ),
        (
            "{kind: leaf_spine, leaves: 4, spines: 2, hosts_per_leaf: 2}",
            "replicas: 3, spread: nodes",
            [(0,), (2,), (4,)],
        ),
    ],
)
def test_where_replicas_are(topology: str, extra: str, expected: list[Any], tmp_path: Path) -> None:
    loaded = loaded_of(f"{COMMON}, {extra}", tmp_path, HEAD.replace("{kind: star, hosts: 4}", topology))
    found, faults = place(loaded.scenario.workload, make_topology(loaded))
    assert not faults
    assert found[0] == [expected]


def test_a_second_workload_takes_the_gpus_that_the_first_leaves(tmp_path: Path) -> None:
    text = f"{HEAD}  - {{{COMMON}, replicas: 2}}\n  - {{{COMMON}, hosts: [1]}}\n"
    loaded = load(Text(text, tmp_path))[0]
    found, faults = place(loaded.scenario.workload, make_topology(loaded))
    assert not faults
    assert found == {0: [[(0,), (2,)]], 1: [[(1,)]]}


# -- when requests come


def starts(gaps: Any, blocks: int) -> np.ndarray[Any, Any]:
    source: Iterator[Any] = gaps.starts(np.random.default_rng(1))
    return np.concatenate([next(source) for _ in range(blocks)])


def test_gamma_gaps_have_their_mean_and_spread() -> None:
    gaps = np.diff(starts(GammaGaps(1e9, 2.0), 25)) / 1e9
    # mean 1, cv 2: 102,400 gaps; four standard errors of the mean are 0.025
    assert gaps.mean() == pytest.approx(1.0, abs=0.025)
    assert gaps.std() / gaps.mean() == pytest.approx(2.0, rel=0.03)


def test_mmpp_comes_at_the_mean_rate_and_in_bursts() -> None:
    """Rates 10 and 1 a ms, each held for 20 ms: 5.5 a ms; counts in 1 ms vary more than Poisson's.

    The variance of a count in T is rT + 2 s^2 (h T / 2 - h^2 / 4 (1 - exp(-2 T / h))) with s = 4.5, h = 20 ms.
    """
    times = starts(MmppGaps([10 / MS, 1 / MS], [20 * MS, 20 * MS], np.random.default_rng(2)), 120)
    assert (np.diff(times) >= 0).all()
    count = np.bincount((times // MS).astype(np.int64))[:-1]
    assert count.mean() == pytest.approx(5.5, rel=0.02)  # 90 s: four standard errors are 1.5 %
    expected = 5.5 + 2 * 4.5**2 * (10.0 - 100.0 * (1 - np.exp(-0.1)))
    assert count.var() == pytest.approx(expected, rel=0.05)


def test_other_lengths_leave_arrivals_and_classes_alone(tmp_path: Path) -> None:
    item = COMMON.replace("count: 9", "count: 5000") + ", tenants: {count: 9, exponent: 1}"
    classes = "classes: [{name: a, share: 0.2}, {name: b, share: 0.8, output: %s}]"
    one = Run(asked(f"{item}, {classes % 'azure_conv'}", tmp_path))
    other = Run(asked(f"{item}, {classes % '{kind: geometric, mean: 9}'}", tmp_path))
    for name in ("arrival", "kind", "tenant", "prompt"):
        assert one[name] == other[name]
    assert one["output"] != other["output"]
    assert np.mean(one["kind"]) == pytest.approx(0.8, abs=0.03)
    assert one["tenant"].count(0) == pytest.approx(5000 / 2.829, rel=0.1)  # 1 / H(9)
    assert len(one["arrival"]) == 5000 > BLOCK


def test_prompt_and_output_of_one_table_belong_together(tmp_path: Path) -> None:
    run = Run(asked(COMMON.replace("500", "azure_code").replace("20,", "azure_code,").replace("9", "999"), tmp_path))
    table = request_lengths.shipped("azure_code", "prompt"), request_lengths.shipped("azure_code", "output")
    pairs = set(zip(*(one.values.tolist() for one in table), strict=True))
    assert set(zip(run["prompt"], run["output"], strict=True)) <= pairs


def test_lengths_have_their_means() -> None:
    rng = np.random.default_rng(3)
    for lengths in (
        request_lengths.Uniform(1, 99),
        request_lengths.Exponential(30.0),
        request_lengths.Geometric(30.0),
        request_lengths.LogNormal(1000.0, 1.5),
        request_lengths.shipped("azure_conv", "output"),
    ):
        drawn = lengths.sample(rng, 200_000)
        assert drawn.min() >= 1
        assert drawn.mean() == pytest.approx(lengths.mean(), rel=4 * drawn.std() / drawn.mean() / 200_000**0.5)


def test_a_closed_loop_keeps_its_users_busy(tmp_path: Path) -> None:
    closed = COMMON.replace("kind: poisson, rate: 100/s", "kind: closed, concurrency: 3, think: 10ms")
    run = Run(asked(closed, tmp_path), takes=50 * MS)
    assert run.front.most == 3
    assert sorted(run["arrival"]) == [round * 60 * MS for round in (0, 1, 2) for _ in range(3)]
    assert run.env.now == 2 * 60 * MS + 50 * MS


def test_users_who_are_turned_away_do_not_stop_the_clock(tmp_path: Path) -> None:
    closed = COMMON.replace("kind: poisson, rate: 100/s", "kind: closed, concurrency: 2").replace(
        "count: 9", "until: 1s"
    )
    run = Run(asked(closed, tmp_path), refuses=lambda request: True)
    assert len(run["arrival"]) == 2 * 1001  # again after 1 ms


# -- what they are made of


def test_a_session_asks_with_all_that_was_said(tmp_path: Path) -> None:
    item = COMMON.replace("count: 9", "count: 2").replace("100/s", "1/s")
    run = Run(asked(f"{item}, sessions: {{turns: 3, think: 1s}}, prefix: {{tokens: 40}}", tmp_path))
    rows = [row for row, session in enumerate(run["session"]) if session == 0]
    assert [run["turn"][row] for row in rows] == [0, 1, 2]
    assert [run["prompt"][row] for row in rows] == [500, 1020, 1540]
    arrival = [run["arrival"][row] for row in rows]
    assert np.diff(arrival).tolist() == [50 * MS + S] * 2
    first, last = run.hashes(rows[0]), run.hashes(rows[2])
    assert len(first) == 520 // 16
    assert len(last) == 1560 // 16
    assert last[: len(first)] == first
    other = run.hashes(run["session"].index(1))
    assert other[:2] == first[:2]  # 32 of the 40 tokens of the system prompt are whole blocks
    assert not set(other[2:]) & set(last[2:])


def test_a_turn_that_is_not_answered_ends_its_session(tmp_path: Path) -> None:
    item = COMMON.replace("count: 9", "count: 1") + ", sessions: {turns: 4, think: 1s}"
    run = Run(asked(item, tmp_path), refuses=lambda request: request == 1)
    assert run["turn"] == [0, 1]
    assert run.counts == {("turns not asked", "an earlier turn was not answered"): 2}


def test_system_prompts_are_shared_by_popularity(tmp_path: Path) -> None:
    item = COMMON.replace("count: 9", "count: 3000") + ", prefix: {tokens: 64, groups: 3, exponent: 1}"
    run = Run(asked(item, tmp_path))
    groups = [run.hashes(row)[0] // 4 for row in range(3000)]
    assert set(run["hash_count"]) == {4}
    assert groups.count(0) == pytest.approx(3000 * 6 / 11, rel=0.06)
    short = Run(asked(item.replace("prompt: 500", "prompt: 40"), tmp_path))
    assert set(short["hash_count"]) == {2}  # the whole prompt is the system's


def test_clipped_prompts_and_empty_answers_are_counted() -> None:
    trace = RequestTrace(
        np.array([0, 5, 5]), np.array([100, 3000, 64]), np.array([0, 7, 1]), session=np.array([-1, 3, 3]),
        hashes=np.arange(8), hash_start=np.array([0, 1, 7]), hash_count=np.array([1, 6, 1]), hash_tokens=512,
    )  # fmt: skip
    streams = Streams(1)
    content = Content([Kind("all", 1.0, None, None)], streams.generator, hash_tokens=512, limit=1200)
    rng = streams.generator("x")
    run = Run(Asked(content, None, None, trace, None, None, None, rng, rng, False, 3, 512))
    assert run["prompt"] == [100, 1200, 64]
    assert run["output"] == [1, 7, 1]
    assert run["turn"] == [0, 0, 1]
    assert run.hashes(1) == [1, 2]  # of 1,200 tokens two hashes are whole
    assert run.hashes(2) == [7]
    assert run.counts == {
        ("prompts clipped", "longer than prompt_limit, 1,200 tokens"): 1,
        ("answers lengthened", "of no token, taken as one"): 1,
    }


def test_a_saved_run_replayed_gives_the_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions with system prompts, classes and tenants, random routing; then the same from its table."""
    monkeypatch.chdir(tmp_path)
    head = HEAD.replace("workload:", "dispatch: {request: random}\nworkload:")
    classes = "classes: [{name: a, share: 0.5, priority: 1}, {name: b, share: 0.5}]"
    common = f"kind: requests, model: llama-3.1-8b, replicas: 3, {LINEAR}, {classes}"
    drawn = (
        "arrivals: {kind: gamma, rate: 20/s, cv: 2}, prompt: {kind: log_normal, mean: 300, cv: 1}, output: 30, "
        "sessions: {turns: {kind: geometric, mean: 2}, think: 100ms}, prefix: {tokens: 64, groups: 2}, "
        "tenants: {count: 3}, count: 40"
    )
    Path("drawn.yaml").write_text(f"{head}  - {{{common}, {drawn}}}\n")
    Path("again.yaml").write_text(f"{head}  - {{{common}, arrivals: {{kind: trace, file: one/requests.parquet}}}}\n")
    assert run_sim.main(["drawn.yaml", "-q", "--no-plots", "--out", "one"]) == 0
    assert run_sim.main(["again.yaml", "-q", "--no-plots", "--out", "two"]) == 0
    table = pd.read_parquet("one/requests.parquet")
    assert table["turn"].max() >= 2
    assert table["cached_tokens"].sum() > 0
    for name in ("requests", "replicas", "request_classes", "request_times"):
        assert Path(f"one/{name}.parquet").read_bytes() == Path(f"two/{name}.parquet").read_bytes()


def test_a_prompt_beyond_the_context_is_a_counted_rejection(tmp_path: Path) -> None:
    loaded = loaded_of(
        f"kind: requests, model: llama-3.1-8b, {LINEAR.replace('kv_blocks: 4000', 'kv_blocks: 4000, context: 400')}, "
        "arrivals: {kind: gaps, gap: 1s}, prompt: {kind: uniform, low: 300, high: 500}, output: 20, count: 50",
        tmp_path,
    )
    world = build(loaded)
    world.clock.run(world.work[0].done)
    (serving,) = world.serving.served
    status = serving.book.rows["status"][:50]
    prompt = serving.book.rows["prompt"][:50]
    assert (status == np.where(prompt + 20 > 400, REJECTED, FINISHED)).all()
    assert 0 < (status == REJECTED).sum() < 50
