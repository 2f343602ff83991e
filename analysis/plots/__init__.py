"""``plot_results(folder)``: the pictures of a result directory, or of a folder with many, as ``plots/*.png`` in it.

- a run, or one with variants (each picture compares them): ``flows.py`` completion times and slowdown by size,
  ``links.py`` load of every link, ``series.py`` queues and use over time, ``collectives.py`` bandwidths,
  ``moe.py`` where the time of layers with experts goes, and the load of every GPU; ``admission.py`` what became of
  demands, ``network_map.py`` where they have reserved bandwidth; ``serving.py`` the latencies of requests and the
  load of the replicas that serve them.
- runs that differ in their load: ``loads.py`` latency and congestion against load, one line a policy;
  ``admission.py`` blocking of each class; ``serving_curves.py`` latency and goodput against the rate of requests.
- a sweep: ``sweeps.py`` the same against what was varied, or any figure of its index. ``curves.py`` draws for both.
- plan.json of admission solvers (``plans.py``): the map, and ``anytime.py``: objective and bound over time.

matplotlib is imported when a plot is made, without pyplot: nothing global is touched and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.index import is_sweep, read_index
from analysis.load import find_runs, load
from models.errors import InputError, Problem

__all__ = ["plot_results", "plot_sweep"]


def plot_sweep(folder: Path | str, x: str | None = None, figures: Sequence[str] = ()) -> list[Path]:
    """Draw the curves of a sweep from its index; the file written. InputError: unknown names, or nothing to draw."""
    from analysis.plots import sweeps
    from analysis.plots.style import save

    figure = sweeps.curves(read_index(folder), x, figures)
    name = "-".join(["curves", *([x] if x else []), *figures])
    return [save(figure, Path(folder) / "plots" / f"{name}.png")]


def plot_results(folder: Path | str, *, each_variant: bool = False) -> list[Path]:
    """Draw what ``folder`` has data for; the files written. InputError where it holds no results.

    Variants are compared in pictures of their own; ``each_variant`` draws those of every variant's directory as well.
    A folder of many runs gets the curves against load; the pictures of each run are in its own directory.
    """
    folder = Path(folder)
    if is_sweep(folder):
        return plot_sweep(folder)
    runs = find_runs(folder)
    if not runs:
        raise InputError([Problem(str(folder), 0, 0, "no results here or up to 3 levels below (no manifest.json)")])
    from analysis.plots import admission, collectives, flows, links, loads, moe, network_map, series, serving
    from analysis.plots.serving_curves import against_rate
    from analysis.plots.style import save

    written = []
    if (folder / "manifest.json").is_file():
        named = load(folder).runs()
        for file, draw in (
            ("fct_cdf", flows.completion),
            ("slowdown_by_size", flows.slowdown),
            ("link_load", links.heat),
            ("series", series.over_time),
            ("collectives", collectives.bandwidth),
            ("moe_steps", moe.steps),
            ("gpu_load", moe.load),
            ("demands", admission.outcome),
            ("reservations", network_map.of_runs),
            ("request_latency", serving.latency),
            ("replica_load", serving.over_time),
        ):
            figure = draw(named)
            if figure is not None:
                written.append(save(figure, folder / "plots" / f"{file}.png"))
    for file, curves in (
        ("load_curves", loads.curves(runs)),
        ("blocking", admission.against_load(runs)),
        ("serving_curves", against_rate(runs)),
    ):
        if curves is not None:
            written.append(save(curves, folder / "plots" / f"{file}.png"))
    if each_variant:
        written += [path for run in runs if run.folder != folder for path in plot_results(run.folder)]
    return written
