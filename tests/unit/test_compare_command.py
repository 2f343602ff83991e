"""``compare`` as it is typed, on small runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import run_sim
from analysis.load import load
from analysis.stats import without_null

SCENARIO = """name: small
fabric:
  topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}
  switch: {buffer: unlimited}
workload:
  - {kind: flows, arrivals: {kind: poisson, load: 0.5}, sizes: {kind: constant, size: 20KB}, count: 120}
"""
PLUGIN = """from sim.dispatch.api import PolicyParams

LEVEL = "path"

class Params(PolicyParams):
    pass

class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = False

    def __init__(self, params, view):
        pass

    def assign(self, flows, rng):
        raise RuntimeError("this policy is broken")


"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(SCENARIO)
    return file


def call(*words: str) -> int:
    return run_sim.main(["compare", "small.yaml", "--workers", "1", "-q", *words])


def test_a_second_call_finds_its_runs_and_says_the_same(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--vary", "dispatch.path=ecmp,spray", "--seeds", "3", "--metric", "flows.fct_us.mean")
    assert call(*options) == 0
    first = capsys.readouterr().out
    out = tmp_path / "results" / "small-compare"
    written = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*")}
    assert len(list((out / "cells").iterdir())) == 6
    assert (out / "plots" / "differences.png").stat().st_size > 5000
    assert (out / "certificate.md").read_text() == first
    assert json.loads((out / "certificate.json").read_text())["sentence"] == first.rstrip().split("\n")[-1]
    assert call(*options) == 0
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*")} == written


def test_a_policy_stream_changes_what_policies_draw_and_not_what_arrives(scenario: Path, tmp_path: Path) -> None:
    assert call("--vary", "policy_stream=1,2", "--seeds", "2") == 0
    runs = [load(cell) for cell in (tmp_path / "results" / "small-compare" / "cells").iterdir()]
    first = [run.frame("flows") for run in runs if run.manifest["seed"] == 1]
    same = ["src", "dst", "bytes", "start_us"]
    assert first[0][same].equals(first[1][same])
    assert not first[0]["path"].equals(first[1]["path"])
    assert len(without_null(first[0]["fct_us"].to_numpy())) == 120


def test_a_key_of_packets_is_inert_without_them(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--vary", "fabric.transport.rto=1ms,2ms", "--set", "engine=fluid", "--seeds", "2")
    assert call(*options) == 0
    said = capsys.readouterr().out
    assert "fabric.transport.rto changes nothing between" in said
    assert "the engine fluid has no packets and no queues" in said
    assert "are identical: every table is the same, byte for byte (in all 2 seeds)" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "compare needs two arms"),
        (("--vary", "dispatch.path=ecmp"), "--vary dispatch.path has one value"),
        (("--vary", "dispatch.path=ecmp,spary"), "did you mean 'spray'?"),
        (("--vary", "dispatch.pth=ecmp,spray"), "did you mean 'path'?"),
        (("--vary", "dispatch.path=ecmp,spray", "--variants", "a,b"), "no variant 'a'"),
        (("--vary", "dispatch.path=ecmp,spray", "--precision", "2"), "'2' is no share between 0 and 1"),
        (("--vary", "dispatch.path=ecmp,spray", "--seeds", "3", "--most", "9"), "has no effect beside --seeds"),
        (("--vary", "dispatch.path=ecmp,spray", "--metric", "flows.fct_us.p999"), "did you mean 'p99'?"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(
    options: tuple[str, ...], message: str, scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_run_that_fails_decides_nothing(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text(PLUGIN)
    assert call("--vary", "dispatch.path=ecmp,broken", "--seeds", "2", "--plugin", "broken.py") == 1
    said = capsys.readouterr()
    assert "this policy is broken" in said.err
    assert "nothing is decided" in said.err
    assert said.out == ""
    assert not (tmp_path / "results" / "small-compare" / "certificate.md").exists()


def test_every_key_is_changed_alone(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--inert", "--set", "engine=fluid", "--set", "workload.0.count=30") == 0
    effect = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert effect["fabric.transport.rto"].endswith("inert: the engine fluid has no packets and no queues")
    assert effect["dispatch.collective"].endswith("inert: the workload has no collective")
    assert "moves flows" in effect["fabric.topology.spines"]
    assert "moves flows" in effect["workload.0.arrivals.load"]
    assert "moves flows" in effect["dispatch.path"]
    assert call("--inert", "--vary", "dispatch.path=ecmp,spray") == 2


def test_what_is_left_of_a_varied_section_is_told_as_such(scenario: Path) -> None:
    from sim.sweep import Experiment, parse_axes
    from sim.sweep.held import held

    axes = parse_axes(["dispatch.path=ecmp,spray", "workload.0.arrivals.load=0.2,0.4"])
    told = held(Experiment(scenario, axes).cells())
    assert "load" not in told["rest of the workload"].replace("load_of", "")
    assert {"fabric", "switches", "transport", "other policies"} < set(told)
