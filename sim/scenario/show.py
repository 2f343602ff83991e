"""The effective scenario as plain values with units, and the origin of each of them."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sim.scenario.fields import Section
from sim.scenario.quantities import dimension_of
from sim.scenario.tree import Path, Tree


def effective_of(scenario: Section, dispatch: dict[str, Any], tree: Tree) -> tuple[dict[str, Any], dict[Path, str]]:
    """(values, origins). Absent values and keys without effect are left out; reading it again gives the same run."""
    origins: dict[Path, str] = {}
    values = _model(scenario, (), tree, origins, "")
    choices: dict[str, Any] = {}
    for level, (policy, params) in dispatch.items():
        if level == "transport":
            _parameters(policy, params, values, tree, origins)
            continue
        path: Path = ("dispatch", level)
        for old in [p for p in origins if p[:2] == path]:
            del origins[old]
        written = tree.has(path)
        own = _model(params, path, tree, origins, f"policy {policy.name}")
        where = tree.value_mark((*path, "kind") if tree.has((*path, "kind")) else path).origin
        kind = where if written else _default(type(scenario).model_fields["dispatch"].annotation, level)
        origins[(*path, "kind") if own else path] = kind
        choices[level] = {"kind": policy.name, **own} if own else policy.name
    values["dispatch"] = choices
    return values, origins


def _parameters(policy: Any, params: BaseModel, values: dict[str, Any], tree: Tree, origins: dict[Path, str]) -> None:
    """The transport's, with their defaults, at their place below the fabric; nothing where it has none."""
    path: Path = ("fabric", "transport", "parameters")
    for old in [p for p in origins if p[:3] == path]:
        del origins[old]
    own = _model(params, path, tree, origins, f"transport {policy.name}")
    transport = values["fabric"]["transport"]
    transport.pop("parameters", None)
    if own:
        transport["parameters"] = own


def _default(model: Any, name: str) -> str:
    return f"default ({source_of(model.model_fields[name], '')})"


def source_of(field: FieldInfo, otherwise: str) -> str:
    """Where a default comes from."""
    extra = field.json_schema_extra
    return str(extra.get("source", otherwise)) if isinstance(extra, dict) else otherwise


def _model(model: BaseModel, path: Path, tree: Tree, origins: dict[Path, str], source: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    idle = model.idle() if isinstance(model, Section) else set()
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None or name in idle:
            continue
        quantity = dimension_of(field.annotation, field.metadata)
        reason = model.reason(name) if isinstance(model, Section) else None
        origin = f"default ({reason or source_of(field, source)})"
        result[name] = _value(value, (*path, name), tree, origins, origin, quantity)
    return result


def _value(value: Any, path: Path, tree: Tree, origins: dict[Path, str], default: str, quantity: Any) -> Any:
    if isinstance(value, Section):
        word = value.word()
        if word is None:
            return _model(value, path, tree, origins, "")
        value = word
    elif isinstance(value, dict):
        return {name: _value(item, (*path, name), tree, origins, default, None) for name, item in value.items()}
    elif isinstance(value, tuple) and value and isinstance(value[0], Section):
        return [_value(item, (*path, i), tree, origins, default, None) for i, item in enumerate(value)]
    origins[path] = tree.value_mark(path).origin if tree.has(path) else default
    if isinstance(value, (tuple, list)):
        return [quantity.show(item) if quantity else item for item in value]
    return quantity.show(value) if quantity else value


def text_of(values: dict[str, Any], origins: dict[Path, str] | None = None) -> str:
    """Values as YAML, mappings in block style; with ``origins`` each value has its origin beside it as a comment."""
    lines: list[tuple[str, str]] = []
    _lines(values, (), 0, origins or {}, lines)
    width = min(60, max((len(text) for text, note in lines if note), default=0))
    return "".join(f"{text:<{width}}  # {note}\n" if note else f"{text}\n" for text, note in lines)


def _lines(
    values: dict[str, Any], path: Path, depth: int, origins: dict[Path, str], lines: list[tuple[str, str]]
) -> None:
    indent = "  " * depth
    for name, value in values.items():
        here = (*path, name)
        if isinstance(value, dict) and value:
            lines.append((f"{indent}{_scalar(name)}:", ""))
            _lines(value, here, depth + 1, origins, lines)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append((f"{indent}{_scalar(name)}:", ""))
            for index, item in enumerate(value):
                inner: list[tuple[str, str]] = []
                _lines(item, (*here, index), depth + 2, origins, inner)
                first, note = inner[0]
                lines.append((f"{indent}  - {first.lstrip()}", note))
                lines += inner[1:]
        else:
            lines.append((f"{indent}{_scalar(name)}: {flow(value)}", origins.get(here, "")))


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(name)}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return _scalar(value)


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./>-]*(#[A-Za-z0-9_./>-]+)?\Z")
_AMOUNT = re.compile(r"\d+(\.\d+)?[A-Za-z][A-Za-z/]*\Z|\d+(\.\d+)?/[a-z]+\Z")
_MEANT_OTHERWISE = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def _scalar(value: Any) -> str:
    """A YAML scalar; text is quoted where it could be read as something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = (_WORD.match(value) or _AMOUNT.match(value)) and value.lower() not in _MEANT_OTHERWISE
        return value if plain else json.dumps(value, ensure_ascii=False)
    return repr(value)
