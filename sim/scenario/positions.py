"""YAML with the position of every key and value. The only file that knows ruamel.

The nodes of the document are walked here, so that no tag can build an object, every duplicate key is found, and an
alias bomb is refused before it is unfolded. Merge keys (``<<``) and aliases work.
"""

from __future__ import annotations

import math
import re
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from models.errors import InputError, Problem, nearest
from sim.scenario.tree import Mark, Path, Tree

_MOST_BYTES = 64 * 2**20
_MOST_VALUES = 500_000
_PREFIX = "tag:yaml.org,2002:"
_PLAIN = {"str", "int", "float", "bool", "null", "timestamp", "merge", "map", "seq"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def read_file(file: FilePath, shown: str) -> Tree:
    """The tree of a YAML file, with the problems found so far. InputError where it can't be read at all."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        others = [str(file.parent / path.name) for path in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        hint = nearest(shown, others) if others else ""
        raise InputError([Problem(shown, 0, 0, f"no such file{hint}")]) from None
    except OSError as error:
        raise InputError([Problem(shown, 0, 0, f"can't be read: {error.strerror}")]) from None
    if len(raw) > _MOST_BYTES:
        raise InputError([Problem(shown, 0, 0, f"larger than {_MOST_BYTES >> 20} MiB: not a scenario")])
    return _Reader(shown).read(_decode(raw, shown))


def read_text(text: str, shown: str) -> Tree:
    """The same of a scenario that is no file."""
    return _Reader(shown).read(text)


def read_value(text: str, label: str, origin: str) -> Tree:
    """The tree of a ``--set`` value: a YAML scalar or a flow mapping or list. All marks are ``label``."""
    return _Reader(label, Mark(label, 0, 0, origin)).read(text)


def _decode(raw: bytes, shown: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        message = f"not UTF-8 text: byte 0x{raw[error.start]:02x}"
        raise InputError([Problem(shown, line, column, message)]) from None
    found = _CONTROL.search(text)
    if found:
        at = found.start()
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise InputError([Problem(shown, line, column, f"a control character (U+{ord(found.group()):04X})")])
    return text


class _Reader:
    """Walks the nodes of one document."""

    def __init__(self, shown: str, fixed: Mark | None = None) -> None:
        self.shown = shown
        self.fixed = fixed
        self.problems: list[Problem] = []
        self.tree = Tree(None)
        self.visited = 0

    def read(self, text: str) -> Tree:
        try:
            node = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self._fail(line, column, f"not valid YAML: {_plain(error)}")
        except YAMLError as error:
            self._fail(1, 1, f"not valid YAML: {str(error).splitlines()[0]}")
        except RecursionError:
            self._fail(1, 1, "not a scenario: nested too deeply")
        except ValueError as error:  # ruamel lets a malformed %YAML line through to int()
            self._fail(1, 1, f"not valid YAML: {error}")
        if node is None:
            self.tree.values[()] = self.fixed or Mark(self.shown, 1, 1, f"{self.shown}:1")
            return self.tree
        try:
            self.tree.data = self._value(node, (), ())
        except RecursionError:
            self._fail(1, 1, "not a scenario: nested too deeply")
        self.tree.problems = self.problems
        return self.tree

    def _fail(self, line: int, column: int, message: str) -> None:
        place = (0, 0) if self.fixed else (line, column)
        raise InputError([*self.problems, Problem(self.shown, *place, message)])

    def _mark(self, node: Node) -> Mark:
        if self.fixed:
            return self.fixed
        line = node.start_mark.line + 1
        return Mark(self.shown, line, node.start_mark.column + 1, f"{self.shown}:{line}")

    def _add(self, node: Node, message: str, path: Path | None = None) -> None:
        """A problem of the text; ``path`` where a value stands as None because of it."""
        if path is not None:
            self.tree.faulty.append(path)
        self.problems.append(self._mark(node).problem(message))

    def _value(self, node: Node, path: Path, above: tuple[int, ...]) -> Any:
        self.visited += 1
        mark = self._mark(node)
        if self.visited > _MOST_VALUES:
            self._fail(mark.line, mark.column, f"the aliases unfold to more than {_MOST_VALUES:,} values")
        if id(node) in above:
            self._add(node, "an alias that contains itself", path)
            return None
        self.tree.values[path] = mark
        tag = str(node.tag or "")
        if not tag.startswith(_PREFIX) or tag.removeprefix(_PREFIX) not in _PLAIN:
            self._add(node, f"the tag '{tag.replace(_PREFIX, '!!')}' is not allowed; only plain values are", path)
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path, (*above, id(node)))
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, i), (*above, id(node))) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path, above: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Node] = []
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._add(key, "a key must be a plain word")
                continue
            merge = str(key.tag) == f"{_PREFIX}merge"
            if not merge and str(key.tag) != f"{_PREFIX}str":
                self._add(key, f"a key must be text, not {key.value or 'nothing'}; put it in quotes")
                continue
            if key.value in first:
                self._add(key, f"duplicate key '{key.value}' (first in line {first[key.value]})")
                continue
            first[key.value] = key.start_mark.line + 1
            if merge:
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            self.tree.keys[(*path, key.value)] = self._mark(key)
            result[key.value] = self._value(value, (*path, key.value), above)
        for source in merged:
            self._merge(source, path, above, result)
        return result

    def _merge(self, source: Node, path: Path, above: tuple[int, ...], result: dict[str, Any]) -> None:
        """Take over what is not written: what ``<<`` refers to."""
        if not isinstance(source, MappingNode):
            self._add(source, "<< takes a mapping or a list of mappings")
            return
        reader = _Reader(self.shown, self.fixed)
        reader.visited = self.visited
        extra = reader._value(source, (), above)
        self.visited = reader.visited
        self.problems += reader.problems
        self.tree.faulty += [path + inner for inner in reader.tree.faulty]
        for name in extra or {}:
            if name not in result:
                piece = reader.tree
                result[name] = extra[name]
                self.tree.values |= {path + p: m for p, m in piece.values.items() if p[:1] == (name,)}
                self.tree.keys |= {path + p: m for p, m in piece.keys.items() if p[:1] == (name,)}

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        kind = str(node.tag).removeprefix(_PREFIX)
        text: str = node.value
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in {"true", "yes", "on", "y"}
        if kind == "int":
            return self._integer(node, text, path)
        if kind == "float":
            return self._float(node, text, path)
        return text

    def _integer(self, node: ScalarNode, text: str, path: Path) -> Any:
        digits = text.replace("_", "")
        try:
            # a leading 0 is decimal, as YAML 1.2 has it
            return int(digits) if re.fullmatch(r"[-+]?\d+", digits) else int(digits, 0)
        except ValueError:
            if len(digits) > 4000:
                self._add(node, "a number of more than 4000 digits", path)
                return None
            return text

    def _float(self, node: ScalarNode, text: str, path: Path) -> Any:
        try:
            number = float(text.replace("_", "").replace(".nan", "nan").replace(".NaN", "nan").replace(".inf", "inf"))
        except ValueError:
            return text
        if math.isnan(number):
            self._add(node, "NaN is not a value", path)
            return None
        if math.isinf(number):
            self._add(node, f"'{text}' is infinite or out of range", path)
            return None
        # 1e6 is a whole number to everyone but YAML
        return int(number) if number.is_integer() and "." not in text and abs(number) < 2**63 else number


def _plain(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "").strip()
    if "\\t" in problem:
        return "a tab; YAML is indented with spaces"
    return f"{error.context}: {problem}" if error.context and error.problem else problem
