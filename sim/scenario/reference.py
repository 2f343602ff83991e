"""The scenario reference, made from the schema: ``python -m sim.scenario.reference > docs/scenario.md``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sim.dispatch.api import PolicyParams
from sim.dispatch.registry import LEVELS, PARAMS, Registry
from sim.scenario import (
    arriving,
    clusters,
    demands,
    gates,
    request_arrivals,
    schema,
    serving,
    serving_engine,
    switches,
    topologies,
    transports,
    workloads,
)
from sim.scenario.fields import Kinds, Section, Words
from sim.scenario.quantities import dimension_of
from sim.scenario.show import source_of

_HEAD = """# The scenario file

Made from the schema by `python -m sim.scenario.reference`; a test keeps it up to date. A scenario is one YAML file.
Only `name`, `fabric.topology` and `workload` are required. `python run_sim.py check SCENARIO` prints every value that
is in effect and where it comes from.

Quantities carry a unit: `400Gbps`, `2us`, `64KiB` (b = bit, B = byte; K, M, G, T decimal, Ki, Mi, Gi, Ti binary), and
must be a whole number of bits per second, picoseconds or bytes. A bare number is refused where a unit is due. Unknown
and duplicate keys are errors. Files are found beside the scenario.

Values from elsewhere, in this order: the file, `--set KEY=VALUE` and `--seed N`, the variant. A key is dotted
(`fabric.topology.leaves`, `workload.0.size`); the value is a YAML scalar, or a list or mapping in braces. Setting a
mapping over `fabric`, `fabric.switch`, `fabric.transport`, `dispatch`, `stop` or `telemetry` changes only the keys it
names; setting anything else replaces the whole value, so a policy goes with its parameters. A `--set` key that every
variant sets would do nothing and is an error.
"""
_OWN = "its own defaults"
_COLUMNS = ("| key | takes | default | source | meaning |", "|---|---|---|---|---|")
_VARIANTS = """
## variants

Names (`[a-z0-9_-]+`) and what each changes: dotted keys, or mappings. Where there are variants, one run executes each
of them on the same random numbers, and only them; `base: {}` is the scenario as it stands. A variant can't change
`variants` or `plugins`.
"""
_POLICIES = """
## Policies and their parameters

