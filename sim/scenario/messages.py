"""Pydantic's errors as plain sentences, each at the key or value it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from models.errors import Problem, nearest
from sim.scenario.fields import LATER, Kinds, shown
from sim.scenario.quantities import Quantity, dimension_of
from sim.scenario.tree import Path, Tree

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number below 2^63",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
    "none_required": "nothing",
}
_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def explain(error: ValidationError, model: type[BaseModel], tree: Tree, base: Path = ()) -> list[Problem]:
    """The problems of a failed validation of ``model`` against the value at ``base``."""
    whole: dict[tuple[str, int, int], list[str]] = {}
    result: list[Problem] = []
    details = error.errors(include_url=False)
    for detail in details:
        if _is_beside_the_point(detail, details):
            continue
        problem, one_of_several = _problem(detail, model, tree, base)
        if one_of_several:
            whole.setdefault((problem.file, problem.line, problem.column), []).append(problem.message)
        else:
            result.append(problem)
    # a value that fits none of several types: one sentence
    return result + [Problem(*place, ", or ".join(dict.fromkeys(texts))) for place, texts in whole.items()]


def _is_beside_the_point(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a mapping is only told that it is no word, where what is wrong in it is told as well."""
    owner = detail["loc"][:-1]
    word = detail["type"] == "literal_error" and isinstance(detail["input"], dict)
    return word and any(one is not detail and one["loc"][: len(owner)] == owner for one in details)


def _problem(detail: ErrorDetails, model: type[BaseModel], tree: Tree, base: Path) -> tuple[Problem, bool]:
    """The problem, and whether it is one of several about a value that may have several types."""
    inner = tuple(step for step in detail["loc"] if not (isinstance(step, str) and step.startswith("<")))
    # pydantic names the member of a union in the place of the error
    path = base
    for step in inner:
        path = (*path, step) if tree.has((*path, step)) else path
    labelled = len(path) < len(base + inner)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        text = f"key '{inner[-1]}' is missing{_meaning(model, detail['loc'])}"
        return tree.value_mark(path).problem(text), False
    if kind == "extra_forbidden":
        owner = model_at(model, detail["loc"][:-1])
        return tree.key_mark(path).problem(unknown_key(str(path[-1]), owner)), False
    if kind == "spillway":
        return tree.value_mark(path + tuple(context["at"])).problem(context["text"]), False
    if kind == "literal_error" and labelled:
        return tree.value_mark(path).problem(f"the word {str(context['expected']).replace(chr(39), '')}"), True
    text = _sentence(kind, context, detail, path, dimension_of(_annotation(model, detail["loc"])))
    return tree.value_mark(path).problem(text), labelled


def _sentence(
    kind: str, context: dict[str, Any], detail: ErrorDetails, path: Path, quantity: Quantity | None = None
) -> str:
    """``quantity``: what the value is one of, if it is one."""
    value = detail["input"]
    name = f"'{path[-1]}'" if path and isinstance(path[-1], str) else "the entry"
    if kind in {"value_error", "assertion_error"}:
        return str(context["error"])
    if kind in _LIMITS:
        what, relation = _LIMITS[kind]
        limit = context[what]
        if quantity is not None and limit:
            limit = quantity.show(limit)
        if quantity is not None and isinstance(value, int) and value:
            value = quantity.show(value)
        return f"{name} must be {relation} {limit}, not {shown(value)}"
    if kind == "string_pattern_mismatch":
        return f"{name} must match {context['pattern'].strip('^$')}, not {shown(value)}"
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", str(context["expected"]))
        hint = nearest(value, valid) if isinstance(value, str) else f"; valid: {', '.join(valid)}"
        return f"unknown value {shown(value)}{hint}"
    if kind in _TYPES:
        quoted = "; put it in quotes" if kind == "string_type" and isinstance(value, (int, float)) else ""
        return f"{name} takes {_TYPES[kind]}, not {shown(value)}{quoted}"
    # a policy's own constraints: pydantic's words without its form
    return f"{name}: {detail['msg'].replace('Input should', 'the value should').replace('Value error, ', '')}"


def unknown_key(name: str, owner: type[BaseModel] | None) -> str:
    """The message for a key that a mapping does not have."""
    if name in getattr(owner, "later", ()):
        return f"'{name}' is {LATER}"
    if name in getattr(owner, "elsewhere", {}):
        return f"'{name}' is not chosen here but under {owner.elsewhere[name]}"  # type: ignore[union-attr]
    if owner is None:
        return f"unknown key '{name}'"
    return f"unknown key '{name}'{nearest(name, owner.model_fields)}"


def _meaning(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    owner = model_at(model, loc[:-1])
    field = owner.model_fields.get(str(loc[-1])) if owner else None
    return f": {field.description}" if field is not None and field.description else ""


def model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model of the mapping at an error's place (tags of choices in angle brackets), or None."""
    return next(iter(_models(_annotation(model, loc))), None)


def _annotation(model: type[BaseModel], loc: tuple[str | int, ...]) -> Any:
    """What may stand at an error's place; names of a union's members in the place are passed over."""
    here: Any = model
    for step in loc:
        below = _below(here, step)
        here = here if below is None else below
    return here


def _below(annotation: Any, step: str | int) -> Any:
    if isinstance(step, str) and step.startswith("<"):
        return next((a for a in _arguments(annotation) if Tag(step) in getattr(a, "__metadata__", ())), None)
    for owner in _models(annotation):
        if isinstance(step, str) and step in owner.model_fields:
            field = owner.model_fields[step]
            return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    for part in _arguments(annotation):
        origin = get_origin(part)
        if origin is tuple and isinstance(step, int):
            return get_args(part)[0]
        if origin is dict and isinstance(step, str):
            return get_args(part)[1]
    return None


def _arguments(annotation: Any) -> Iterator[Any]:
    """The annotation and everything it is made of, outermost first; lists and mappings are not looked into."""
    yield annotation
    if get_origin(annotation) in {tuple, dict} or annotation is None:
        return
    for inner in get_args(annotation):
        if not isinstance(inner, (str, int, Kinds)):
            yield from _arguments(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in _arguments(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part
