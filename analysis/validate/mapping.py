"""What a measured table says of itself, in comment lines before its header or in a file of their own:

    # spillway: kind=collectives
    # map: op=collective, ranks=num_gpus, size=bytes[B], time=t[ms]
    # bands: time median<10%, time p90<25%

``map`` names the column of each field, with its unit. A column that bears the name of a results column (``time_us``,
``bytes``) needs no entry. Of other comment lines nothing is read.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

from analysis.validate.bands import Band, parse_band
from analysis.validate.kinds import Kind, factor, kind_named
from models.errors import Problems, nearest

WORDS = ("spillway", "map", "bands")
_LINE = re.compile(r"^\s*#?\s*([A-Za-z_]+)\s*:(.*)$")
_ENTRY = re.compile(r"^\s*(\w+)\s*=\s*([^\[\]=]*?)\s*(?:\[([^\]]*)\])?\s*$")


@dataclass(frozen=True)
class Source:
    """The column of a field, what its numbers are multiplied with (None: no unit was given), and where that stands."""

    column: str
    factor: float | None
    line: int
    at: int


@dataclass
class Mapping:
    """Kind, columns by field, bands; ``file`` is where it was read."""

    file: str
    kind: Kind | None = None
    columns: dict[str, Source] = field(default_factory=dict)
    bands: list[Band] = field(default_factory=list)


def says(text: str) -> bool:
    """Whether a text has the line ``# spillway:``, and so is a table and no log."""
    return any((match := _LINE.match(line)) and match[1] == WORDS[0] for line in text.splitlines())


def read_mapping(text: str, problems: Problems, *, comments: bool) -> Mapping:
    """The mapping in a text: its comment lines, or all of its lines. Faults go to ``problems``."""
    mapping = Mapping(problems.file)
    maps: list[tuple[int, str, int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or (comments and not line.lstrip().startswith("#")):
            continue
        match = _LINE.match(line)
        if match is None or match[1] not in WORDS:
            _stray(number, line, match, comments, problems)
            continue
        word, rest, at = match[1], match[2], match.start(2)
        if word == "spillway":
            _kind(mapping, rest, number, at, problems)
        elif word == "map":
            maps.append((number, rest, at))
        else:
            _bands(mapping, rest, number, at, problems)
    if mapping.kind is None and not problems.found:
        problems.add(
            0, "no line says what was measured; write '# spillway: kind=collectives' (or flows, requests) at its top"
        )
    if mapping.kind is not None:
        for number, rest, at in maps:
            _map(mapping, mapping.kind, rest, number, at, problems)
    return mapping


def _stray(number: int, line: str, match: re.Match[str] | None, comments: bool, problems: Problems) -> None:
    """A line that is none of ours: a fault in a mapping file, or where it nearly is one."""
    if match is not None and any(sign in match[2] for sign in "=<"):
        close = difflib.get_close_matches(match[1], WORDS, n=1, cutoff=0.6)
        if close:
            problems.add(number, f"unknown word '{match[1]}'; did you mean '{close[0]}'?", match.start(1) + 1)
            return
    if not comments and not line.lstrip().startswith("#"):
        problems.add(number, f"a line of a mapping begins with one of {', '.join(f'{word}:' for word in WORDS)}")


def _kind(mapping: Mapping, rest: str, number: int, at: int, problems: Problems) -> None:
    for entry, column in _entries(rest, at):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name != "kind":
            problems.add(number, f"unknown key '{name}'; write kind=collectives, kind=flows or kind=requests", column)
            continue
        try:
            mapping.kind = kind_named(value)
        except ValueError as error:
            problems.add(number, str(error), column + entry.index(value) if value else column)


def _map(mapping: Mapping, kind: Kind, rest: str, number: int, at: int, problems: Problems) -> None:
    valid = [one.name for one in kind.fields]
    for entry, column in _entries(rest, at):
        match = _ENTRY.match(entry)
        if match is None or not match[2]:
            problems.add(number, f"'{entry}' is no entry of a map; write one such as time=t[us]", column)
            continue
        name, source, unit = match[1], match[2], match[3]
        if name not in valid:
            problems.add(number, f"measured {kind.name} have no field '{name}'{nearest(name, valid)}", column)
            continue
        if name in mapping.columns:
            problems.add(number, f"field '{name}' is mapped twice", column)
            continue
        scale = None
        if unit is not None:
            try:
                scale = factor(unit.strip(), kind.field(name).dimension)
            except ValueError as error:
                problems.add(number, str(error), column + match.start(3))
        mapping.columns[name] = Source(source, scale, number, column)


def _bands(mapping: Mapping, rest: str, number: int, at: int, problems: Problems) -> None:
    for entry, column in _entries(rest, at):
        try:
            mapping.bands.append(parse_band(entry, mapping.kind))
        except ValueError as error:
            problems.add(number, str(error), column)


def _entries(rest: str, at: int) -> list[tuple[str, int]]:
    """(text, column from 1) of what commas divide."""
    found, place = [], at
    for part in rest.split(","):
        if part.strip():
            found.append((part.strip(), place + 1 + len(part) - len(part.lstrip())))
        place += len(part) + 1
    return found
