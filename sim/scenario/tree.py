"""A scenario before it is checked: plain values, and beside them where each value and key was written."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from models.errors import Problem

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """A place: file, line and column from 1 (0: none, as for ``--set:KEY``), and how `check` names it."""

    file: str
    line: int
    column: int
    origin: str

    def problem(self, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, message)


@dataclass
class Tree:
    """``data`` of dicts, lists and scalars; ``values`` and ``keys`` have the mark of each path.

    ``problems`` are those of the text itself; the values at ``faulty`` stand as None because of them.
    """

    data: Any
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    faulty: list[Path] = field(default_factory=list)

    def copy(self) -> Tree:
        return Tree(
            copy.deepcopy(self.data), dict(self.values), dict(self.keys), list(self.problems), list(self.faulty)
        )

    def has(self, path: Path) -> bool:
        node = self.data
        for step in path:
            inside = step in node if isinstance(node, dict) else isinstance(node, list) and step in range(len(node))
            if not inside:
                return False
            node = node[step]
        return True

    def get(self, path: Path) -> Any:
        node = self.data
        for step in path:
            node = node[step]
        return node

    def value_mark(self, path: Path) -> Mark:
        """Where the value stands; of a value that is not written, the nearest mapping around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.values:
                # a mapping is best shown at its key
                whole = length < len(path) or isinstance(self.get(path[:length]), (dict, list))
                if whole and path[:length] in self.keys:
                    return self.keys[path[:length]]
                return self.values[path[:length]]
        return self.values[()]

    def key_mark(self, path: Path) -> Mark:
        return self.keys.get(path) or self.value_mark(path)

    def subtree(self, path: Path) -> Tree:
        cut = len(path)
        return Tree(
            copy.deepcopy(self.get(path)),
            {p[cut:]: mark for p, mark in self.values.items() if p[:cut] == path},
            {p[cut:]: mark for p, mark in self.keys.items() if p[:cut] == path and len(p) > cut},
            faulty=[p[cut:] for p in self.faulty if p[:cut] == path],
        )

    def remove(self, path: Path) -> None:
        """Take a value out, with all that is below it."""
        parent = self.get(path[:-1])
        del parent[path[-1]]
        self._forget(path)

    def put(self, path: Path, new: Tree, key: Mark) -> None:
        """Write a value; mappings on the way are made. ValueError where the way leads through something else."""
        node = self.data
        for depth, step in enumerate(path[:-1]):
            node = self._step(node, path, depth, step, key)
        last = path[-1]
        if isinstance(node, list):
            if not isinstance(last, int) or not 0 <= last < len(node):
                raise ValueError(_outside(node, last))
        elif not isinstance(node, dict):
            raise ValueError(f"'{_dotted(path[:-1])}' is not a mapping")
        self._forget(path)
        node[last] = copy.deepcopy(new.data)
        self.values |= {path + below: mark for below, mark in new.values.items()}
        self.keys |= {path + below: mark for below, mark in new.keys.items()}
        self.keys[path] = key
        self.faulty += [path + below for below in new.faulty]

    def _step(self, node: Any, path: Path, depth: int, step: str | int, key: Mark) -> Any:
        here = path[: depth + 1]
        if isinstance(node, list):
            if not isinstance(step, int) or not 0 <= step < len(node):
                raise ValueError(_outside(node, step))
            return node[step]
        if not isinstance(node, dict):
            raise ValueError(f"'{_dotted(path[:depth])}' is not a mapping")
        if node.get(step) is None:
            node[step] = {}
            self.values[here] = self.keys[here] = key
        return node[step]

    def _forget(self, path: Path) -> None:
        cut = len(path)
        self.values = {p: mark for p, mark in self.values.items() if p[:cut] != path}
        self.keys = {p: mark for p, mark in self.keys.items() if p[:cut] != path}


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path) or "the scenario"


def _outside(items: list[Any], step: object) -> str:
    if not isinstance(step, int):
        return f"'{step}' is no position of a list; write a number from 0 to {len(items) - 1}"
    return f"there is no entry {step}; the list has {len(items)} (0 to {len(items) - 1})"
