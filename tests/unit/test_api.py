"""Python's way in: the same results, the same errors as the command line, and no state between two runs."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import run_sim
from models.errors import InputError
from sim import load, run, sweep

ROOT = Path(__file__).parents[2]
MAIN = str(ROOT / "scenarios" / "leaf_spine.yaml")
SMALL = {
    "fabric.topology.leaves": 2,
    "fabric.topology.spines": 2,
    "fabric.topology.hosts_per_leaf": 3,
    "workload.0.size": "32KB",
}
TEXT = """name: own
fabric: {topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}
workload:
  - {kind: flows, arrivals: {kind: poisson, load: 0.6}, sizes: websearch, count: 40}
"""
VALUES: dict[str, Any] = {
    "name": "own",
    "fabric": {"topology": {"kind": "leaf_spine", "leaves": 2, "spines": 2, "hosts_per_leaf": 2}},
    "workload": [
        {"kind": "flows", "arrivals": {"kind": "poisson", "load": 0.6}, "sizes": "websearch", "count": 40},
    ],
}


def test_the_package_imports_nothing_before_it_is_used() -> None:
    code = "import sys, sim; from sim.dispatch.registry import LEVELS; print({'numba', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_functions_win_over_modules_of_their_names() -> None:
    module = import_module("sim.run")
    import_module("sim.sweep")
    package = import_module("sim")
    assert package.run is run
    assert package.sweep is sweep
    assert sys.modules["sim.run"] is module
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        package.lod  # noqa: B018


def test_a_scenario_from_a_file_from_text_and_from_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(TEXT)
    texts = [load(source).text() for source in ("own.yaml", tmp_path / "own.yaml", TEXT, VALUES)]
    assert len(set(texts)) == 1
    assert repr(load(TEXT)) == "scenario own: leaf_spine of 4 hosts, engine packet"
    assert "leaf0" in load(TEXT).check()


def test_files_that_text_names_are_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows.csv").write_text("start,src,dst,size\n1us,host0,host1,1KB\n")
    scenario = load({**VALUES, "workload": [{"kind": "flows", "file": "flows.csv"}]})
    results = run(scenario, quiet=True)
    assert results.frame("flows")["bytes"].tolist() == [1000]
    assert list(results.manifest["inputs"]) == ["flows.csv"]


@pytest.mark.parametrize(
    ("overrides", "options"),
    [
        ({"dispatch.pth": "spray"}, ["--set", "dispatch.pth=spray"]),
        ({"workload.0.size": 8}, ["--set", "workload.0.size=8"]),
        (
            {"dispatch.path": {"kind": "subflows", "n": 2}, "engine": ["fluid"]},
            ["--set", "dispatch.path={kind: subflows, n: 2}", "--set", "engine=[fluid]"],
        ),
    ],
)
def test_errors_are_those_of_the_command_line(
    overrides: dict[str, Any], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sim.main(["check", MAIN, *options]) == 2
    with pytest.raises(InputError) as caught:
        load(MAIN, overrides)
    assert f"{caught.value}\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "overrides", "said"),
    [
        (TEXT + "dispatch: {pth: 3}\n", {}, "scenario:5:12: unknown key 'pth'; did you mean 'path'?"),
        ({**VALUES, "dispatch": {"pth": 3}}, {}, "scenario:dispatch.pth: unknown key 'pth'; did you mean 'path'?"),
        ({**VALUES, "seed": object()}, {}, "scenario:seed: a value of the type object is none of a scenario"),
        (VALUES, {"seed": {1, 2}}, "--set:seed: a value of the type set is none of a scenario"),
        (
            VALUES,
            {"workload.0.arrivals.load": float("nan")},
            "--set:workload.0.arrivals.load: nan is no value of a scenario",
        ),
        ("none.yaml", {}, "none.yaml: no such file"),
    ],
)
def test_wrong_scenarios(source: Any, overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(source, overrides)
    assert said in str(caught.value).splitlines()


def test_results_are_those_of_the_command_line(tmp_path: Path) -> None:
    options = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    assert run_sim.main([MAIN, *options, "--seed", "3", "--no-plots", "-q", "--out", str(tmp_path / "there")]) == 0
    results = run(load(MAIN, SMALL, seed=3), out=tmp_path / "here", quiet=True)
    for file in sorted((tmp_path / "there").rglob("*")):
        if file.is_file() and file.name != "run.json":
            assert file.read_bytes() == (tmp_path / "here" / file.relative_to(tmp_path / "there")).read_bytes(), file
    assert results.folder == tmp_path / "here"


def test_results_of_variants() -> None:
    results = run(load(MAIN, SMALL), quiet=True)
    assert list(results) == ["one_path", "ecmp", "ethereal", "spray"]
    assert results.status == results["ecmp"].status == "completed"
    flows = results.frame("flows", ["id", "fct_us"])
    assert list(flows.columns) == ["variant", "id", "fct_us"]
    alone = results["ecmp"].frame("flows")
    assert flows[flows["variant"] == "ecmp"]["fct_us"].tolist() == alone["fct_us"].tolist()
    figures = results.figures()
    assert figures.loc["ecmp", "flows.count"] == len(alone) == 30
    assert figures.loc["ecmp", "flows.fct_us.mean"] == pytest.approx(alone["fct_us"].mean())
    assert results["ecmp"].number("flows", "fct_us", "p50") == results.summary["ecmp"]["flows"]["fct_us"]["p50"]
    assert "ethereal" in repr(results)
    assert "<table" in results._repr_html_()
    assert results["ecmp"].frame("moe_steps").empty
    with pytest.raises(KeyError, match="did you mean 'ecmp'"):
        results["ecmpp"]
    with pytest.raises(KeyError, match="did you mean 'flows'"):
        results.frame("flow")


def test_a_temporary_folder_lives_as_long_as_its_results() -> None:
    results = run(load(MAIN, SMALL), quiet=True)
    one, folder = results["spray"], results.folder
    del results
    gc.collect()
    assert len(one.frame("links")) > 0
    del one
    gc.collect()
    assert not folder.parent.exists()


def test_runs_in_threads_do_not_disturb_each_other() -> None:
    """Six runs of other engines and seeds, switching often; each comes out as it does alone."""
    cases = [{"seed": seed, "engine": engine} for seed in (1, 2) for engine in ("packet", "fluid", "reference")]
    light = {"workload.0.sizes": {"kind": "exponential", "mean": "30KB"}, "dispatch.path": "spray"}
    scenarios = [load(TEXT, light | case) for case in cases]
    alone = [run(scenario, quiet=True).frame("flows") for scenario in scenarios]
    before, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(lambda scenario: run(scenario, quiet=True).frame("flows"), scenarios))
    finally:
        sys.setswitchinterval(before)
    for one, other in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert gc.get_threshold() == threshold
    assert len({tuple(frame["fct_us"]) for frame in alone}) > 3


def test_a_run_inside_an_event_loop() -> None:
    """As a notebook does it."""

    async def cell() -> tuple[str, str]:
        here = run(TEXT, quiet=True).status
        return here, (await asyncio.to_thread(run, TEXT, quiet=True)).status

    assert asyncio.run(cell()) == ("completed", "completed")


def test_an_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    scenario = load(MAIN, {"workload.0.size": "1GB"})
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            run(scenario, out=tmp_path / "out", quiet=True)
    finally:
        timer.cancel()
    results = caught.value.results  # type: ignore[attr-defined]
    assert results.status == "stopped"
    assert results.manifest["interrupted"] is True
    assert len(results.frame("links")) > 0
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_sweep(tmp_path: Path) -> None:
    axes = {"dispatch.path": ["ecmp", {"kind": "subflows", "k": 2}], "workload.0.arrivals.load": [0.2, 0.6]}
    rows = sweep(VALUES, axes, seeds=2, out=tmp_path / "out", quiet=True)
    assert len(rows) == 8
    assert sorted(set(rows["seed"])) == [1, 2]
    one = rows[(rows["dispatch.path"] == "ecmp") & (rows["workload.0.arrivals.load"] == 0.2) & (rows["seed"] == 2)]
    alone = run(load(VALUES, {"dispatch.path": "ecmp", "workload.0.arrivals.load": 0.2}, seed=2), quiet=True)
    assert one["flows.fct_us.mean"].item() == alone.number("flows", "fct_us", "mean")
    again = sweep(load(VALUES), {**axes, "workload.0.arrivals.load": "0.2:0.6:2"}, seeds=2, quiet=True)
    pd.testing.assert_frame_equal(rows.dropna(axis=1, how="all"), again.dropna(axis=1, how="all"))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"dispatch.pth": ["ecmp"]}, "--vary:dispatch.pth: unknown key 'pth'; did you mean 'path'?"),
        ({"dispatch.path": 3}, "--vary:dispatch.path: an axis is a list of values, or a range such as '0.1:0.9:5'"),
        ({"dispatch.path": [{1}]}, "--vary:dispatch.path: a value of the type set is none of a scenario"),
    ],
)
def test_wrong_axes(axes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        sweep(VALUES, axes, out=tmp_path / "out", quiet=True)
    assert said in str(caught.value).splitlines()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"), [({"seeds": 0}, "--seeds: 0 is below 1"), ({"workers": 0}, "--workers: 0")]
)
def test_wrong_numbers(options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sweep(VALUES, quiet=True, **options)
