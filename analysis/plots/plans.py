"""The pictures of plan.json files: a map of each with its load, and the anytime curves of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from analysis.admission.plan_file import PlanFile, read
from models.errors import InputError, Problem

_RULES = ("strict", "all", "paths", "by", "protection")


def plot_plans(paths: Sequence[Path], folder: Path | None = None) -> list[Path]:
    """Draw plans of one instance into ``folder`` (default: beside the first); the files written.

    ``NAME_map.png`` for each, and ``NAME_anytime.png`` of the first one's name where steps were noted or plans are
    compared. InputError: a file that is no plan, plans of other demands.
    """
    plans = [read(path) for path in paths]
    _check_same(plans)
    from analysis.plots import anytime, network_map
    from analysis.plots.style import save

    out = folder or plans[0].path.parent
    labels = _labels(plans)
    names = Counter(plan.path.stem for plan in plans)
    written = []
    for plan, label in zip(plans, labels, strict=True):
        stem = plan.path.stem if names[plan.path.stem] == 1 else f"{plan.path.parent.name}_{plan.path.stem}"
        written.append(save(network_map.of_plan(plan.known, label), out / f"{stem}_map.png"))
    if len(plans) > 1 or len(plans[0].known["steps"]) > 1:
        figure = anytime.curves({label: plan.known for label, plan in zip(labels, plans, strict=True)})
        written.append(save(figure, out / f"{plans[0].path.stem}_anytime.png"))
    return written


def _labels(plans: Sequence[PlanFile]) -> list[str]:
    """The method where that tells them apart, else with the file's name."""
    methods = [str(plan.known["method"]) for plan in plans]
    if len(set(methods)) == len(methods):
        return methods
    return [f"{method} ({plan.path.stem})" for plan, method in zip(plans, methods, strict=True)]


def _check_same(plans: Sequence[PlanFile]) -> None:
    """What one bounds must hold for all: the same demands, under the same rules."""
    first = plans[0]
    faults = []
    for plan in plans[1:]:
        if _rows(plan) != _rows(first):
            faults.append(Problem(str(plan.path), 0, 0, f"has other demands than {first.path}: nothing to compare"))
        differ = [rule for rule in _RULES if plan.known["asked"].get(rule) != first.known["asked"].get(rule)]
        if differ:
            message = f"was made with another {', '.join(differ)} than {first.path}: nothing to compare"
            faults.append(Problem(str(plan.path), 0, 0, message))
    if faults:
        raise InputError(faults)


def _rows(plan: PlanFile) -> list[list[object]]:
    return [[row[key] for key in ("id", "src", "dst", "bandwidth_mbps", "priority")] for row in plan.known["demands"]]
