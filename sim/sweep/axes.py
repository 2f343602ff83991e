"""The axes of a sweep: ``KEY=a,b,c``, ``KEY=lo:hi:n`` and ``KEY=lo:hi:n:log``; with a sample also ``KEY=lo:hi``.

Ends of a range are numbers or quantities. What a key takes, and so whether a value is right, the scenario knows: here
only the form is checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models import units
from models.errors import InputError, Problem
from sim.scenario.positions import read_value
from sim.scenario.show import flow

_BASE = {"time": "ps", "size": "B", "rate": "bit/s", "frequency": "1/s"}
_FORM = "write KEY=a,b,c or KEY=lo:hi:n or KEY=lo:hi:n:log"
_FIXED = {
    "seed": "seeds are not varied but repeated: write --seeds N",
    "variants": "variants are part of the grid as they are",
    "plugins": "plugins can't be varied",
    "name": "the name can't be varied",
}


@dataclass(frozen=True)
class Value:
    """One value of a key: as YAML, and in base units (ps, B, bit/s, 1/s) where it is a number or a quantity."""

    text: str
    number: float | None


@dataclass(frozen=True)
class Span:
    """A range between two numbers of the same dimension ('' for plain numbers). ``count`` None: for samples only."""

    low: float
    high: float
    dimension: str
    count: int | None
    log: bool

    def at(self, share: float, whole: bool, digits: int = 12) -> Value:
        """The value at a share of the range from 0 to 1. Quantities and ``whole`` numbers are rounded."""
        if self.log:
            number = self.low * (self.high / self.low) ** share
        else:
            number = self.low + (self.high - self.low) * share
        number = min(max(float(f"{number:.{digits}g}"), self.low), self.high)
        if self.dimension and self.dimension != "frequency":
            return Value(units.show(round(number), self.dimension), float(round(number)))
        plain = round(number) if whole or number.is_integer() else number
        return Value(f"{plain}/s" if self.dimension else flow(plain), float(plain))


@dataclass(frozen=True)
class Axis:
    """A key and the values that it takes. A range has a ``span``, and its values once ``resolve`` was called."""

    key: str
    values: tuple[Value, ...]
    span: Span | None = None
    unit: str = ""  # of the values' numbers

    @property
    def numeric(self) -> bool:
        """Whether every value is a number, all of one unit."""
        return all(value.number is not None for value in self.values)

    def first(self) -> Value:
        """A value to try the key with."""
        return self.span.at(0, False) if self.span else self.values[0]

    def resolve(self, whole: bool) -> Axis:
        """The values of a range; ``whole``: the key takes whole numbers only."""
        if self.span is None or self.span.count is None:
            return self
        steps = max(self.span.count - 1, 1)
        values = [self.span.at(index / steps, whole) for index in range(self.span.count)]
        return replace(self, values=tuple(dict.fromkeys(values)))

    def problem(self, message: str) -> Problem:
        return Problem(f"--vary:{self.key}", 0, 0, message)


def parse_axis(text: str, sampled: bool = False) -> Axis:
    """One ``--vary`` option. InputError with what is wrong with it. ``sampled``: ranges are drawn from, not divided."""
    key, equals, written = text.partition("=")
    problems: list[Problem] = []
    if not equals or not key:
        raise InputError([Problem(f"--vary:{text}", 0, 0, _FORM)])
    axis = Axis(key, ())
    root = key.split(".")[0]
    if root in _FIXED:
        problems.append(axis.problem(_FIXED[root]))
    if ":" in written and not re.search(r"[\[\]{},'\"]", written):
        axis = _range(axis, written, sampled, problems)
    else:
        axis = _list(axis, written, problems)
    if problems:
        raise InputError(problems)
    return axis


def parse_axes(texts: Sequence[str], sampled: bool = False) -> list[Axis]:
    """All ``--vary`` options, or everything that is wrong with them."""
    axes: list[Axis] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            axes.append(parse_axis(text, sampled))
        except InputError as error:
            problems += error.problems
    keys = [text.partition("=")[0] for text in texts]
    twice = {key for key in keys if keys.count(key) > 1}
    problems += [Problem(f"--vary:{key}", 0, 0, "is given twice; list all values in one --vary") for key in twice]
    if sampled and not problems and not any(axis.span for axis in axes):
        message = "nothing to draw from: give at least one range, --vary KEY=lo:hi"
        problems.append(Problem("--sample", 0, 0, message))
    if problems:
        raise InputError(problems)
    return axes


def _list(axis: Axis, written: str, problems: list[Problem]) -> Axis:
    try:
        tree = read_value(f"[{written}]", f"--vary:{axis.key}", "--vary")
    except InputError as error:
        problems += error.problems
        return axis
    problems += tree.problems
    found = [(flow(item), _number(item)) for item in tree.data]
    if not found:
        problems.append(axis.problem(f"has no values; {_FORM}"))
    texts = [text for text, _ in found]
    problems += [axis.problem(f"the value {text} is given twice") for text in set(texts) if texts.count(text) > 1]
    dimensions = {number[1] for _, number in found if number}
    alike = len(dimensions) == 1 and all(number for _, number in found)
    values = tuple(Value(text, number[0] if number and alike else None) for text, number in found)
    return replace(axis, values=values, unit=_BASE.get(dimensions.pop(), "") if alike else "")


def _range(axis: Axis, written: str, sampled: bool, problems: list[Problem]) -> Axis:
    parts = [part.strip() for part in written.split(":")]
    log = parts[-1] == "log"
    parts = parts[:-1] if log else parts
    most = 2 if sampled else 3
    if len(parts) != most:
        form = "with --sample a range is lo:hi or lo:hi:log" if sampled else "a range is lo:hi:n or lo:hi:n:log"
        problems.append(axis.problem(f"'{written}': {form}"))
        return axis
    before = len(problems)
    ends = [_end(axis, text, problems) for text in parts[:2]]
    count = None if sampled else _count(axis, parts[2], problems)
    if len(problems) > before:
        return axis
    (low, kind), (high, other) = ends
    if kind != other:
        words = [f"'{text}' is a {name or 'number'}" for text, name in zip(parts, (kind, other), strict=False)]
        problems.append(axis.problem(f"the ends differ: {', '.join(words)}"))
    elif low > high:
        problems.append(axis.problem(f"the range is empty: '{parts[0]}' is above '{parts[1]}'"))
    elif low == high and count != 1:
        problems.append(axis.problem("the range is empty: both ends are the same"))
    elif count == 1 and low != high:
        problems.append(axis.problem("one value can't hold both ends of the range; write at least 2"))
    elif log and low <= 0:
        problems.append(axis.problem("a logarithmic range begins above 0"))
    return replace(axis, span=Span(low, high, kind, count, log), unit=_BASE.get(kind, ""))


def _end(axis: Axis, text: str, problems: list[Problem]) -> tuple[float, str]:
    try:
        tree = read_value(text, f"--vary:{axis.key}", "--vary")
        found = None if tree.problems else _number(tree.data)
    except InputError:
        found = None
    if found is None:
        message = f"'{text}' is no number and no quantity such as 2us, 64KiB, 400Gbps or 10/s"
        problems.append(axis.problem(message))
        return 0.0, ""
    return found


def _count(axis: Axis, text: str, problems: list[Problem]) -> int | None:
    if text.isdecimal() and 1 <= int(text) <= 100_000:
        return int(text)
    problems.append(axis.problem(f"'{text}' is no number of values from 1 to 100000"))
    return None


def _number(item: Any) -> tuple[float, str] | None:
    """(number in base units, dimension or ''), or None for what is neither a number nor a quantity."""
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        return float(item), ""
    if not isinstance(item, str):
        return None
    for dimension in ("time", "size", "rate"):
        try:
            return float(units.parse(item, dimension)), dimension
        except ValueError:
            continue
    try:
        return float(units.parse_frequency(item)), "frequency"
    except ValueError:
        return None
