"""``validate`` as users call it: what it runs, prints and writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import run_sim
from analysis.load import load

ROOT = Path(__file__).parents[2]
COLLECTIVE = """name: ring
engine: fluid
fabric: {topology: {kind: star, hosts: 4, host_link: {rate: 80Gbps, delay: 1ps}}}
dispatch: {collective: ring, path: ecmp}
workload: [{kind: collective, op: all_gather, size: 1MB}]
"""
FLOWS = """name: pairs
engine: fluid
fabric: {topology: {kind: star, hosts: 4, host_link: {rate: 80Gbps, delay: 1ps}}}
workload: [{kind: flows, arrivals: {kind: poisson, load: 0.4}, sizes: {kind: constant, size: 100KB}, count: 150}]
"""
# three steps of a quarter of the size at 10 GB/s: 75 us for 1 MB
MEASURED = """# spillway: kind=collectives
# bands: time median<6%, busbw worst<20%
op,ranks,bytes,time_us,busbw_gbytes,held_out
all_gather,4,1000000,75,10,0
all_gather,4,2000000,142.857142857,10.5,1
all_gather,4,4000000,315.789473684,9.5,1
all_gather,8,4000000,300,9.5,1
"""
Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ring.yaml").write_text(COLLECTIVE)
    (tmp_path / "pairs.yaml").write_text(FLOWS)
    (tmp_path / "measured.csv").write_text(MEASURED)
    return lambda *words: run_sim.main(["validate", *words, "-q"])


def verdict(folder: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((Path(folder) / "verdict.json").read_text())
    return found


def pictures(folder: str) -> set[str]:
    return {path.stem.removeprefix("validation_") for path in Path(folder, "plots").iterdir()}


def test_collectives_run_at_the_measured_sizes(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ring.yaml", "--against", "measured.csv") == 0
    folder = "results/ring-validation"
    assert list(load(folder).runs()) == ["ring-1000000", "ring-2000000", "ring-4000000"]
    facts = verdict(folder)
    assert facts["verdict"] == "holds"
    assert facts["rests_on"] == "held out"
    assert facts["against"]["not_simulated"] == {"all_gather of 8 ranks": 1}  # type: ignore[index]
    errors = pd.read_parquet(f"{folder}/errors.parquet").query("to > 1e30 and part == 'held out'").set_index("metric")
    assert errors.loc["time_us", "bias"] == pytest.approx(0, abs=1e-6)
    assert errors.loc["time_us", "worst"] == pytest.approx(0.05)
    assert errors.loc["busbw_gbytes", "measured"] == 2
    assert {path.name for path in Path(folder, "plots").iterdir()} == {
        "validation_bandwidth.png",
        "validation_errors.png",
    }
    said = capsys.readouterr().out
    assert "verdict: holds (on the rows held out)" in said
    assert "not simulated: all_gather of 8 ranks (1 rows)" in said


def test_the_same_bytes_again_and_from_the_results(call: Call) -> None:
    assert call("ring.yaml", "--against", "measured.csv", "--no-plots", "--out", "one") == 0
    before = [Path("one", name).read_bytes() for name in ("verdict.json", "errors.parquet")]
    assert call("ring.yaml", "--against", "measured.csv", "--no-plots", "--out", "one") == 0  # replaced
    assert [Path("one", name).read_bytes() for name in ("verdict.json", "errors.parquet")] == before
    assert call("--results", "one", "--against", "measured.csv", "--band", "time worst<1%") == 0
    assert verdict("one")["verdict"] == "misses"


def test_flows_as_distributions_and_one_by_one(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sim.main(["pairs.yaml", "-q", "--no-plots", "--out", "run"]) == 0
    flows = pd.read_parquet("run/flows.parquet")[["id", "bytes", "start_us", "fct_us"]]
    bands = ["--band", "fct p50<1%", "--band", "fct ks<0.02"]
    flows.to_csv("rows.csv", index=False)
    for columns, more in ((["id", "bytes", "start_us", "fct_us"], ["--band", "worst<0.1%"]), (["bytes", "fct_us"], [])):
        text = flows[columns].to_csv(index=False)
        Path("flows.csv").write_text(f"# spillway: kind=flows\n{text}")
        assert call("pairs.yaml", "--against", "flows.csv", "--out", "out", *bands, *more) == 0
        assert verdict("out")["verdict"] == "holds"
        assert pictures("out") == {"quantiles", "distribution", *(("over_time", "errors") if more else ())}
    other = ["--seed", "9", "--out", "other", "--band", "fct p99<0.001%"]
    assert call("pairs.yaml", "--against", "flows.csv", "--hold-out", "50%", "--no-plots", *other) == 0
    assert verdict("other")["verdict"] in ("misses", "can't be told: too few rows")
    assert "held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ring.yaml", "--against", "none.csv"], "none.csv: can't be read"),
        (["--against", "measured.csv"], "give a SCENARIO to run, or --results DIR"),
        (["--results", "x", "--seed", "1", "--against", "measured.csv"], "--seed: nothing is run with --results"),
        (["pairs.yaml", "--against", "measured.csv"], "pairs.yaml:4:1: measured.csv holds collectives"),
        (
            ["ring.yaml", "--against", "measured.csv", "--set", "fabric.topology.hosts=3"],
            "the scenario has all_gather of 3",
        ),
        (["ring.yaml", "--against", "huge.csv"], "huge.csv:4:1: size"),
        (["ring.yaml", "--against", "measured.csv", "--band", "time x<1%"], "--band: unknown statistic 'x'"),
    ],
)
def test_wrong_input_writes_nothing(
    words: list[str], message: str, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("huge.csv").write_text(MEASURED.replace("1000000", str(10**20)))
    assert call(*words) == 2
    assert message in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.slow
def test_the_shipped_example_shows_what_it_misses(call: Call) -> None:
    """As on the guide page. All_to_all is read back; all_reduce set nothing, and misses where NCCL switches."""
    scenario = str(ROOT / "scenarios" / "nccl_h100_measured.yaml")
    against = str(ROOT / "scenarios" / "traces" / "nccl_h100_cluster.csv")
    assert call(scenario, "--against", against, "--no-plots", "--out", "out") == 0
    facts = verdict("out")
    assert facts["verdict"] == "misses"
    errors = {entry["case"]: entry["median"] for entry in facts["errors"]}  # type: ignore[attr-defined]
    assert errors["all_to_all"] < 0.01
    assert errors["all_reduce"] < 0.2
