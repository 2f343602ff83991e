"""A sweep's folder: nothing finished is lost, nothing broken is read, and the index tells what is there."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import run_sim
from analysis.index import read_index
from analysis.plots import curves, sweeps
from models.congestion import congestion
from models.errors import InputError
from sim.record import ResultFolder
from sim.sweep import Experiment, parse_axes, run_cells, worker, write_index
from sim.sweep.folder import SweepFolder

SCENARIO = """name: small
engine: ideal
fabric: {topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}
workload: [{kind: matrix, pattern: permutation, size: 64KB}]
variants: {ecmp: {dispatch.path: ecmp}, spray: {dispatch.path: spray}}
"""
SIZES = ("--vary", "workload.0.size=64KB,128KB,256KB")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def sweep(scenario: Path, out: Path, *options: str) -> int:
    return run_sim.main(["sweep", str(scenario), *SIZES, "--out", str(out), "--workers", "1", *options])


def cells(out: Path) -> list[Path]:
    return sorted(path for path in (out / "cells").iterdir() if "." not in path.name)


def stamps(out: Path) -> dict[str, int]:
    return {path.name: (path / "summary.json").stat().st_mtime_ns for path in cells(out)}


def test_finished_cells_are_kept_and_said(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert sweep(scenario, out, "--seeds", "2") == 0
    before = stamps(out)
    assert len(before) == 12
    assert sweep(scenario, out, "--seeds", "3") == 0
    assert "12 of 18 cells are finished already" in capsys.readouterr().err
    after = stamps(out)
    assert {name: after[name] for name in before} == before
    assert sweep(scenario, out) == 0
    assert "12 cells of other sweeps" in capsys.readouterr().err
    assert len(read_index(out).frame) == 6


def test_a_folder_that_is_no_sweep_is_left_alone(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, run, old, file = (tmp_path / name for name in ("mine", "run", "old", "file"))
    for folder in (mine, run, old):
        folder.mkdir()
    (mine / "thesis.tex").write_text("mine")
    (run / "manifest.json").write_text('{"program": "spillway", "schema": 1}')
    (old / "manifest.json").write_text('{"program": "spillway", "kind": "sweep", "schema": 0}')
    file.write_text("mine")
    for folder, message in (
        (mine, "holds no Spillway manifest"),
        (run, "holds the results of a run"),
        (old, "has schema 0; this version writes 1"),
        (file, "is not a directory"),
        (Path("/proc/sweep"), "can't write here"),
    ):
        assert sweep(scenario, folder, "-q") == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]


def test_a_run_does_not_replace_a_sweep(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert sweep(scenario, out, "-q") == 0
    assert run_sim.main(["run", str(scenario), "--out", str(out), "-q", "--no-plots"]) == 2
    assert "holds a sweep" in capsys.readouterr().err
    assert len(cells(out)) == 6


def test_two_sweeps_do_not_share_a_folder(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with SweepFolder(out, "small"):
        assert sweep(scenario, out, "-q") == 2
    assert "another sweep is at work" in capsys.readouterr().err


def fail_after(count: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run of every cell after ``count`` of them ends in ``error``."""
    done: list[None] = []
    really = worker.run_one

    def run_one(world: Any, folder: Path, progress: Any) -> str:
        if len(done) == count:
            (folder / "half.parquet").write_bytes(b"PAR1")
            raise error
        done.append(None)
        return really(world, folder, progress)

    monkeypatch.setattr(worker, "run_one", run_one)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_and_a_read_only_one_end_the_sweep_and_lose_nothing(
    number: int, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        fail_after(2, OSError(number, os.strerror(number), "x"), patched)
        assert sweep(scenario, out, "-q") == 1
    shown = capsys.readouterr()
    assert f"{out}: {os.strerror(number)}; 2 finished cells are kept" in shown.err
    assert "6 cells: 2 completed, 4 not run" in shown.out
    before = stamps(out)
    assert not list((out / "cells").glob(".*"))
    assert sweep(scenario, out, "-q") == 0
    assert before.items() <= stamps(out).items()
    assert len(cells(out)) == 6


@pytest.mark.slow
def test_a_limit_of_the_system_is_a_full_disk(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import resource, run_sim, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));"
        f"sys.exit(run_sim.main(['sweep', {str(scenario)!r}, '--out', {str(out)!r}, '--workers', '1', '-q']))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cell_that_fails_is_kept_with_its_reason_and_tried_again(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        fail_after(4, ValueError("no such luck\nat all"), patched)
        assert sweep(scenario, out, "-q") == 1
    assert capsys.readouterr().err.count("run: ValueError: no such luck (traceback in") == 2
    frame = read_index(out).frame
    assert frame["status"].tolist() == ["completed"] * 4 + ["failed"] * 2
    assert frame["stage"].tolist()[4:] == ["run"] * 2
    failed = out / "cells" / frame["cell"].iloc[-1]
    assert "ValueError" in (failed / "traceback.txt").read_text()
    assert sweep(scenario, out) == 0
    assert "4 of 6 cells are finished already, 2 that failed run again" in capsys.readouterr().err
    assert not (failed / "failure.json").exists()
    assert set(read_index(out).frame["status"]) == {"completed"}


