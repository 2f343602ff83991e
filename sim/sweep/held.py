"""``held``: what the scenarios of several cells have in common, section by section, in few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.scenario.load import Loaded
from sim.scenario.show import flow
from sim.scenario.tree import Path
from sim.sweep.cells import Cell, load_cell

_NOTHING: Any = object()


def held(cells: Sequence[Cell]) -> dict[str, str]:
    """Section -> what all cells share of it; of the workload only what is not a default. Seeds and name left out."""
    loaded = [load_cell(cell) for cell in cells]
    common = _sections(loaded[0], _common([one.effective for one in loaded]))
    whole = _sections(loaded[0], loaded[0].effective)
    return {_part(name, value == whole[name]): value for name, value in common.items() if value}


def _part(name: str, whole: bool) -> str:
    """The name of a section, or of what is left of it beside a key that was varied."""
    return name if whole or name.startswith(("changed", "other")) else f"rest of the {name}"


def _sections(loaded: Loaded, effective: dict[str, Any]) -> dict[str, str]:
    fabric = effective.get("fabric", {})
    topology = fabric.get("topology", {})
    work = effective.get("workload", [])
    return {
        "fabric": _short({name: value for name, value in topology.items() if not isinstance(value, (dict, list))}),
        "links": _short({name: value for name, value in topology.items() if isinstance(value, dict)}),
        "changed links": _short(fabric.get("links", {})),
        "switches": _short(fabric.get("switch", {})),
        "transport": _short(fabric.get("transport", {})),
        "workload": ", ".join(_work(loaded, index, item) for index, item in enumerate(work)),
        "engine": str(effective.get("engine", "")),
        "other policies": _short(effective.get("dispatch", {})),
        "events": flow(effective["events"]) if effective.get("events") else "",
        "limit of time": str(effective.get("stop", {}).get("time", "")),
    }


def _short(values: dict[str, Any]) -> str:
    """Without braces; of a choice with a kind, the kind first."""
    parts: list[str] = []
    for name, value in values.items():
        if name == "kind":
            parts.insert(0, str(value))
        elif isinstance(value, dict) and set(value) == {"kind"}:
            parts.append(f"{name}: {value['kind']}")
        else:
            parts.append(f"{name}: {flow(value)}")
    return ", ".join(parts)


def _work(loaded: Loaded, index: int, item: dict[str, Any]) -> str:
    """One workload: what was written of ``item``."""
    written = {}
    for name, value in item.items():
        path: Path = ("workload", index, name)
        below = [origin for place, origin in loaded.origins.items() if place[: len(path)] == path]
        if any(not origin.startswith("default") for origin in below):
            written[name] = value
    return _short(written)


def _common(values: Sequence[Any]) -> Any:
    """What is the same in all: of mappings key by key, of lists of one length item by item; else all or nothing."""
    first = values[0]
    if all(isinstance(value, dict) for value in values):
        shared = {
            name: _common([value[name] for value in values]) for name in first if all(name in value for value in values)
        }
        kept = {name: value for name, value in shared.items() if value is not _NOTHING}
        return kept if kept or not any(values) else _NOTHING
    if all(isinstance(value, list) and len(value) == len(first) for value in values) and first:
        items = [_common([value[index] for value in values]) for index in range(len(first))]
        return items if all(item is not _NOTHING for item in items) else _NOTHING
    return first if all(value == first for value in values) else _NOTHING
