"""Every plot is drawn from what it needs, left out where that is missing, and shows no more than the samples allow."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.load import find_runs, load
from analysis.plots import collectives, flows, links, loads, plot_results, series
from analysis.plots.style import Figure, line_style, save, si
from models.errors import InputError
from sim.record import ResultFolder, write_run, write_variants
from tests.unit import synthetic

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    synthetic.write_single(root / "single", count=400)
    synthetic.write_single(root / "mixed", "ecmp", load=0.6, count=1500, unfinished=30)
    synthetic.write_four_variants(root / "variants")
    synthetic.write_four_variants(root / "variants_mixed", 2000, load=0.6)
    synthetic.write_loads(root / "loads", 200)
    return root


def texts(figure: Figure) -> list[str]:
    """Everything that is written in the figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def overlaps(figure: Figure) -> list[str]:
    """Pairs of drawn texts whose boxes meet, and texts that leave the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure).draw()
    hidden = set()  # matplotlib keeps labels of ticks beyond the limits, and does not draw them
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = axis._update_ticks()
            ticks = [*axis.majorTicks, *axis.minorTicks]
            hidden |= {label for tick in ticks if tick not in drawn for label in (tick.label1, tick.label2)}
            if not axes.get_visible():
                hidden |= {label for tick in ticks for label in (tick.label1, tick.label2)}
    found, boxes = [], []
    for text in figure.findobj(Text):
        if text in hidden or not text.get_visible() or not text.get_text().strip():
            continue
        box = text.get_window_extent()
        if box.x0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y0 < -1 or box.y1 > figure.bbox.y1 + 1:
            found.append(f"outside: {text.get_text()}")
        boxes.append((text.get_text(), box.padded(-0.5)))
    return found + [f"{a} | {b}" for i, (a, x) in enumerate(boxes) for b, y in boxes[:i] if x.overlaps(y)]


DRAWN = {
    "single": {"fct_cdf", "slowdown_by_size", "link_load", "series"},
    "mixed": {"fct_cdf", "slowdown_by_size", "link_load", "series"},
    "variants": {"fct_cdf", "slowdown_by_size", "link_load", "series", "collectives"},
    "variants_mixed": {"fct_cdf", "slowdown_by_size", "link_load", "series"},
    "loads": {"load_curves"},
}


@pytest.mark.parametrize("kind", list(DRAWN))
def test_plots_of_each_kind_of_folder(made: Path, kind: str) -> None:
    written = plot_results(made / kind)
    assert {path.stem for path in written} == DRAWN[kind]
    for path in written:
        assert path.parent == made / kind / "plots"
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size > 5000


@pytest.mark.parametrize("kind", ["single", "mixed", "variants", "variants_mixed"])
@pytest.mark.parametrize(
    "draw", [flows.completion, flows.slowdown, links.heat, series.over_time, collectives.bandwidth]
)
def test_no_text_lies_on_another(made: Path, kind: str, draw) -> None:  # type: ignore[no-untyped-def]
    figure = draw(load(made / kind).runs())
    assert figure is None or overlaps(figure) == []


def test_curves_against_load_show_policies_and_saturation(made: Path) -> None:
    figure = loads.curves(find_runs(made / "loads"))
    assert figure is not None
    assert overlaps(figure) == []
    shown = texts(figure)
    assert {"ethereal", "ecmp", "spray", "saturated: no steady state", "p99", "p50", "marked", "dropped"} <= set(shown)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in hollow] == [[0.8, 0.9], [0.8, 0.9]]  # p99 and p50 of ecmp alone


def test_curves_need_two_loads(made: Path) -> None:
    assert loads.curves(find_runs(made / "mixed")) is None
    assert loads.curves(find_runs(made / "variants_mixed")) is None


def test_seeds_of_one_load_are_averaged(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        for load_ in (0.2, 0.4):
            synthetic.write_single(tmp_path / f"{seed}-{load_}", load=load_, count=200, seed=seed)
    runs = find_runs(tmp_path)
    figure = loads.curves(runs)
    assert figure is not None
    drawn = figure.axes[0].lines[0].get_ydata()
    per_load = [[r.number("flows", "slowdown", "p99") for r in runs if r.manifest["loads"] == [x]] for x in (0.2, 0.4)]
    np.testing.assert_allclose(drawn, np.mean(np.array(per_load, dtype=float), axis=1))


def test_policy_names_say_only_what_differs(made: Path) -> None:
    runs = find_runs(made / "loads")
    assert set(loads.policy_names(runs)) == {"ethereal", "ecmp", "spray"}
    assert set(loads.policy_names(runs[:1])) == {runs[0].manifest["policies"]["path"]["kind"]}
    for stages, run in zip(("own", "same"), runs, strict=False):
        run.manifest["policies"] = {"path": {"kind": "ecmp", "seeds": stages}}
    assert loads.policy_names(runs[:2]) == ["seeds=own", "seeds=same"]


def test_completion_counts_unfinished_flows(made: Path) -> None:
    figure = flows.completion(load(made / "mixed").runs())
    assert figure is not None
    top = figure.axes[0].lines[0].get_ydata()[-1]
    assert top == pytest.approx(1470 / 1500)
    assert any("30 unfinished" in text for text in texts(figure))


def test_size_bins_have_equal_counts() -> None:
    sizes = np.exp(np.random.default_rng(1).normal(10, 3, 5000)).astype(int)
    edges = flows.size_bins(sizes)
    counts, values = flows.by_bin(sizes, np.ones(5000), edges)
    assert sum(counts) == 5000
    assert min(counts) >= 495
    assert (values == 1).all()
    assert flows.size_bins(np.array([3, 3, 1])).tolist() == [1, 3]


@pytest.mark.parametrize(("size", "shown"), [(15, [True, False, False]), (50, [True, True, False]), (100, [True] * 3)])
def test_slowdown_shows_no_percentile_of_too_few_flows(size: int, shown: list[bool]) -> None:
    _, values = flows.by_bin(np.ones(size), np.arange(size, dtype=float), np.array([1.0]))
    assert np.isfinite(values[0]).tolist() == shown


def test_slowdown_prints_the_counts(made: Path) -> None:
    figure = flows.slowdown(load(made / "mixed").runs())
    assert figure is not None
    labels = [text for text in texts(figure) if "n=" in text]
    assert sum(int(label.split("n=")[1].replace(",", "")) for label in labels) == 1470


def panel(pairs: list[tuple[str, str]], use: list[float] | None = None) -> links.Panel:
    table = pd.DataFrame(pairs, columns=["src", "dst"])
    return links.arrange(table.assign(load=use or np.arange(len(pairs)) / 1e3, **{"from": "leaf", "to": "spine"}))


def test_heat_map_of_leaf_and_spine_has_numbers_in_order() -> None:
    found = panel([(f"leaf{i}", f"spine{j}") for j in range(12) for i in range(3)])
    assert found.row_names == ["leaf0", "leaf1", "leaf2"]
    assert found.column_names == [f"spine{j}" for j in range(12)]
    np.testing.assert_allclose(found.values * 1e3, np.arange(36).reshape(12, 3).T)


def test_heat_map_bins_many_nodes_by_the_largest() -> None:
    found = panel([(f"leaf{i}", f"spine{j}") for i in range(100) for j in range(4)])
    assert found.values.shape == (34, 4)
    assert found.rows == "from leaf (largest of 3)"
    assert found.values.max() == found.most == pytest.approx(0.399)
    assert found.mean == pytest.approx(0.1995)  # of the links, not of the bins


def test_heat_map_of_few_links_shows_the_links_of_each_node() -> None:
    found = panel([(f"leaf{p * 4 + i}", f"spine{p * 4 + j}") for p in range(8) for i in range(4) for j in range(4)])
    assert found.values.shape == (32, 4)
    assert found.columns == "n-th link to spine"
    assert not np.isnan(found.values).any()


def test_heat_map_folds_a_star_and_keeps_the_busier_of_parallel_links() -> None:
    for pairs in ([(f"leaf{i}", "spine0") for i in range(100)], [("leaf0", f"spine{i}") for i in range(100)]):
        found = panel(pairs)
        assert found.values.shape == (10, 10)
        np.testing.assert_allclose(found.values.ravel() * 1e3, np.arange(100))
    assert panel([("leaf0", "spine0"), ("leaf0", "spine0")], [0.2, 0.7]).values.tolist() == [[0.7]]


def test_series_are_thinned_but_keep_their_peak() -> None:
    size = 5000
    part = pd.DataFrame({"time_us": np.arange(size), "queue_max_bytes": 1, "utilisation_mean": 0.25})
    part.loc[3333, "queue_max_bytes"] = 999
    time_, queue, use = series.thin(part)
    assert len(time_) <= 300
    assert queue.max() == 999
    np.testing.assert_allclose(use, 0.25)


def test_one_collective_alone_is_no_comparison_and_many_sizes_are_lines(made: Path, tmp_path: Path) -> None:
    assert collectives.bandwidth(load(made / "single").runs()) is None
    tables = {"collectives": synthetic.collective_table(1.0, [2**i for i in range(10, 40)], repeat=2)}
    with ResultFolder(tmp_path / "out") as folder:
        write_run(folder, effective="", manifest=synthetic.manifest(), tables=tables, status="completed")
    figure = collectives.bandwidth(load(tmp_path / "out").runs())
    assert figure is not None
    assert len(figure.axes[0].lines[0].get_xdata()) == 30
    assert overlaps(figure) == []


def test_run_without_rows_draws_nothing(tmp_path: Path) -> None:
    with ResultFolder(tmp_path / "out") as folder:
        write_run(folder, effective="", manifest=synthetic.manifest(), tables={}, status="stalled")
    assert plot_results(tmp_path / "out") == []
    assert not (tmp_path / "out" / "plots").exists()


def test_each_variant_draws_its_own_too(tmp_path: Path) -> None:
    flow = {"flows": synthetic.tables(count=150)["flows"]}
    with ResultFolder(tmp_path / "out") as folder:
        for name in ("a", "b"):
            (folder / name).mkdir()
            write_run(folder / name, effective="", manifest=synthetic.manifest(), tables=flow, status="completed")
        write_variants(folder, {"a": "completed", "b": "completed"}, effective="", manifest=synthetic.manifest())
    written = plot_results(tmp_path / "out", each_variant=True)
    assert sorted({path.parent.parent.name for path in written}) == ["a", "b", "out"]


def test_folder_without_results_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results here"):
        plot_results(tmp_path)


def test_long_names_and_many_variants_still_fit(tmp_path: Path) -> None:
    source = synthetic.write_single(tmp_path / "one", count=200, load=0.4)
    runs = {f"a_rather_long_name_of_a_variant_{i}": load(source) for i in range(9)}
    for draw in (flows.completion, flows.slowdown, series.over_time, links.heat):
        figure = draw(runs)
        assert figure is not None
        assert overlaps(figure) == [], draw
        save(figure, tmp_path / "a.png")
    assert len({str(line_style(i)) for i in range(32)}) == 32


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (1500, "B", "1.5 kB"),
        (999_999, "B", "1 MB"),
        (2.5e-5, "s", "25 µs"),
        (1.234e-3, "s", "1.23 ms"),
    ],
)
def test_si(value: float, unit: str, text: str) -> None:
    assert si(value, unit) == text


def test_analysis_knows_neither_sim_nor_the_clock_and_loads_matplotlib_late() -> None:
    program = (
        "import sys, analysis.load, analysis.stats, analysis.tables, analysis.plots; early = set(sys.modules);"
        "from analysis.plots import flows, links, loads, series, collectives;"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('sim', 'simpy', 'numba') or m == 'matplotlib.pyplot'];"
        "assert not bad, bad; assert 'matplotlib' not in early"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_main_scenario_is_plotted_quickly(made: Path) -> None:
    plot_results(made / "single")  # fonts are found once
    start = time.process_time()
    plot_results(made / "variants")
    assert time.process_time() - start < 4  # 1.3 s on a quiet core