A policy is a bare name, or a mapping `{kind: name, parameter: value}`, one a level under `dispatch`. That of the level
`transport` stands under `fabric.transport` with its parameters in `fabric.transport.parameters`. A packet policy other
than `follow_path` chooses among all equal-cost ports and wins over a hashed path; beside `ethereal`, `static` or
`subflows` it is an error, and it has no place in the fluid engine, where `spray` splits evenly.
"""


def reference() -> str:
    """The whole page."""
    lines = [_HEAD]
    lines += _section("Scenario", schema.Scenario, "##")
    for title, model in (
        ("fabric", schema.Fabric),
        ("fabric.links.NAME", switches.LinkChange),
        ("fabric.links.NAME.ecn", switches.PortEcn),
        ("fabric.switch", switches.Switch),
        ("fabric.switch.ecn", switches.Ecn),
        ("fabric.switch.shared", switches.Shared),
        ("fabric.switch.pause", switches.PauseKeys),
        ("fabric.transport", transports.Transport),
        ("fabric.transport.receiver in_order", transports.InOrder),
        ("dispatch", schema.Dispatch),
        ("events", schema.Event),
        ("stop", schema.Stop),
        ("telemetry", schema.Telemetry),
    ):
        lines += _section(title, model, "##")
    lines += [_VARIANTS, "## fabric.topology", "", "The kinds of topology. A link is `{rate, delay}`.", ""]
    for name, model in clusters.TOPOLOGIES.items():
        lines += _section(f"topology {name}", model, "###")
    lines += _section("scale_up of gpu_cluster and rail", clusters.ScaleUp, "###")
    lines += _section("pcie of gpu_cluster and rail", clusters.Pcie, "###")
    lines += _section("links of edges", topologies.Edge, "###")
    lines += ["## workload", "", "A list; the workloads share the fabric.", ""]
    for name, model in workloads.WORKLOADS.items():
        lines += _section(f"workload {name}", model, "###")
    lines += _section("admission of flows and collective", gates.Gate, "###")
    for title, model in (
        ("requests: pools.NAME", serving.PoolKeys),
        ("requests: pools.NAME.autoscale", serving.Autoscale),
        ("requests: engine", serving_engine.EngineKeys),
        ("requests: engine.overhead", serving_engine.Overhead),
        ("requests: engine.speculation", serving_engine.Speculation),
        ("requests: targets", serving.Targets),
        ("requests: classes", serving.RequestClass),
        ("requests: tenants", serving.Tenants),
        ("requests: sessions", serving.Sessions),
        ("requests: prefix", serving.Prefix),
        ("requests: transfer", serving.Transfer),
    ):
        lines += _section(title, model, "###")
    shown: set[type[Section]] = set()
    for kinds in (
        workloads.ARRIVALS,
        workloads.DISTRIBUTIONS,
        arriving.PAIRS,
        demands.ARRIVALS,
        demands.BANDWIDTHS,
        demands.HOLDS,
        request_arrivals.ARRIVALS,
        request_arrivals.LENGTHS,
        request_arrivals.THINK,
        serving_engine.COSTS,
    ):
        for name, model in kinds.models.items():
            if model not in shown:
                lines += _section(f"{kinds.what} {name}", model, "####")
            shown.add(model)
    lines += [_POLICIES]
    lines += list(_policies())
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, model: type[BaseModel], level: str) -> list[str]:
    text = " ".join((model.__doc__ or "").replace("``", "`").split())
    return [f"{level} {title}", "", text, "", *_table(model, "")]


def _table(model: type[BaseModel], otherwise: str) -> list[str]:
    rows = [
        _row(name, field, otherwise)
        for name, field in model.model_fields.items()
        if name != "kind" or field.description
    ]
    if not rows:
        return ["No keys of its own.", ""]
    return [*_COLUMNS, *rows, ""]


def _row(name: str, field: FieldInfo, otherwise: str) -> str:
    required = field.default is PydanticUndefined
    default = "required" if required else _default(field)
    source = "" if required or default in {"absent", _OWN} else source_of(field, otherwise)
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{name}` | {_takes(field)} | {default} | {source} | {meaning} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    quantity = dimension_of(field.annotation, field.metadata)
    if value is None:
        return "absent"
    if isinstance(value, Section):
        word = value.word()
        return f"`{word}`" if word else _OWN
    if value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, tuple):
        shown = [quantity.show(entry) if quantity else entry for entry in value]
        return f"`[{', '.join(map(str, shown))}]`"
    return f"`{quantity.show(value) if quantity else value}`"


def _takes(field: FieldInfo) -> str:
    quantity = dimension_of(field.annotation, field.metadata)
    if any(get_origin(part) is dict for part in _parts(field.annotation)):
        lists = any(get_origin(part) is tuple for part in _parts(field.annotation))
        return "list, or mapping of names" if lists else "mapping of names"
    many = any(get_origin(part) is tuple for part in _parts(field.annotation))
    words = next((mark for mark in [*field.metadata, *_parts(field.annotation)] if isinstance(mark, Words)), None)
    if words is not None:
        text = ", ".join(f"`{word}`" for word in words.valid)
    elif quantity is not None:
        text = " or ".join([quantity.dimension, *(f"`{word}`" for word in quantity.words)])
    else:
        text = _plain(field)
    if many and text.startswith("`all`"):
        return text.replace("or ", "or list of ", 1)
    return f"list of {text}" if many else text


def _plain(field: FieldInfo) -> str:
    parts = [*_parts(field.annotation), *field.metadata]
    kinds = next((mark for mark in parts if isinstance(mark, Kinds)), None)
    if kinds is not None:
        return f"{kinds.what}: {', '.join(f'`{name}`' for name in kinds.models)}"
    literal = [
        str(word)
        for part in parts
        if get_origin(part) is not None and str(get_origin(part)).endswith("Literal")
        for word in get_args(part)
    ]
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "policy"}
    found = [text for kind, text in names.items() if kind in parts and not (kind is int and bool in parts)]
    if any(isinstance(part, type) and issubclass(part, BaseModel) for part in parts):
        found.append("mapping")
    return " or ".join([*(f"`{word}`" for word in literal), *dict.fromkeys(found)])


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        if not isinstance(inner, (str, int, float)):
            yield from _parts(inner)


def _policies() -> Iterator[str]:
    registry = Registry()
    for level in LEVELS:
        yield f"### {level}"
        yield ""
        base = PARAMS.get(level, PolicyParams)
        if base.model_fields:
            yield f"Keys of every {level} policy:"
            yield ""
            yield from _table(base, f"{level} policies")
            for key, field in base.model_fields.items():
                yield from _inner(f"{level} policy: {key}", field)
        for name in registry.names(level):
            yield f"**{name}**: {registry.describe(level, name)}"
            yield ""
            params = registry.load(level, name).Params
            own = [
                _row(key, field, f"policy {name}")
                for key, field in params.model_fields.items()
                if key not in base.model_fields or field.default != base.model_fields[key].default
            ]
            if own:
                yield from [*_COLUMNS, *own, ""]


def _inner(title: str, field: FieldInfo) -> Iterator[str]:
    """The sections that a field takes, told apart by their kind where there are several."""
    for model in _parts(field.annotation):
        if isinstance(model, type) and issubclass(model, Section):
            kind = model.model_fields.get("kind")
            yield from _section(title if kind is None else f"{title} {kind.default}", model, "####")


if __name__ == "__main__":
    print(reference(), end="")
