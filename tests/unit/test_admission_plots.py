"""Tables, pictures and answers of runs with demands, and of plans: from made-up results of known content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import run_sim
from analysis.compare.metrics import parse
from analysis.load import load
from analysis.plots import anytime, network_map, plot_results
from analysis.plots.admission import against_load, blocking_panels
from analysis.plots.labels import place_labels
from analysis.tables import summary_grids
from analysis.why import explain, text_of
from models.demand_figures import class_figures
from models.errors import InputError
from tests.unit.admission_results import PLACES, write_policies, write_single


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policies(tmp_path_factory.mktemp("policies") / "sdn")


def test_the_summary_has_a_row_a_policy_with_the_admitted_share_of_each_class(policies: Path) -> None:
    runs = load(policies).runs()
    grid = summary_grids(runs)["demands"]
    assert [row[0] for row in grid.rows] == ["greedy", "ilp", "ga"]
    titles = [unit for _, unit in grid.titles]
    assert titles[2:5] == ["class 3", "class 2", "class 1"]
    demands = runs["ilp"].frame("demands")
    answered = demands[(demands["priority"] == 3) & (demands["status"] != "waiting")]
    assert grid.rows[1][2] == f"{answered['admitted'].mean():.1%}"
    assert grid.rows[1][5] == f"{demands['earned'].sum() / demands['priority'].sum():.1%}"


def test_every_picture_is_drawn(policies: Path) -> None:
    written = {path.name for path in plot_results(policies)}
    assert {"demands.png", "reservations.png"} <= written


def test_blocking_against_load_has_a_panel_a_class_and_a_line_a_policy(tmp_path: Path) -> None:
    for policy in ("greedy", "ilp"):
        for load_of_run in (0.5, 1.0):
            write_single(tmp_path / f"{policy}-{load_of_run}", policy, load=load_of_run)
    runs = [load(folder) for folder in sorted(tmp_path.iterdir())]
    figure = against_load(runs)
    assert figure is not None
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == [f"Blocked, priority {p}" for p in (3, 2, 1)]
    lines = [line for line in shown[0].get_lines() if len(line.get_xdata()) == 2]
    expected = [class_figures(run.frame("demand_classes"))["demand_classes.blocking.class_3"] for run in runs[:2]]
    assert np.allclose(lines[0].get_ydata(), expected)
    assert against_load(runs[:1]) is None


def test_figures_of_classes_come_by_falling_priority_without_nulls() -> None:
    table = pd.DataFrame(
        {"priority": [1, 10, 2], "blocking": [0.5, 0.1, np.nan], "not_served": [0.6, 0.2, np.nan], "wait_mean_ms": 1.0}
    )
    figures = class_figures(table)
    assert next(iter(figures)) == "demand_classes.blocking.class_10"
    assert "demand_classes.blocking.class_2" not in figures
    assert [panel.title for panel in blocking_panels(list(figures))] == ["Blocked, priority 10", "Blocked, priority 1"]


def test_figures_of_demands_can_be_compared(policies: Path) -> None:
    names = ["demands.admitted.mean", "demand_classes.blocking.mean", "decisions.gap.mean", "demands.earned.mean"]
    run = load(policies).runs()["ga"]
    metrics = parse(names)
    assert all(run.number(m.table, m.column, m.statistic) is not None for m in metrics)
    assert [metric.larger_is_better for metric in metrics] == [True, False, False, True]


def network(share: list[float], places: dict[str, tuple[float, float]] | None = None) -> network_map.Loaded:
    ends = [("Oslo", "Rome"), ("Rome", "Oslo"), ("Rome", "Bern"), ("Bern", "Rome"), ("Rome", "Bern")]
    return network_map.Loaded(ends, share, places=places or {})


def test_a_map_has_a_line_a_direction_and_every_name_once() -> None:
    figure = network_map.draw({"ilp": network([0.0, 0.2, 0.5, 1.0, 0.9], PLACES)}, "Reserved")
    ax = figure.axes[0]
    (lines,) = ax.collections[:1]
    segments = np.array(lines.get_segments())
    assert len(segments) == 5
    # the two directions, and parallel cables, lie beside each other
    assert len({tuple(np.round(segment.ravel(), 6)) for segment in segments}) == 5
    assert sorted(text.get_text() for text in ax.texts) == ["Bern", "Oslo", "Rome"]
    dots = ax.collections[1].get_offsets()
    assert dots[0][1] > dots[1][1]  # Oslo is north of Rome


def test_nodes_in_one_place_are_moved_apart() -> None:
    figure = network_map.draw({"": network([0.1] * 5, dict.fromkeys(PLACES, (8.0, 50.0)))}, "Reserved")
    dots = np.asarray(figure.axes[0].collections[1].get_offsets())
    gaps = np.hypot(*(dots[:, None] - dots[None]).T)[np.triu_indices(3, 1)]
    assert gaps.min() > 0.04


def test_names_do_not_cover_each_other() -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    at = np.array([[0.5, 0.5], [0.52, 0.5], [0.5, 0.53]])
    place_labels(ax, at, dict(enumerate(("Amsterdam", "Rotterdam", "Utrecht"))), np.zeros((0, 2, 2)), 8, (5, 5))
    spots = np.array([text.get_position() for text in ax.texts]) * 5 * 72
    wide = np.array([0.56 * 8 * len(text.get_text()) for text in ax.texts])
    for one in range(3):
        for other in range(one):
            apart = np.abs(spots[one] - spots[other])
            assert apart[0] >= (wide[one] + wide[other]) / 2 - 1e-6 or apart[1] >= 9.6 - 1e-6


def test_anytime_curves_end_where_the_plan_ends_and_never_get_worse() -> None:
    steps = [
        {"seconds": 0.1, "objective": 5, "bound": 12.0},
        {"seconds": 0.3, "objective": 9, "bound": 12.0},
        {"seconds": 0.4, "objective": 9, "bound": 10.0},
    ]
    plan = {"steps": steps, "seconds": 0.5, "objective": 10, "bound": 10.0}
    time, objective, bound = anytime.points(plan)
    assert time.tolist() == [0.1, 0.3, 0.4, 0.5]
    assert objective.tolist() == [5, 9, 9, 10]
    assert bound.tolist() == [12, 12, 10, 10]
    figure = anytime.curves({"ilp": plan, "greedy": {"steps": [], "seconds": 0.001, "objective": 8, "bound": 20.0}})
    gap = figure.axes[1].get_lines()
    assert gap[0].get_ydata()[-1] == 0
    assert np.isclose(gap[2].get_ydata()[-1], 0.2)  # to the best bound, not to its own


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_single(tmp_path_factory.mktemp("one") / "sdn")


def test_why_a_demand_was_refused(one: Path) -> None:
    demands = load(one).frame("demands")
    refused = demands[demands["status"] == "rejected"].iloc[5]
    known = explain(one, f"demand:{refused['id']}")
    assert known["decision"]["commit_s"] == refused["decided_s"]
    widest = known["widest"]
    assert widest["path"].split(">")[0] == refused["src"]
    assert widest["path"].split(">")[-1] == refused["dst"]
    # what was reserved on its tightest link, added up by hand
    a, b = widest["bottleneck"]["link"].split("->")
    kept = demands[(demands["decided_s"] <= refused["decided_s"]) & (demands["end_s"] > refused["decided_s"])]
    on = kept[[f">{a}>{b}>" in f">{path}>" for path in kept["path"]]]
    assert widest["demands"] == len(on)
    assert np.isclose(widest["free_mbps"], 10_000 - on["bandwidth_mbps"].sum())
    text = text_of(known, one)
    assert "rejected" in text
    assert refused["reason"] in text
    assert max(map(len, text.splitlines())) <= 100


def test_why_a_demand_had_to_go(one: Path) -> None:
    text = text_of(explain(one, "demand:7"), one)
    assert "preempted at 1.8 s" in text
    assert "made room for demand 9" in text
    assert "Oslo->Paris" in text
    assert "no answer yet" in text_of(explain(one, "demand:299"), one)


def test_why_lists_demands_to_ask_for(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sim.main(["why", str(one)]) == 0
    assert "demand:" in capsys.readouterr().out
    assert run_sim.main(["why", str(one), "demand:20", "--json"]) == 0


@pytest.mark.parametrize(
    ("ident", "said"), [("demand:x", "there is no demand 'x'"), ("demand", "is no ID"), ("flow:0", "has no flows")]
)
def test_a_demand_that_is_not_there(one: Path, ident: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        explain(one, ident)
