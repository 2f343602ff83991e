"""Loading results, statistics with intervals, and the printed tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.grid import write
from analysis.load import find_runs, load
from analysis.stats import batch_means, bootstrap, percentile
from analysis.tables import summary_table
from models.errors import InputError
from models.records import TABLES
from sim.record import ResultFolder, write_run
from tests.unit import synthetic


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_single(tmp_path_factory.mktemp("single") / "out", count=400, unfinished=4, status="stopped")


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_four_variants(tmp_path_factory.mktemp("variants") / "out", 400)


def test_what_was_written_is_read_back(single: Path) -> None:
    results = load(single)
    made = synthetic.tables(count=400, unfinished=4)
    for name in TABLES:
        frame = results.frame(name)
        assert list(frame.columns) == TABLES[name].names()
        assert len(frame) == results.rows(name) == len(made.get(name, []))
    np.testing.assert_array_equal(results.frame("flows")["fct_us"], made["flows"]["fct_us"])
    assert results.frame("flows", ["path"])["path"].tolist() == made["flows"]["path"].tolist()
    assert results.status == "stopped"
    assert results.number("flows", "fct_us", "p99") == pytest.approx(made["flows"]["fct_us"].quantile(0.99))
    assert results.number("gpus", "busy_us", "mean") is None
    with pytest.raises(KeyError, match="did you mean 'flows'"):
        results.frame("flow")


def test_variants_keep_the_order_of_the_scenario(variants: Path) -> None:
    results = load(variants)
    assert list(results.variants) == list(synthetic.PATHS)
    assert results.status == "completed"
    assert results.variants["spray"].manifest["variant"] == "spray"
    assert [run.folder.name for run in find_runs(variants.parent)] == list(synthetic.PATHS)


def _set(key: str, value: object) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), key: value})


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("manifest.json", None, "manifest.json: is missing"),
        ("manifest.json", lambda text: text[:50], "can't be read"),
        ("manifest.json", lambda text: "[1]", "not a JSON object"),
        ("manifest.json", _set("program", "other"), "not a Spillway manifest"),
        ("manifest.json", _set("schema", 2), "has schema 2; this version reads 1"),
        ("manifest.json", _set("variants", [{"name": "../up", "status": "completed"}]), "is damaged"),
        ("manifest.json", _set("variants", [{"name": "gone", "status": "completed"}]), "gone.*is not a directory"),
        ("summary.json", None, "summary.json: is missing"),
        ("summary.json", _set("schema", None), "has schema None"),
        ("summary.json", _set("status", "fine"), "is damaged"),
        ("summary.json", _set("flows", 3), "is damaged"),
        ("summary.json", _set("flows", {"count": 3}), "has 400 rows, the summary 3"),
        ("flows.parquet", None, "is missing"),
        ("flows.parquet", lambda text: "PAR1", "can't be read as table 'flows'"),
    ],
)
def test_damaged_results_are_named(
    tmp_path: Path, file: str, change: Callable[[str], str] | None, message: str
) -> None:
    out = synthetic.write_single(tmp_path / "out", count=400)
    path = out / file
    if change is None:
        path.unlink()
    else:
        path.write_text(change("" if file.endswith("parquet") else path.read_text()))

    def read() -> None:
        load(out).frame("flows")
        list(load(out).variants)

    with pytest.raises(InputError, match=message):
        read()


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a directory with results"):
        load(tmp_path / "none")


def test_percentile_rules() -> None:
    values = np.append(np.arange(99.0), np.nan)
    assert percentile(values, 0.5) == 49
    assert percentile(values, 0.95) == pytest.approx(93.1)
    assert percentile(values, 0.99) is None
    assert percentile(np.array([np.nan]), 0.5) is None


def test_batch_means_covers_the_mean_of_a_correlated_series_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits, widths = 0, []
    for _ in range(200):
        series = np.empty(6000)
        noise = rng.normal(size=6000)
        level = noise[0]
        for i in range(6000):  # AR(1), coefficient 0.8: far from independent
            level = 0.8 * level + noise[i]
            series[i] = 10 + level
        interval = batch_means(series, batches=20, confidence=0.9, warm_up=0.1)
        hits += 10 in interval
        widths.append(interval.half_width)
    assert 165 <= hits <= 195  # 180 expected, standard deviation 4.2
    assert (
        np.mean(widths) > 4 * 1.645 * series.std() / np.sqrt(6000) / 2
    )  # an independent-sample interval is 3 times less


def test_batch_means_by_hand() -> None:
    interval = batch_means(np.array([99.0, 1, 3, 5, 7]), batches=2, confidence=0.95, warm_up=0.1)
    # batches (1, 3) and (5, 7): means 2 and 6; t(1, 0.975) = 12.706, standard error 2
    assert interval.value == 4
    assert interval.half_width == pytest.approx(12.7062 * 2, rel=1e-4)
    assert interval.relative == pytest.approx(6.3531, rel=1e-4)
    with pytest.raises(ValueError, match="too few for 30"):
        batch_means(np.arange(20))


def test_bootstrap_interval_of_a_median() -> None:
    values = np.random.default_rng(0).exponential(size=2000)
    interval = bootstrap(values, np.median, np.random.default_rng(1))
    assert interval.low < np.log(2) < interval.high
    assert 0.02 < interval.half_width < 0.08
    assert interval == bootstrap(values, np.median, np.random.default_rng(1))


def cells(text: str, row: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(row)).split()


def test_table_of_variants(variants: Path) -> None:
    text = summary_table(variants)
    above, below = text.split("\n\n")
    assert [line.split()[0] for line in above.splitlines()[2:]] == list(synthetic.PATHS)
    ecmp = load(variants).variants["ecmp"]
    mean = ecmp.number("flows", "fct_us", "mean")
    assert mean is not None
    row = cells(above, "ecmp")
    assert row[:3] == ["ecmp", "completed", "400"]
    assert "1.450x" in row
    assert f"{mean:#.4g}" in row
    assert cells(above, "ethereal")[4] == "1.000x"
    assert "not" not in above.splitlines()[0].split()  # every flow finished: the column is left out
    assert cells(below, "spray")[1:7] == ["all_to_all", "direct", "128", "16000000", "1", "330.5"]
    lengths = {len(line) for line in above.splitlines()[2:]}
    assert len(lengths) == 1


def test_table_of_one_run(single: Path) -> None:
    text = summary_table(single)
    row = cells(text, "leaf_spine")
    assert row[1:4] == ["stopped", "396", "4"]
    assert "best" not in text
    dropped = load(single).frame("links")["dropped"].sum()
    assert ("dropped" in text) == bool(dropped)


def test_table_without_collectives_and_with_too_few_flows(tmp_path: Path) -> None:
    out = synthetic.write_single(tmp_path / "few", load=0.5, count=30)
    text = summary_table(out)
    assert "collective" not in text
    assert "p50" in text
    assert "p99" not in text  # 30 flows have none
    with ResultFolder(tmp_path / "none") as folder:
        write_run(folder, effective="", manifest=synthetic.manifest(), tables={}, status="stalled", reasons=["a"])
    assert summary_table(tmp_path / "none").split() == ["run", "status", "leaf_spine", "stalled"]


def test_cells() -> None:
    assert [write(v) for v in (None, 0.012346, 1.5, 999.96, 1234.5, 7)] == [
        "-",
        "0.01235",
        "1.500",
        "1000",
        "1234",
        "7",
    ]
    assert write(0.01234, "share") == "1.23%"
    assert write(0.5, "share") == "50.0%"
