"""Layers with experts and GPUs: the printed table, and the pictures of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.load import load
from analysis.plots import moe, plot_results
from analysis.tables import summary_table
from sim.record import ResultFolder, frame, write_run, write_variants
from tests.unit import synthetic
from tests.unit.test_plots import overlaps, texts

KINDS: dict[str, dict[str, Any]] = {
    "eight": {},
    "many": {"names": ["static", "least_loaded"], "gpus": 64, "layers": 30, "steps": 4},
    "map": {"gpus": 200, "layers": 2},
    "single": {"names": ["static"]},
    "single_map": {"names": ["static"], "gpus": 1024},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("moe")
    for kind, how in KINDS.items():
        synthetic.write_moe(root / kind, **how)
    return root


def row_of(text: str, name: str) -> list[str]:
    below = text[text.index("A layer with experts") :].replace(" x ", "x")
    return next(line for line in below.splitlines() if line.startswith(name + " ")).split()


def write_each(out: Path, runs: dict[str, dict[str, Any]], seeds: dict[str, int] | None = None) -> str:
    """Variants from their tables; the printed text."""
    with ResultFolder(out) as folder:
        for name, tables in runs.items():
            (folder / name).mkdir()
            facts = synthetic.manifest(variant=name) | {"seed": (seeds or {}).get(name, 1)}
            write_run(folder / name, effective="", manifest=facts, tables=tables, status="completed")
        write_variants(folder, dict.fromkeys(runs, "completed"), effective="", manifest=synthetic.manifest())
    return summary_table(out)


def layers(**columns: Any) -> pd.DataFrame:
    given = dict.fromkeys(("dispatch_us", "expert_us", "combine_us", "weights_us", "planner_us"), 0.0)
    given |= dict.fromkeys(("weight_transfers", "bytes_moved", "peak_memory_bytes"), 0)
    rows = len(columns["time_us"])
    return frame("moe_steps", given | {"step": 0, "layer": np.arange(rows), "max_over_mean": 1.0} | columns)


def test_table_has_means_of_a_layer_and_the_speed_up(made: Path) -> None:
    text = summary_table(made / "many")
    tables = {name: synthetic.moe_tables(name, gpus=64, layers=30, steps=4) for name in ("static", "least_loaded")}
    found = {name: table["moe_steps"] for name, table in tables.items()}
    mean = {name: table["time_us"].mean() for name, table in found.items()}
    row = row_of(text, "least_loaded")
    moving = found["least_loaded"]
    assert row == [
        "least_loaded",
        "4x30",
        f"{mean['least_loaded']:.0f}",
        f"{moving['time_us'].quantile(0.99):.0f}",
        f"{moving['dispatch_us'].mean():#.4g}",
        f"{moving['expert_us'].mean():.0f}",
        f"{moving['combine_us'].mean():#.4g}",
        "1233",
        "7.0",
        "600.0",
        f"{moving['max_over_mean'].mean():.2f}",
        "10.57",
        f"{tables['least_loaded']['gpus']['peak_memory_bytes'].max() / 1e9:#.4g}",
        "-",
        f"{mean['static'] / mean['least_loaded']:.3f}x",
    ]
    static = row_of(text, "static")
    assert static[-2:] == ["1", "1.000x"]  # a GPU out of memory
    assert static[7:10] == ["-", "-", "-"]  # neither weights nor a planner
    assert "speed-up over static" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_single_run_has_no_speed_up_and_few_layers_no_p99(made: Path) -> None:
    text = summary_table(made / "single")
    assert "speed-up" not in text
    assert "p99" not in text
    assert "weights" not in text  # empty columns are left out
    assert row_of(text, "leaf_spine")[1] == "1x3"
    assert "p99" in summary_table(made / "many")


def test_a_wide_table_gives_up_its_p99(tmp_path: Path) -> None:
    tables = synthetic.moe_tables("least_loaded", layers=120)
    broken = synthetic.moe_tables("static", layers=120)
    text = write_each(tmp_path / "out", {"a_name_of_16_cha": broken, "b": tables})
    assert "p99" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_speed_up_only_over_the_same_work(tmp_path: Path) -> None:
    first = synthetic.moe_tables("static")
    same = synthetic.moe_tables("eplb")
    more = dict(same, gpus=same["gpus"].assign(tokens=same["gpus"]["tokens"] * 2))
    dropping = dict(same, gpus=same["gpus"].assign(tokens=same["gpus"]["tokens"] - 10))
    lost = {"name": ["token copies dropped", "token copies added"], "reason": "capacity", "count": [50, 20]}
    dropping["counters"] = frame("counters", lost)
    runs = {
        "first": first,
        "same": same,
        "other_seed": same,
        "more_tokens": more,
        "more_layers": synthetic.moe_tables("eplb", layers=4),
        "half_done": synthetic.moe_tables("eplb", unfinished=1),
        "dropping": dropping,
    }
    text = write_each(tmp_path / "out", runs, {"other_seed": 2})
    last = {name: row_of(text, name)[-1] for name in runs}
    assert last["first"] == "1.000x"
    assert last["same"] not in ("-", "1.000x")
    assert [last[name] for name in ("other_seed", "more_tokens", "more_layers", "half_done")] == ["-"] * 4
    assert last["dropping"] == "-"  # 80 fewer on 8 GPUs, but 30 were lost
    lost["count"] = [100, 20]
    dropping["counters"] = frame("counters", lost)
    text = write_each(tmp_path / "again", {"first": first, "dropping": dropping})
    assert row_of(text, "dropping")[-1] == last["same"]


def test_unfinished_layers_are_counted_and_in_no_mean(tmp_path: Path) -> None:
    table = layers(time_us=np.array([10.0, 30.0, np.nan]), expert_us=np.array([4.0, 8.0, 0.0]))
    text = write_each(tmp_path / "out", {"a": {"moe_steps": table}, "b": {"flows": synthetic.tables(count=9)["flows"]}})
    assert row_of(text, "a") == ["a", "1x3", "1", "20.00", "6.000", "1.00"]
    assert "\nb" not in text[text.index("A layer") :]  # a run without experts has no row
    none = write_each(tmp_path / "none", {"a": {"moe_steps": layers(time_us=np.array([np.nan]))}, "b": {}})
    assert row_of(none, "a") == ["a", "1x1", "1"]
    assert moe.steps(load(tmp_path / "none").runs()) is None


def test_stages_add_up_to_the_time_of_the_layer() -> None:
    one = {"time_us": [100.0], "dispatch_us": [10.0], "expert_us": [40.0], "combine_us": [20.0], "planner_us": [5.0]}
    plain = layers(**{key: np.array(value) for key, value in one.items()}, weights_us=np.array([25.0]))
    by_name = dict(zip(moe.STAGES, moe.stages(plain).tolist(), strict=True))
    assert by_name == {
        "planner": 5, "dispatch": 10, "wait for weights": 15, "experts": 40, "combine": 20, "rest": 10,
    }  # fmt: skip
    # the slowest GPU had its tokens before the last GPU: dispatch is what its experts waited for
    hidden = plain.assign(dispatch_us=60.0, weights_us=0.0)
    assert dict(zip(moe.STAGES, moe.stages(hidden).tolist(), strict=True))["dispatch"] == 35
    rng = np.random.default_rng(1)
    wild = {key: rng.uniform(0, 60, 200) for key in (*one, "weights_us")}
    found = moe.stages(layers(**wild))
    assert found.min() >= 0
    assert found.sum() == pytest.approx(wild["time_us"].mean())


def test_pictures_are_written(made: Path) -> None:
    assert [path.name for path in plot_results(made / "single")] == ["moe_steps.png", "gpu_load.png"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_text_lies_on_another(made: Path, kind: str) -> None:
    for draw in (moe.steps, moe.load):
        figure = draw(load(made / kind).runs())
        assert figure is not None
        assert overlaps(figure) == []


def test_bars_are_as_long_as_a_layer_takes(made: Path) -> None:
    figure = moe.steps(load(made / "eight").runs())
    assert figure is not None
    for row, name in enumerate(synthetic.EXPERTS):
        time = synthetic.moe_tables(name)["moe_steps"]["time_us"].mean()
        bars = [bar for bar in figure.axes[0].patches if round(bar.get_y() + bar.get_height() / 2) == row]
        assert sum(bar.get_width() for bar in bars) == pytest.approx(time)
        assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(time)


def test_gpu_bars_show_load_mean_and_memory(made: Path) -> None:
    figure = moe.load(load(made / "eight").runs())
    assert figure is not None
    gpus = synthetic.moe_tables("static")["gpus"]
    tokens, memory = figure.axes[0], figure.axes[8]  # three rows of four variants
    assert [bar.get_height() for bar in tokens.patches] == gpus["tokens"].tolist()
    assert tokens.lines[0].get_ydata()[0] == gpus["tokens"].mean()
    assert [bar.get_height() for bar in memory.patches] == gpus["peak_memory_bytes"].tolist()
    marked = memory.collections[0].get_offsets()
    assert marked[:, 0].tolist() == np.flatnonzero(gpus["out_of_memory"]).tolist() == [0]
    shown = texts(figure)
    assert f"static: max/mean {gpus['tokens'].max() / gpus['tokens'].mean():.2f}" in shown
    assert any(text.endswith(", 1 out of memory") for text in shown)
    assert any("out of memory (x)" in text for text in shown)
    assert {"token copies", "busy time", "peak memory"} <= set(shown)


def test_more_than_64_gpus_are_a_map(made: Path) -> None:
    assert not any(ax.images for ax in moe.load(load(made / "many").runs()).axes)  # type: ignore[union-attr]
    figure = moe.load(load(made / "map").runs())
    assert figure is not None
    drawn = figure.axes[0].images[0]
    values = np.ma.filled(drawn.get_array(), np.nan)
    assert values.shape == (13, 16)  # 200 GPUs, 8 places left over
    tokens = synthetic.moe_tables("static", **KINDS["map"])["gpus"]["tokens"]
    np.testing.assert_array_equal(values.ravel()[:200], tokens)
    assert np.isnan(values.ravel()[200:]).all()
    assert len({ax.images[0].get_clim() for ax in figure.axes[:4]}) == 1  # one scale for all variants


def test_runs_that_compute_nothing_have_no_picture(tmp_path: Path) -> None:
    idle = frame("gpus", {"gpu": [0, 1], "busy_us": 0.0, "wait_us": 5.0, "tokens": 0, "peak_memory_bytes": 0,
                          "out_of_memory": 0})  # fmt: skip
    text = write_each(tmp_path / "out", {"a": {"gpus": idle}, "b": {"gpus": idle}})
    assert "experts" not in text
    assert plot_results(tmp_path / "out") == []


def test_long_names_and_many_variants_still_fit(made: Path) -> None:
    for kind in ("eight", "map"):
        run = load(made / kind).variants["static"]
        runs = {f"a_rather_long_name_of_a_variant_{i}": run for i in range(9)}
        for draw in (moe.steps, moe.load):
            figure = draw(runs)
            assert figure is not None
            assert overlaps(figure) == [], (kind, draw)
        assert any("first 6 of 9" in text for text in texts(figure))


def test_variants_with_unlike_gpus(tmp_path: Path) -> None:
    runs = {f"gpus{n}": synthetic.moe_tables("static", gpus=n) for n in (8, 256)}
    text = write_each(tmp_path / "out", runs)
    assert "speed-up" not in text
    figure = moe.load(load(tmp_path / "out").runs())
    assert figure is not None
    assert overlaps(figure) == []
    assert [ax.images[0].get_array().shape for ax in figure.axes[:2]] == [(2, 4), (16, 16)]
