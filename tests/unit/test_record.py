"""What a run writes: whole or not at all, replacing only its own kind, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.load import load
from models.builders import leaf_spine
from models.errors import InputError
from models.records import TABLES
from sim.record import ResultFolder, fabric_facts, frame, mark_interrupted, microseconds, write_json, write_run
from tests.unit import synthetic

ROOT = Path(__file__).parents[2]


def write_small(folder: Path, **how) -> dict:  # type: ignore[no-untyped-def]
    given = {"effective": "name: a\n", "manifest": synthetic.manifest(), "tables": synthetic.tables(count=40)}
    return write_run(folder, **(given | {"status": "completed"} | how))


def run_in(out: Path, *steps: Callable[[Path], object]) -> None:
    with ResultFolder(out) as folder:
        for step in steps:
            step(folder)


def fail(error: BaseException) -> Callable[[Path], None]:
    def step(folder: Path) -> None:
        raise error

    return step


def test_run_has_every_file_and_every_written_column_is_described(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with ResultFolder(out) as folder:
        assert folder.name == "out.partial"
        summary = write_small(folder, wall={"seconds": 1.5})
    files = {"scenario.yaml", "manifest.json", "summary.json", "run.json"}
    tables = {path.stem for path in out.glob("*.parquet")}
    assert {path.name for path in out.iterdir()} == files | {f"{name}.parquet" for name in tables}
    assert tables == {name for name in TABLES if summary[name]["count"]}
    for name in tables:
        schema = pq.read_schema(out / f"{name}.parquet")
        kinds = {"int64": "int", "double": "float", "string": "text"}
        assert [(f.name, kinds[str(f.type)]) for f in schema] == [(c.name, c.type) for c in TABLES[name]]
    assert json.loads((out / "summary.json").read_text()) == summary
    assert json.loads((out / "manifest.json").read_text())["program"] == "spillway"
    assert not (tmp_path / "deep" / "out.partial").exists()


def test_nulls_are_nulls_in_the_file(tmp_path: Path) -> None:
    write_small(tmp_path, tables=synthetic.tables(count=40, unfinished=3))
    column = pq.read_table(tmp_path / "flows.parquet")["end_us"]
    assert column.null_count == 3
    assert not any(np.isnan(value) for value in column.drop_null().to_pylist())
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_json_knows_no_nan_and_no_numpy(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": np.float64(0.1), "a": [np.int32(3), float("nan"), np.array([1])], "c": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 0.1, "a": [3, None, [1]], "c": None}
    with pytest.raises(TypeError, match="set"):
        write_json(tmp_path / "a.json", {"a": {1, 2}})


def test_same_bytes_in_two_processes_with_other_hash_seeds(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from tests.unit import synthetic as s; "
    program += "s.write_four_variants(Path(sys.argv[1]), 200, unfinished=2)"
    digests = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", program, out], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, check=True
        )
        files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "run.json")
        digests.append({str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert len(digests[0]) > 4 * 7
    assert digests[0] == digests[1]


def test_own_results_are_replaced_whole(tmp_path: Path) -> None:
    out = synthetic.write_single(tmp_path / "out", count=40)
    (out / "left_over.txt").write_text("old")
    synthetic.write_single(out, count=50)
    assert not (out / "left_over.txt").exists()
    assert json.loads((out / "summary.json").read_text())["flows"]["count"] == 50
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", [None, "{}", "[]", "not json", '{"program": "other"}'])
@pytest.mark.parametrize("place", ["out", "out.partial"])
def test_foreign_directory_is_refused_before_the_run(tmp_path: Path, place: str, content: str | None) -> None:
    foreign = tmp_path / place
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    if content is not None:
        (foreign / "manifest.json").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="holds no Spillway manifest"), ResultFolder(tmp_path / "out"):
        pytest.fail("the run must not start")
    assert sorted(tmp_path.rglob("*")) == before


def test_empty_directory_is_not_replaced_but_an_empty_partial_is(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError), ResultFolder(tmp_path / "out"):
        pytest.fail("the run must not start")
    (tmp_path / "other.partial").mkdir()
    synthetic.write_single(tmp_path / "other", count=40)
    assert (tmp_path / "other" / "summary.json").exists()


def test_file_link_and_forbidden_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "file", tmp_path / "link", tmp_path / "file" / "below"):
        with pytest.raises(InputError), ResultFolder(out):
            pytest.fail("the run must not start")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_old_partial_of_ours_is_cleared(tmp_path: Path) -> None:
    old = tmp_path / "out.partial"
    old.mkdir()
    write_json(old / "manifest.json", {"program": "spillway"})
    (old / "flows.parquet").write_text("half")
    with ResultFolder(tmp_path / "out") as folder:
        assert [path.name for path in folder.iterdir()] == ["manifest.json"]
        write_small(folder)


def test_failed_run_leaves_nothing_and_keeps_the_old_results(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run_in(tmp_path / "new" / "deep" / "out", write_small, fail(RuntimeError()))
    assert list(tmp_path.iterdir()) == []
    out = synthetic.write_single(tmp_path / "out", count=40)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError):
        run_in(out, write_small, fail(InputError([])))
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_foreign_directory_that_appears_during_the_run_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def appear(_: Path) -> None:
        out.mkdir()
        (out / "a").write_text("")

    with pytest.raises(InputError, match="appeared during the run"):
        run_in(out, write_small, appear)
    assert (out / "a").exists()
    assert (tmp_path / "out.partial" / "summary.json").exists()


@pytest.mark.parametrize("written", [True, False])
def test_interrupted_run_is_kept_and_marked(tmp_path: Path, written: bool) -> None:
    out = tmp_path / "out"
    steps = [lambda folder: write_small(folder, status="stopped", reasons=["interrupted at 3 us"])] if written else []
    with pytest.raises(KeyboardInterrupt):
        run_in(out, *steps, fail(KeyboardInterrupt()))
    assert json.loads((out / "manifest.json").read_text())["interrupted"] is True
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert "interrupted" in summary["reasons"][-1]
    assert summary["flows"]["count"] == (40 if written else 0)


def test_interrupt_between_variants_keeps_those_that_are_done(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def write_one(folder: Path) -> None:
        (folder / "ecmp").mkdir()
        write_small(folder / "ecmp")

    with pytest.raises(KeyboardInterrupt):
        run_in(out, write_one, fail(KeyboardInterrupt()))
    assert json.loads((out / "manifest.json").read_text())["interrupted"] is True
    assert json.loads((out / "ecmp" / "summary.json").read_text())["status"] == "completed"
    assert list(load(out).variants) == ["ecmp"]
    mark_interrupted(out)  # twice does no harm
    assert not (out / "summary.json").exists()


def test_undescribed_table_column_or_manifest_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no table 'flow'"):
        write_small(tmp_path, tables={"flow": pd.DataFrame()})
    with pytest.raises(ValueError, match="manifest key host"):
        write_small(tmp_path, manifest={"host": "here"})
    with pytest.raises(ValueError, match="has no column hop"):
        frame("reordering", {"distance": [1], "packets": [1], "hop": [1]})
    assert list(tmp_path.iterdir()) == []


def test_table_without_rows_has_a_reason_and_no_file(tmp_path: Path) -> None:
    empty = frame("counters", {"name": [], "reason": [], "count": []})
    summary = write_small(tmp_path, tables={"counters": empty}, empty={"flows": "all were rejected"})
    assert not list(tmp_path.glob("*.parquet"))
    assert summary["flows"] == {"count": 0, "reason": "all were rejected"}
    assert summary["counters"]["reason"] == TABLES["counters"].empty


def test_frame_repeats_single_values_and_fixes_types() -> None:
    whole = dict.fromkeys(("tokens", "peak_memory_bytes", "out_of_memory"), 0)
    made = frame("gpus", {"gpu": np.arange(3, dtype=np.int32), "busy_us": 1, "wait_us": [0, 1, 2], **whole})
    assert [str(kind) for kind in made.dtypes] == ["int64", "float64", "float64", "int64", "int64", "int64"]
    assert made["busy_us"].tolist() == [1, 1, 1]


def test_microseconds() -> None:
    assert microseconds(np.array([0, 1, 2_500_000])).tolist() == [0, 1e-6, 2.5]
    assert np.isnan(microseconds(np.array([-1]))).all()


def test_fabric_facts_name_the_switches_of_each_tier() -> None:
    link = (10**11, 10**6)
    topology = leaf_spine.build(leaves=2, spines=1, hosts_per_leaf=3, host_link=link, fabric_link=link)
    facts = fabric_facts(topology)
    assert facts == {"kind": "leaf_spine", "hosts": 6, "tiers": {"leaf": ["leaf0", "leaf1"], "spine": ["spine0"]}}


def test_four_variants_of_16_thousand_flows_are_written_quickly(tmp_path: Path) -> None:
    tables = synthetic.tables()
    used = []
    for attempt in range(3):
        start = time.process_time()
        for variant in range(4):
            folder = tmp_path / f"{attempt}-{variant}"
            folder.mkdir()
            write_small(folder, tables=tables)
        used.append(time.process_time() - start)
    assert min(used) < 1.0  # 0.2 s on a quiet core
