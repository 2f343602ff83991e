"""Tables and figures of ``pfar.py``, from its kept results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.stats import Interval, bootstrap, mean_interval
from benchmarks.report import table, verdict

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
MARKS = (1.0, 10.0, 60.0)  # s
Rows = Sequence[dict[str, Any]]


def report(part: str, rows: Rows, figures: Path = FIGURES) -> None:
    """Prints the tables and draws the figure of one part."""
    if not rows:
        print(f"No results of the part {part} yet.")
        return
    (_optimal if part == "optimal" else _genetic)(rows)
    from analysis.plots.style import save

    save((draw_optimal if part == "optimal" else draw_genetic)(rows), figures / f"pfar_{part}.png")


def seconds(row: dict[str, Any]) -> float:
    """CPU seconds until the proof; inf: there was none."""
    return float(row["cpu_s"]) if row["status"] == "optimal" else float("inf")


def _optimal(rows: Rows) -> None:
    print("## Solved to proven optimality\n")
    print("Share of the instances that HiGHS proves within so many CPU seconds, the median of these seconds (of all")
    print("instances, unsolved ones last), and the gap of those that 60 s did not suffice for. Uncongested: the linear")
    print("relaxation admits every demand that fits at all.\n")
    groups: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [("all", lambda row: True)]
    groups += [("uncongested", lambda row: row["uncongested"] is True)]
    groups += [(f"load {load:g}", lambda row, load=load: row["load"] == load) for load in _loads(rows)]
    for low, high in ((100, 500), (500, 1500), (1500, 5001)):
        name = f"{low} to {min(high, 5000)} flows"
        groups.append((name, lambda row, low=low, high=high: low <= row["flows"] < high))
    lines = []
    for name, belongs in groups:
        some = [row for row in rows if belongs(row)]
        if not some:
            continue
        times = np.array([seconds(row) for row in some])
        gaps = [1 - row["objective"] / row["bound"] for row in some if row["status"] != "optimal"]
        middle = float(np.median(times))
        shares = [f"{np.mean(times <= mark):.0%}" for mark in MARKS]
        shown = "more than 60" if middle > MARKS[-1] else f"{middle:.2f}"
        lines.append((name, len(some), *shares, shown, f"{np.median(gaps):.2%}" if gaps else ""))
    table("instances | number | in 1 s | in 10 s | in 60 s | median s | median gap of the rest", lines)
    free = [seconds(row) for row in rows if row["uncongested"] is True]
    if free:
        middle = float(np.median(free))
        print(f"Uncongested: median {middle:.3f} s of {len(free)}, at most 2 s is asked: {verdict(middle < 2)}.\n")


def _loads(rows: Rows) -> list[float]:
    return sorted({float(row["load"]) for row in rows})


def ratio(row: dict[str, Any], name: str) -> float:
    """A method's value over the best bound that any method proved; greedy: the best rule, ga: mean of its seeds."""
    value = row[name]
    worth = max(value) if name == "greedy" else float(np.mean(value))
    return worth / float(row["bound"])


def of_seeds(row: dict[str, Any]) -> Interval:
    """The GA's ratio on one instance: mean of its seeds with a 95 % interval."""
    return mean_interval(np.array(row["ga"]) / float(row["bound"]))


def over_instances(rows: Rows, name: str) -> Interval:
    """Median ratio over the instances with a bootstrap interval."""
    values = np.array([ratio(row, name) for row in rows])
    if len(values) < 2:
        return Interval(float(values[0]), float(values[0]), float(values[0]), 1)
    return bootstrap(values, lambda some: float(np.median(some)), np.random.default_rng(1))


METHODS = {"greedy": "greedy, best of 3 rules", "lp_rounding": "LP rounding", "ga": "GA, 5 s", "highs": "HiGHS, 30 s",
           "cbc": "CBC, 30 s"}  # fmt: skip


