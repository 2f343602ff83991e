"""The programs that measure admission: small runs, kept results, tables and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import admission
from benchmarks.admission_instances import Instance, drawn
from benchmarks.reproduce import pfar, pfar_report
from models.instances import load_of


def test_instances_are_those_of_their_number():
    one = drawn(7, 0.2)
    assert one == drawn(7, 0.2) != drawn(8, 0.2)
    assert 10 <= one.nodes <= 50
    assert 100 <= one.flows <= 5000
    topology, demands = Instance(12, 150, 0.3, 4).network()
    assert len(demands.id) == 150
    assert load_of(topology, demands) == pytest.approx(0.3, rel=1e-3)


def test_every_method_of_the_table_is_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    some = {name: how for name, how in admission.METHODS.items() if how["method"] != "ilp" or how["solver"] == "highs"}
    monkeypatch.setattr(admission, "METHODS", some)
    admission.methods_part([(10, 60, 0.5)], 1, 0.5)
    admission.arc_part([(6, 10, 0.5)], 5.0)
    admission.build_part([(10, 60)], 1)
    said = capsys.readouterr().out
    assert all(f"| {name} |" in said for name in some)
    assert "| arc | " in said
    assert "below 0.5 s: holds" in said
    shares = [float(line.split("|")[3].strip(" %")) for line in said.splitlines() if line.startswith("| greedy")]
    assert len(shares) == 3
    assert all(50 < share <= 100 for share in shares)


def test_results_are_kept_and_only_what_is_missing_is_computed(tmp_path: Path):
    pfar.compute("optimal", 1, 1, tmp_path)
    (row,) = pfar.read("optimal", tmp_path)
    assert row["status"] == "optimal"
    assert row["uncongested"] is True
    before = (tmp_path / "pfar_optimal.jsonl").read_bytes()
    pfar.compute("optimal", 1, 1, tmp_path)
    assert (tmp_path / "pfar_optimal.jsonl").read_bytes() == before
    hungry = {**row, "status": "time_limit", "cpu_s": 9.0, "wall_s": 60.0}
    assert pfar.starved(hungry)
    (tmp_path / "pfar_optimal.jsonl").write_text(json.dumps(hungry) + "\n")
    pfar.compute("optimal", 1, 1, tmp_path)
    (again,) = pfar.read("optimal", tmp_path)
    assert again["status"] == "optimal"


def test_one_instance_of_the_fixed_budget(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pfar, "GA_SECONDS", 0.3)
    monkeypatch.setattr(pfar, "RIVAL_SECONDS", 1.0)
    monkeypatch.setattr(pfar, "SEEDS", 2)
    row = pfar.genetic(0)
    assert len(row["ga"]) == 2
    assert min(row["ga"]) >= max(row["greedy"])
    assert row["bound"] >= max(*row["ga"], row["highs"], row["cbc"], row["lp_rounding"])
    assert json.loads(json.dumps(row)) == row


def optimal_row(number: int, status: str, cpu: float) -> dict[str, Any]:
    return {
        "number": number, "nodes": 20, "flows": 100 * 4**number, "load": pfar.LOADS[number % 4], "status": status,
        "cpu_s": cpu, "objective": 90, "bound": 100 if status == "time_limit" else 90, "uncongested": number == 0,
    }  # fmt: skip


def genetic_row(number: int, low: int) -> dict[str, Any]:
    return {
        "number": number, "nodes": 20, "flows": 100 * (number + 1), "bound": 100.0, "greedy": [80, 85, 84],
        "lp_rounding": 95, "highs": 97, "cbc": 96, "ga": [low, 99, 99],
    }  # fmt: skip


def test_tables_say_what_the_rows_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [optimal_row(0, "optimal", 0.01), optimal_row(1, "optimal", 5.0), optimal_row(2, "time_limit", 60.0)]
    pfar_report.report("optimal", rows, tmp_path)
    said = capsys.readouterr().out
    assert "| all | 3 | 33% | 67% | 67% | 5.00 | 10.00% |" in said
    assert "| uncongested | 1 | 100% | 100% | 100% | 0.01 |  |" in said
    assert "at most 2 s is asked: holds" in said
    pfar_report.report("ga", [genetic_row(0, 98), genetic_row(1, 84)], tmp_path)
    said = capsys.readouterr().out
    assert "a seed below greedy on 1 of 2 instances: **missed**" in said
    assert "GA's median at least 97 %: **missed**" in said
    pfar_report.report("ga", [genetic_row(0, 98), genetic_row(1, 97)], tmp_path)
    assert (
        "GA's median at least 97 %: holds; 99 %: **missed**; a seed below greedy on 0 of 2" in capsys.readouterr().out
    )
    assert {path.name for path in tmp_path.iterdir()} == {"pfar_optimal.png", "pfar_ga.png"}
    pfar_report.report("ga", [], tmp_path)
    assert "No results" in capsys.readouterr().out