@pytest.mark.parametrize("damage", ["truncated table", "no summary", "no JSON", "missing table"])
def test_a_damaged_cell_is_named_kept_and_run_again(
    damage: str, scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sweep(scenario, out, "-q") == 0
    index = (out / "index.parquet").read_bytes()
    cell = cells(out)[2]
    if damage == "truncated table":
        table = (cell / "flows.parquet").read_bytes()
        (cell / "flows.parquet").write_bytes(table[: len(table) // 2])
    elif damage == "missing table":
        (cell / "flows.parquet").unlink()
    elif damage == "no summary":
        (cell / "summary.json").unlink()
    else:
        (cell / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=cell.name):
        write_index(out)
    assert (out / "index.parquet").read_bytes() == index
    assert sweep(scenario, out) == 0
    assert f"kept as {cell.name}.corrupt, the cell runs again" in capsys.readouterr().err
    assert (out / "cells" / f"{cell.name}.corrupt").is_dir()
    assert (out / "index.parquet").read_bytes() == index


def test_what_was_left_half_is_swept_up(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert sweep(scenario, out, "-q") == 0
    half = out / "cells" / f".{cells(out)[0].name}.0123456789ab.partial"
    half.mkdir()
    (half / "flows.parquet").write_bytes(b"PAR1")
    assert sweep(scenario, out, "-q") == 0
    assert not half.exists()


def test_the_index_can_be_made_again_from_the_cells(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert sweep(scenario, out, "-q", "--seeds", "2") == 0
    before = (out / "index.parquet").read_bytes()
    (out / "index.parquet").unlink()
    write_index(out)
    assert (out / "index.parquet").read_bytes() == before
    frame = read_index(out).frame
    assert frame["workload.0.size"].tolist() == [64e3] * 4 + [128e3] * 4 + [256e3] * 4
    assert frame["workload.0.size.text"].iloc[0] == "64KB"
    assert frame["variant"].tolist() == ["ecmp", "ecmp", "spray", "spray"] * 3
    assert frame["seed"].tolist() == [1, 2] * 6
    assert frame["policy.path"].tolist() == frame["variant"].tolist()
    first = json.loads((out / "cells" / frame["cell"].iloc[0] / "summary.json").read_text())
    assert frame["flows.fct_us.mean"].iloc[0] == first["flows"]["fct_us"]["mean"]
    assert not any("wall" in name or "cpu" in name for name in frame.columns)


def test_cells_run_for_others_come_in_their_order(scenario: Path, tmp_path: Path) -> None:
    experiment = Experiment(scenario, parse_axes(["workload.0.size=64KB,128KB"]))
    wanted = experiment.cells(experiment.points[1:3], [3, 4])
    found = run_cells([*wanted, wanted[0]], tmp_path / "out", quiet=True)
    assert found == [tmp_path / "out" / "cells" / cell.digest for cell in [*wanted, wanted[0]]]


def test_a_seed_gives_the_same_as_a_plain_run(scenario: Path, tmp_path: Path) -> None:
    cell = Experiment(scenario).cells(seeds=[7])[1]
    (path,) = run_cells([cell], tmp_path / "out", quiet=True)
    assert isinstance(path, Path)
    plain = tmp_path / "plain"
    assert run_sim.main([str(scenario), "--seed", "7", "--out", str(plain), "--no-plots", "-q"]) == 0
    for file in ("summary.json", "flows.parquet", "links.parquet", "scenario.yaml"):
        assert (path / file).read_bytes() == (plain / "spray" / file).read_bytes()


def test_knees() -> None:
    x = np.linspace(0.1, 0.9, 9)
    bent = 1 / (1 - x)
    assert curves.knee(x, bent) == 6
    assert curves.knee(x, 2 * x) is None
    assert curves.knee(x, np.minimum(5 * x, 3.0)) is None
    assert curves.knee(x, 1 + (bent - 1) / 20) is None
    assert curves.knee(x[:3], bent[:3]) is None


def test_curves_of_a_sweep(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert sweep(scenario, out, "-q", "--seeds", "3") == 0
    index = read_index(out)
    figure = sweeps.curves(index, "size", ["flows.fct_us.mean"])
    ax = figure.axes[0]
    shown = [line for line in ax.lines if len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in shown] == [[64e3, 128e3, 256e3]] * 2
    part = index.frame[index.frame["variant"] == "ecmp"].groupby("workload.0.size")["flows.fct_us.mean"].mean()
    np.testing.assert_allclose(shown[0].get_ydata(), part)
    capsys.readouterr()
    assert run_sim.main(["plot", str(out), "--x", "workload.0.size", "--y", "flows.fct_us.mean"]) == 0
    assert Path(capsys.readouterr().out.strip()).stat().st_size > 5000
    assert run_sim.main(["plot", str(out), "--y", "flows.fct_us.p9"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert run_sim.main(["plot", str(out), "--x", "seed"]) == 2
    assert "no key 'seed' was varied" in capsys.readouterr().err
    (out / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="can't be read; run the sweep again"):
        read_index(out)


def test_x_and_y_are_for_sweeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ResultFolder(tmp_path / "run"):
        pass
    assert run_sim.main(["plot", str(tmp_path / "run"), "--x", "a"]) == 2
    assert "is no sweep" in capsys.readouterr().err


def test_congestion_of_nothing_is_null() -> None:
    assert set(congestion(None, None, {}).values()) == {None}


@pytest.mark.slow
def test_who_runs_the_cells_makes_no_difference(scenario: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster

    found = {}
    scenario.write_text(SCENARIO.replace("ideal", "packet"))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        ways = {"processes": ["--workers", "2"], "local": ["--cluster", "local", "--workers", "2"]}
        ways |= {"address": ["--cluster", cluster.scheduler_address], "here": ["--workers", "1"]}
        for name, how in ways.items():
            command = ["sweep", str(scenario), *SIZES, "--seeds", "34", "--out", str(tmp_path / name), "-q", *how]
            assert run_sim.main(command) == 0
            found[name] = (tmp_path / name / "index.parquet").read_bytes()
            assert len(cells(tmp_path / name)) == 204
    assert len(set(found.values())) == 1


@pytest.mark.slow
def test_a_disk_that_is_really_full_or_read_only(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=False).returncode:
        pytest.skip("only root may mount")
    try:
        out = disk / "out"
        assert sweep(scenario, out, "-q", "--seeds", "8") == 1
        assert "No space left on device" in capsys.readouterr().err
        before = stamps(out)
        assert before
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        assert sweep(scenario, out, "-q", "--seeds", "8") == 0
        assert before.items() <= stamps(out).items()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert sweep(scenario, out, "-q", "--seeds", "9") == 2
        assert "can't write here: Read-only file system" in capsys.readouterr().err
        assert run_sim.main(["plot", str(out)]) == 2
        assert len(cells(out)) == 48
    finally:
        subprocess.run(["umount", disk], check=True)
