"""``perturbations``: every key of a scenario in effect, with another value that the scenario takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models import units
from models.errors import InputError
from sim.dispatch.registry import LEVELS
from sim.scenario.load import Loaded
from sim.scenario.show import flow
from sim.sweep.axes import parse_axis
from sim.sweep.cells import Cell
from sim.sweep.experiment import Experiment

_LEFT_OUT = ("name", "seed", "plugins", "telemetry")
# words that may stand for each other
_WORDS = (
    ("packet", "fluid"), ("selective_repeat", "go_back_n"), ("window", "line_rate"), ("hosts", "bisection"),
    ("all_to_all", "all_gather"), ("all_reduce", "reduce_scatter"), ("permutation", "tornado"),
    ("uniform", "permutation"), ("websearch", "datamining"), ("unlimited", "100KB"), ("auto", "64KiB"),
    ("auto", "2ms"), ("auto", "8"), ("drop", "trim"), ("enqueue", "dequeue"), ("tolerant", "in_order"),
)  # fmt: skip


def perturbations(
    experiment: Experiment, loaded: Loaded, variant: str | None
) -> Iterator[tuple[str, str, Cell | None]]:
    """(key, its value, a cell in which it alone has another), in the scenario's order; None: no other value fits."""
    for key, value in _leaves(loaded.effective, ()):
        for other in _others(key, value, loaded):
            cell = _cell(experiment, key, other, variant)
            if cell is not None:
                yield key, flow(value), cell
                break
        else:
            yield key, flow(value), None


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; a policy's kind is the value of its level."""
    if len(path) == 1 and path[0] in _LEFT_OUT:
        return
    if path[:1] == ("dispatch",) and len(path) == 2:
        kind = node["kind"] if isinstance(node, dict) else node
        yield ".".join(path), kind
        node = {name: value for name, value in node.items() if name != "kind"} if isinstance(node, dict) else {}
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, (*path, str(index)))
    elif path[-1:] != ("kind",) or path[0] in ("fabric", "gpus"):
        yield ".".join(path), node


def _others(key: str, value: Any, loaded: Loaded) -> list[str]:
    """Values to try, as YAML, the likeliest first."""
    level = key.removeprefix("dispatch.")
    if key == "fabric.transport.kind":
        level = "transport"
    if level == "transport" or (key.startswith("dispatch.") and level in LEVELS):
        return [name for name in loaded.registry.names(level) if name != value]
    if isinstance(value, bool):
        return [flow(not value)]
    if isinstance(value, int):
        return [flow(value * 2 or 1), flow(value + 1), flow(value - 1)]
    if isinstance(value, float):
        return [flow(value / 2 or 0.5), flow(value * 1.5)]
    if not isinstance(value, str):
        return []
    words = [two[1 - two.index(value)] for two in _WORDS if value in two]
    for dimension in ("time", "size", "rate"):
        try:
            number = units.parse(value, dimension)
        except ValueError:
            continue
        some = {"time": 10**6, "size": 1000, "rate": 10**9}[dimension]
        return [units.show(other, dimension) for other in (2 * number or some, number // 2)]
    return words


def _cell(experiment: Experiment, key: str, value: str, variant: str | None) -> Cell | None:
    """The cell with ``key`` at another value; None where the scenario does not take it."""
    try:
        other = experiment.again([parse_axis(f"{key}={value}")])
        return next(cell for cell in other.cells() if cell.point.variant == variant)
    except (InputError, StopIteration):
        return None