def _genetic(rows: Rows) -> None:
    print("## A fixed budget: values over the best bound, load 1\n")
    print(
        "Optimum where one method proved it, else the least bound of all of them. GA: mean of ten seeds of 5 s with its"
    )
    print("95 % interval, and its worst seed.\n")
    lines = []
    for row in sorted(rows, key=lambda row: row["flows"]):
        proven = "yes" if max(row["ga"] + [row["highs"], row["cbc"]]) >= row["bound"] else ""
        mine = of_seeds(row)
        lines.append(
            (row["nodes"], row["flows"], proven, f"{ratio(row, 'greedy'):.2%}", f"{ratio(row, 'lp_rounding'):.2%}",
             f"{mine.value:.2%} ± {mine.half_width:.2%}", f"{min(row['ga']) / row['bound']:.2%}",
             f"{ratio(row, 'highs'):.2%}", f"{ratio(row, 'cbc'):.2%}")
        )  # fmt: skip
    table("nodes | flows | optimum known | greedy | LP rounding | GA | worst seed | HiGHS | CBC", lines)
    lines = []
    for name, label in METHODS.items():
        found = over_instances(rows, name)
        beaten = np.mean([ratio(row, "ga") >= ratio(row, name) - 1e-12 for row in rows])
        least = min(ratio(row, name) for row in rows)
        share = "" if name == "ga" else f"{beaten:.0%}"
        lines.append((label, f"{found.value:.2%} [{found.low:.2%}, {found.high:.2%}]", f"{least:.2%}", share))
    table("method | median over instances, 95 % interval | least | GA at least as good", lines)
    middle = over_instances(rows, "ga").value
    below = sum(min(row["ga"]) < max(row["greedy"]) for row in rows)
    print(f"GA's median at least 97 %: {verdict(middle >= 0.97)}; 99 %: {verdict(middle >= 0.99)};", end=" ")
    print(f"a seed below greedy on {below} of {len(rows)} instances: {verdict(below == 0)}.\n")


def draw_optimal(rows: Rows) -> Any:
    """Left the share that is solved against time, a line a load; right each instance's time against its flows."""
    from analysis.plots.style import line_style, settings, sheet

    loads = _loads(rows)
    labels = [f"load {load:g}" for load in loads]
    title = "Random networks of 10 to 50 nodes: proven optimal by HiGHS"
    page = sheet(1, 2, (3.6, 2.7), title, [*labels, "not within 60 s"], gap=(0.75, 0.5))
    left, right = page.axes[0]
    with settings():
        for number, load in enumerate(loads):
            mine = [row for row in rows if row["load"] == load]
            times = np.sort([seconds(row) for row in mine])
            steps = np.concatenate([[1e-3], np.maximum(times[np.isfinite(times)], 1e-3), [60.0]])
            share = np.concatenate([np.arange(len(steps) - 1), [len(steps) - 2]]) / len(mine)
            left.step(steps, share, where="post", label=labels[number], **line_style(number))
            hue = line_style(number)["color"]
            for row in mine:
                proven = row["status"] == "optimal"
                shown = max(row["cpu_s"], 1e-3) if proven else 60.0
                right.plot(row["flows"], shown, "o", ms=5, color=hue, mfc=hue if proven else "none")
        right.plot([], [], "o", ms=5, color="#333333", mfc="none", label="not within 60 s")
        for mark in MARKS:
            left.axvline(mark, color="#999999", lw=0.8)
        left.set(xscale="log", ylim=(0, 1.02), xlabel="CPU seconds", ylabel="share of instances")
        left.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        right.set(xscale="log", yscale="log", xlabel="flows", ylabel="CPU seconds")
        right.set_xticks([100, 300, 1000, 3000], ["100", "300", "1,000", "3,000"])
        right.set_yticks([0.01, 0.1, 1, 10, 60], ["0.01", "0.1", "1", "10", "60"])
        left.set_xticks([0.001, 0.01, 0.1, 1, 10, 60], ["0.001", "0.01", "0.1", "1", "10", "60"])
        for axis in (left, right):
            axis.minorticks_off()
    page.legend([*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]])
    return page.figure


def draw_genetic(rows: Rows) -> Any:
    """A column an instance by rising flows: value over the best bound of every method."""
    from analysis.plots.style import MARKERS, colour, settings, sheet

    ordered = sorted(rows, key=lambda row: row["flows"])
    at = np.arange(len(ordered))
    title = "Congested networks (load 1): value over the best bound"
    page = sheet(1, 1, (max(5.5, 0.5 * len(rows)), 3.0), title, list(METHODS.values()), bottom=0.75)
    axis = page.axes[0, 0]
    with settings():
        for number, (name, label) in enumerate(METHODS.items()):
            values = [ratio(row, name) for row in ordered]
            spot = at + 0.13 * (number - 2)
            mark = {"marker": MARKERS[number], "ms": 5, "ls": "none", "color": colour(number), "label": label}
            if name == "ga":
                spread = np.array([of_seeds(row).half_width for row in ordered])
                axis.errorbar(spot, values, spread, elinewidth=1, capsize=2, **mark)
            else:
                axis.plot(spot, values, **mark)
        axis.axhline(1.0, color="#999999", lw=0.8)
        axis.axhline(0.97, color="#999999", lw=0.8, ls=":")
        axis.set_xticks(at, [f"{row['flows']:,}\n{row['nodes']}" for row in ordered])
        axis.set(xlabel="flows, and nodes below", ylabel="value / best bound")
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    page.legend()
    return page.figure
