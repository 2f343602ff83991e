"""Comparisons on made-up runs whose figures are given, written by the real writer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from analysis.compare import Cell, Findings, Point, Rule, Study, compare, inert_keys, parse
from analysis.compare.certificate import as_json, text, write
from analysis.compare.inert import reason
from analysis.compare.metrics import default
from analysis.compare.paired import difference, turned
from analysis.compare.sentence import sentence
from analysis.load import load
from analysis.stats import warm_up
from models.errors import InputError
from sim.record import frame, write_run
from tests.unit import admission_results

MANIFEST: dict[str, Any] = {
    "name": "made_up",
    "engine": "packet",
    "policies": {"path": {"kind": "ecmp"}, "packet": {"kind": "follow_path"}},
    "fabric": {"kind": "leaf_spine", "hosts": 4, "tiers": {"leaf": ["leaf0"], "spine": ["spine0"]}},
    "loads": [],
    "interrupted": False,
}
TIME = parse(["collectives.time_us.mean"])


def collective(time: float | None) -> dict[str, Any]:
    """Tables of a run with one collective."""
    columns = {
        "id": [0], "op": ["all_to_all"], "algorithm": ["direct"], "ranks": [4], "bytes": [10**6], "start_us": [0.0],
        "time_us": [np.nan if time is None else time], "algbw_gbytes": [1.0], "busbw_gbytes": [1.0],
    }  # fmt: skip
    return {"collectives": frame("collectives", columns)}


def flows(fct: Sequence[float], path: str = "host0>leaf0>host1") -> dict[str, Any]:
    times = np.asarray(fct, dtype=float)
    start = np.arange(len(times), dtype=float)
    columns = {
        "id": np.arange(len(times)), "src": "host0", "dst": "host1", "bytes": 1000, "start_us": start,
        "delivered_us": start + times, "end_us": start + times, "fct_us": times, "ideal_us": 1.0, "slowdown": times,
        "path": path, "retransmitted": 0, "reordered": 0, "reorder_max_bytes": -1, "status": "finished",
    }  # fmt: skip
    return {"flows": frame("flows", columns)}


class Desk:
    """Runs that ``make(cell)`` gives tables and a status for; counts them."""

    def __init__(self, folder: Path, make: Callable[[Cell], tuple[dict[str, Any], str]], **manifest: Any) -> None:
        self._folder, self._make, self._manifest = folder, make, MANIFEST | manifest
        self.ran: list[Cell] = []

    def __call__(self, cells: Sequence[Cell], purpose: str) -> list[Path]:
        return [self._run(cell) for cell in cells]

    def _run(self, cell: Cell) -> Path:
        self.ran.append(cell)
        folder = self._folder / f"{cell.arm}-{cell.point}-{cell.seed}"
        folder.mkdir()
        tables, status = self._make(cell)
        manifest = {**self._manifest, "seed": cell.seed, "variant": None}
        write_run(folder, effective="name: made_up\n", manifest=manifest, tables=tables, status=status)
        return folder


def noisy(means: Callable[[Cell], float], spread: float = 0.01) -> Callable[[Cell], tuple[dict[str, Any], str]]:
    """A collective's time: the mean, noise of the seed that arms share, and noise of the arm's own."""

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        shared = np.random.default_rng(cell.seed).normal()
        own = np.random.default_rng((cell.seed, cell.point, *cell.arm.encode())).normal()
        return collective(means(cell) * (1 + 0.2 * np.tanh(shared)) * (1 + spread * own)), "completed"

    return make


def found_of(desk: Desk, arms: Sequence[str] = ("a", "b"), **how: Any) -> Findings:
    return compare(Study("made_up", tuple(arms), **{"metrics": TIME, **how}), desk)


def test_a_difference_is_found_with_the_seeds_that_it_takes(tmp_path: Path) -> None:
    """Arms 10 % apart with 5 % noise of their own: more than 10 seeds, and pairing removes the 20 % that they share."""
    found = found_of(Desk(tmp_path, noisy(lambda cell: 110.0 if cell.arm == "b" else 100.0, 0.05)))
    verdict = found.verdict("a", "b", 0, TIME[0])
    assert verdict.winner == "a"
    assert 10 < found.seeds[0] <= 200
    assert verdict.difference is not None
    assert verdict.difference.ratio is not None
    assert verdict.difference.ratio.low < 0.1 < verdict.difference.ratio.high
    assert verdict.difference.ratio.half_width < 0.02
    assert verdict.detectable == pytest.approx(0.02, rel=0.05)
    assert sentence(found).startswith("a has the lowest collectives.time_us.mean")
    assert "b's is" in sentence(found)


def test_seeds_depend_on_the_spread_and_not_on_the_difference(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
    near, far = (
        found_of(Desk(tmp_path / str(n), noisy(lambda cell, gap=gap: 100 * (gap if cell.arm == "b" else 1), 0.04)))
        for n, gap in enumerate((1.0, 1.5))
    )
    assert near.seeds == far.seeds
    assert near.seeds[0] > 10


def test_two_that_are_the_same_cannot_be_told_apart(tmp_path: Path) -> None:
    found = found_of(Desk(tmp_path, noisy(lambda _: 100.0, 0.01)))
    assert found.verdict("a", "b", 0, TIME[0]).kind == "tie"
    assert "a and b cannot be told apart on collectives.time_us.mean: any difference is below" in sentence(found)


def test_byte_equal_runs_are_identical(tmp_path: Path) -> None:
    found = found_of(Desk(tmp_path, lambda cell: (collective(100.0 + cell.seed), "completed")), arms=("a", "b", "c"))
    assert {verdict.kind for verdict in found.verdicts} == {"identical"}
    assert sentence(found).startswith("a, b and c are identical: every table is the same, byte for byte")
    assert [one.values for one in inert_keys(found)] == [("a", "b", "c")]


def test_without_randomness_the_first_look_is_enough(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda cell: (collective(100.0 if cell.arm == "a" else 101.0), "completed"))
    found = found_of(desk)
    assert len(desk.ran) == 20
    assert "b's is 1.00 % higher exactly" in sentence(found)
    assert "exact: all 10 seeds give the same result" in sentence(found)


def test_two_seeds_that_agree_by_chance_prove_nothing(tmp_path: Path) -> None:
    """A path hashed on the seed: both arms are the same on seeds 1 and 2, and b is slower from the third on."""
    slow = Desk(tmp_path, lambda cell: (collective(120.0 if cell.arm == "b" and cell.seed > 2 else 100.0), "completed"))
    found = found_of(slow)
    assert not found.seedless
    assert found.verdict("a", "b", 0, TIME[0]).winner == "a"


def test_an_arm_that_saturates(tmp_path: Path) -> None:
    metric = parse(["flows.fct_us.p99"])

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        times = np.random.default_rng((cell.seed, cell.arm == "b")).exponential(10.0, 200)
        return flows(times), "saturated" if cell.arm == "b" else "completed"

    found = found_of(Desk(tmp_path, make, loads=[0.9]), metrics=metric)
    verdict = found.verdict("a", "b", 0, metric[0])
    assert (verdict.kind, verdict.winner) == ("unfinished", "a")
    assert "b saturates in 10 of 10 seeds" in sentence(found)


def test_a_figure_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    metric = parse(["flows.fct_us.p99"])

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        return flows(np.random.default_rng((cell.seed, cell.arm == "b")).exponential(10.0, 60)), "completed"

    found = found_of(Desk(tmp_path, make), metrics=metric)
    assert found.verdicts[0].kind == "undefined"
    assert "p99 takes 100 rows of flows with fct_us, there are 60" in sentence(found)
    assert "- no figure: flows.fct_us.p99 of a is null" in text(found)


def test_one_seed_of_a_steady_state_is_read_in_batches(tmp_path: Path) -> None:
    metric = parse(["flows.fct_us.mean"])

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        shared = np.random.default_rng(cell.seed).exponential(10.0, 3000)
        return flows(shared * (1.2 if cell.arm == "b" else 1.0)), "completed"

    found = found_of(Desk(tmp_path, make, loads=[0.5]), metrics=metric, rule=Rule(exactly=1))
    assert found.verdicts[0].winner == "a"
    assert "one seed, its flows in 30 paired batches" in sentence(found)
    (tmp_path / "finite").mkdir()
    alone = found_of(Desk(tmp_path / "finite", make), metrics=metric, rule=Rule(exactly=1))
    assert alone.verdicts[0].kind == "undefined"


def test_where_it_flips(tmp_path: Path) -> None:
    points = tuple(Point(f"{load}", {"load": f"{load}"}, load) for load in (0.2, 0.4, 0.6, 0.8))
    means = {0: 1.2, 1: 1.1, 2: 1.0, 3: 0.9}
    desk = Desk(tmp_path, noisy(lambda cell: 100 * (means[cell.point] if cell.arm == "b" else 1.0)))
    found = found_of(desk, points=points)
    said = sentence(found)
    assert "a is better" in said
    assert "from 0.2 to 0.4" in said
    assert "a and b cannot be told apart" in said
    assert "b is better" in said
    assert "flips between 0.4 and 0.8" in said


def test_a_tie_on_the_way_does_not_hide_a_flip(tmp_path: Path) -> None:
    """a best, then a and b, then b; c is never best."""
    points = tuple(Point(f"{load}", {"load": f"{load}"}, load) for load in (0.2, 0.4, 0.6))
    means = {"a": (100, 100, 100), "b": (120, 100, 80), "c": (200, 200, 200)}
    found = found_of(Desk(tmp_path, noisy(lambda cell: means[cell.arm][cell.point])), arms=tuple(means), points=points)
    assert "flips between 0.2 and 0.6" in sentence(found)
    assert "intervals within [" in sentence(found)


def test_points_that_saturate_are_not_told_as_ties(tmp_path: Path) -> None:
    """Both saturate at 0.9 and are tied at 0.5: the sentence says which is where."""
    points = tuple(Point(f"{load}", {"load": f"{load}"}, load) for load in (0.5, 0.9))

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        times = np.random.default_rng((cell.seed, *cell.arm.encode())).normal(100, 1, 50)
        return flows(times), "saturated" if cell.point else "completed"

    said = sentence(found_of(Desk(tmp_path, make), points=points, metrics=parse(["flows.fct_us.mean"])))
    assert "a and b cannot be told apart (any difference is below" in said.split(" at 0.5; ")[0]
    assert said.split(" at 0.5; ")[1].startswith("a and b cannot be compared (a saturates in ")


def test_an_arm_that_ties_with_the_best_is_not_told_as_better(tmp_path: Path) -> None:
    """a scatters around a mean above that of c, so b beats c and nothing is known of a and c."""
    points = tuple(Point(f"{load}", {"load": f"{load}"}, load) for load in (0.5, 0.9))
    means, spread = {"a": 103.0, "b": 100.0, "c": 102.0}, {"a": 0.2, "b": 0.002, "c": 0.002}

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        own = np.random.default_rng((cell.seed, *cell.arm.encode())).uniform(-1, 1)
        return collective(means[cell.arm] * (1 + spread[cell.arm] * own)), "completed"

    said = sentence(found_of(Desk(tmp_path, make), arms=tuple(means), points=points, rule=Rule(exactly=20)))
    assert "a and b are not beaten (b is better than c by 2." in said


def test_points_without_an_order_are_gathered(tmp_path: Path) -> None:
    points = tuple(Point(name, {"path": name}) for name in ("one", "two", "three"))
    means = {0: 1.2, 1: 0.8, 2: 1.2}
    desk = Desk(tmp_path, noisy(lambda cell: 100 * (means[cell.point] if cell.arm == "b" else 1.0)))
    said = sentence(found_of(desk, points=points))
    assert "at one and three" in said
    assert "so it depends on path" in said


def test_arms_are_ranked_with_ties(tmp_path: Path) -> None:
    means = {"a": 130.0, "b": 100.0, "c": 100.0}
    found = found_of(Desk(tmp_path, noisy(lambda cell: means[cell.arm], 0.005)), arms=("a", "b", "c"))
    assert [found.rank(arm, 0, TIME[0]) for arm in ("a", "b", "c")] == [3, 1, 1]
    assert "c and b cannot be told apart for the lowest" in sentence(found)


def test_the_certificate_says_the_same_each_time_and_ends_in_its_sentence(tmp_path: Path) -> None:
    found = found_of(Desk(tmp_path, noisy(lambda cell: 100.0 + (cell.arm == "b"))), held={"engine": "packet"})
    files = write(found, tmp_path / "out")
    first = [file.read_bytes() for file in files]
    assert [file.name for file in files] == ["certificate.md", "certificate.json", "differences.png"]
    assert text(found).rstrip().split("\n")[-1] == sentence(found)
    assert sentence(found).endswith("held fixed: engine (packet) and the seeds.")
    write(found, tmp_path / "out")
    assert [file.read_bytes() for file in files[:2]] == first[:2]
    assert json.loads(first[1])["sentence"] == as_json(found)["sentence"]


def test_a_key_that_changes_nothing_is_named_with_its_reason(tmp_path: Path) -> None:
    points = tuple(Point(size, {"fabric.switch.buffer": size}) for size in ("1MB", "2MB"))

    def make(cell: Cell) -> tuple[dict[str, Any], str]:
        return flows([10.0 + cell.seed + (cell.arm == "b")] * 3), "completed"

    found = found_of(Desk(tmp_path, make), points=points, metrics=parse(["flows.fct_us.mean"]))
    (one,) = inert_keys(found)
    assert one.key == "fabric.switch.buffer"
    runs = [reading.run for reading in found.readings.values()]
    assert reason("dispatch.path", runs) == "no traffic leaves its leaf: every path has one switch"
    assert reason("policy_stream", runs) == "no policy of these runs draws at random"
    assert reason("workload.0.size", runs) == ""


def test_the_default_metric_of_demands_is_what_they_earn(tmp_path: Path) -> None:
    run = load(admission_results.write_single(tmp_path / "a"))
    assert str(default(run)) == "demands.earned.mean"
    assert default(run).larger_is_better


def test_the_default_metric_is_the_time_of_the_work(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda cell: (flows([1.0 + (cell.arm == "b")] * 150), "completed"))
    assert str(found_of(desk, metrics=()).metric) == "flows.fct_us.p99"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flow.fct_us.p99", "no table 'flow' with figures; did you mean 'flows'?"),
        ("flows.fct.p99", "no figure 'fct' in flows; did you mean 'fct_us'?"),
        ("flows.fct_us.p98", "no statistic 'p98'; did you mean 'p99'?"),
        ("flows.fct_us", "lacks its statistic; valid: max, mean"),
    ],
)
def test_an_unknown_metric_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse([name])
    assert message in str(error.value)


PAIRS = st.lists(st.tuples(st.floats(50, 150), st.floats(50, 150)), min_size=3, max_size=20)


@given(PAIRS)
def test_the_ratio_is_decided_where_the_paired_t_test_is(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array(pairs).T
    if (y - x).std() < 1e-6:
        return
    chance = float(ttest_rel(x, y).pvalue)
    if abs(chance - 0.05) > 1e-6:
        assert difference(x, y, 0.95).decided == (chance < 0.05)


@given(PAIRS)
def test_the_interval_turns_with_the_pair(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array(pairs).T
    there, back = difference(x, y, 0.95).ratio, difference(y, x, 0.95).ratio
    if there is None or back is None or not np.isfinite([there.low, there.high, back.low, back.high]).all():
        return
    if there.low > -1 and back.low > -1:
        assert turned(there)[:3] == pytest.approx(back[:3], rel=1e-6, abs=1e-9)


def test_the_bootstrap_agrees_with_the_t_interval_on_many_normal_pairs() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(100, 10, 150)
    x, y = shared + rng.normal(0, 1, 150), 1.05 * shared + rng.normal(0, 1, 150)
    one, other = difference(x, y, 0.95).ratio, difference(x, y, 0.95, method="bootstrap").ratio
    assert one is not None
    assert other is not None
    assert other[:3] == pytest.approx(one[:3], abs=3e-4)


def test_the_warm_up_ends_where_the_rest_is_level() -> None:
    rng = np.random.default_rng(1)
    series = np.concatenate([np.linspace(50, 10, 100), rng.normal(10, 1, 900)])
    assert 85 <= warm_up(series) <= 105
    assert warm_up(rng.normal(10, 1, 30) + np.arange(30) * 0) <= 15
    assert warm_up(np.array([1.0, 2.0, 3.0])) == 0


def test_the_results_of_another_schema_are_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda _: (collective(1.0), "completed"))
    (folder,) = desk([Cell("a", 0, 1)], "")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        load(folder)
