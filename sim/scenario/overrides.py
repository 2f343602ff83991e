"""Values from outside the scenario's body: --set, --seed and variants, written into the tree with their own marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InputError, Problem
from sim.dispatch.registry import LEVELS, NAME
from sim.scenario.fields import shown
from sim.scenario.positions import read_value
from sim.scenario.schema import Dispatch
from sim.scenario.transports import Transport
from sim.scenario.tree import Mark, Path, Tree

_TOP = ("dispatch", "gpus", "stop", "telemetry")
_TRANSPORT = ("fabric", "transport")
# a mapping set over one of these changes only the keys it names
SECTIONS = {(), ("fabric",), ("fabric", "switch"), _TRANSPORT, *((name,) for name in _TOP)}
_FIXED = ("variants", "plugins")  # what a variant can't change


@dataclass(frozen=True)
class Override:
    """One value for one key. ``mark`` is the place that errors name."""

    path: Path
    value: Tree
    mark: Mark


def from_options(
    sets: Sequence[str], seed: int | str | None, varied: Sequence[tuple[str, str]], problems: list[Problem]
) -> list[Override]:
    """The overrides of the command line, in order; a policy's kind before its parameters.

    ``varied``: (key, value) of a sweep's point.
    """
    given: list[Override] = []
    for text in sets:
        key, equals, value = text.partition("=")
        # a link's arrow holds no '=', so the first one divides
        label = f"--set:{key}"
        if not equals or not key:
            problems.append(Problem(label, 0, 0, "write --set KEY=VALUE, such as --set fabric.topology.leaves=4"))
            continue
        given += _option(key, value, label, "--set", problems)
    if seed is not None:
        given += _option("seed", str(seed), "--seed", "--seed", problems)
    for key, value in varied:
        given += _option(key, value, f"--vary:{key}", "--vary", problems)
    given.sort(key=_after_kind)
    return [one for index, one in enumerate(given) if not _lost(one, given[index + 1 :], problems)]


def _after_kind(override: Override) -> bool:
    """Whether an override waits for others: a kind of policy takes the parameters of the old one away."""
    return override.path[-1] != "kind" or (override.path[0] != "dispatch" and override.path[:2] != _TRANSPORT)


def _option(key: str, value: str, label: str, origin: str, problems: list[Problem]) -> list[Override]:
    try:
        tree = read_value(value, label, origin)
    except InputError as error:
        problems += error.problems
        return []
    problems += tree.problems
    if any(not step for step in key.split(".")):
        problems.append(Problem(label, 0, 0, "the key has an empty step"))
        return []
    return [Override(split(key), tree, Mark(label, 0, 0, origin))]


def _lost(one: Override, later: Iterable[Override], problems: list[Problem]) -> bool:
    """Whether a later option replaces this one, which is surely not meant."""
    for other in later:
        if other.path == one.path or (_covers(other, one.path) and len(other.path) < len(one.path)):
            problems.append(one.mark.problem(f"has no effect: {other.mark.file.replace(':', ' ')} comes after it"))
            return True
    return False


def split(key: str) -> Path:
    """The path of a dotted key. Numbers are positions of lists; names of links may hold dots."""
    steps = key.split(".")
    if steps[:2] == ["fabric", "links"] and len(steps) > 3:
        tail = [steps[-1]] if steps[-1] in {"rate", "delay", "buffer", "ecn"} else []
        name = ".".join(steps[2 : len(steps) - len(tail)])
        return ("fabric", "links", name, *tail)
    if steps[0] == "variants" and len(steps) > 3:
        return ("variants", steps[1], ".".join(steps[2:]))
    return tuple(int(step) if step.isdecimal() and len(step) < 10 else step for step in steps)


def apply(tree: Tree, override: Override, problems: list[Problem]) -> None:
    """Write an override into the tree."""
    for one in flat(override):
        try:
            _write(tree, one)
        except ValueError as error:
            problems.append(one.mark.problem(str(error)))


def flat(override: Override) -> list[Override]:
    """A mapping over a section as one override for each key it names."""
    if override.path not in SECTIONS or not isinstance(override.value.data, dict):
        return [override]
    parts: list[Override] = []
    for name in override.value.data:
        mark = override.value.keys.get((name,), override.mark)
        mark = Mark(mark.file, mark.line, mark.column, override.mark.origin)
        parts += flat(Override((*override.path, name), override.value.subtree((name,)), mark))
    return sorted(parts, key=_after_kind) if override.path == _TRANSPORT else parts


def _write(tree: Tree, one: Override) -> None:
    value = Tree(
        one.value.data,
        {p: _of(m, one) for p, m in one.value.values.items()},
        dict(one.value.keys),
        [],
        one.value.faulty,
    )
    path = _named_keys(tree, one.path)
    if path[:1] == ("dispatch",) and len(path) > 2 and path[1] in LEVELS:
        if path[2:] == ("kind",):
            # another policy has other parameters: nothing of the old one stays
            tree.put(path[:2], value, one.mark)
            return
        _as_mapping(tree, path[:2], one.mark)
    if path == (*_TRANSPORT, "kind") and tree.has((*_TRANSPORT, "parameters")):
        before = tree.get(path) if tree.has(path) else Transport.model_fields["kind"].default
        if before != value.data:
            tree.remove((*_TRANSPORT, "parameters"))
    tree.put(path, value, one.mark)


def _of(mark: Mark, one: Override) -> Mark:
    return Mark(mark.file, mark.line, mark.column, one.mark.origin)


def _named_keys(tree: Tree, path: Path) -> Path:
    """Numbers in a path are positions of lists only; below a mapping they are names."""
    node: Any = tree.data
    steps: list[str | int] = []
    for step in path:
        steps.append(step if isinstance(node, list) else str(step))
        known = (isinstance(node, dict) and steps[-1] in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        )
        node = node[steps[-1]] if known else None
    return tuple(steps)


def _as_mapping(tree: Tree, path: Path, mark: Mark) -> None:
    """A bare policy name as {kind: name}, so that a parameter can be set beside it."""
    word = tree.get(path) if tree.has(path) else Dispatch.model_fields[str(path[-1])].default
    if not isinstance(word, str):
        return
    own = tree.values.get(path) or Mark(mark.file, mark.line, mark.column, mark.origin)
    whole = Tree({"kind": word}, {(): own, ("kind",): own}, {("kind",): own})
    tree.put(path, whole, tree.keys.get(path, mark))


def take_variants(tree: Tree, problems: list[Problem]) -> dict[str | None, list[Override]]:
    """The variants of the file, taken out of the tree."""
    if "variants" not in tree.data:
        return {}
    whole = tree.subtree(("variants",))
    place = tree.value_mark(("variants",))
    tree.remove(("variants",))
    if whole.data is None:
        return {}
    if not isinstance(whole.data, dict):
        problems.append(place.problem(f"variants is a mapping from names to overrides, not {shown(whole.data)}"))
        return {}
    variants: dict[str | None, list[Override]] = {}
    for name, changes in whole.data.items():
        mark = whole.keys.get((name,), place)
        if not NAME.match(name):
            problems.append(mark.problem(f"the variant's name '{name}' must match [a-z0-9_-]+"))
        if changes is not None and not isinstance(changes, dict):
            problems.append(mark.problem(f"a variant is a mapping of overrides, not {shown(changes)}"))
            continue
        ones = [one for key in changes or {} for one in _of_variant(whole, name, key, problems)]
        variants[name] = sorted(ones, key=_after_kind)
    return variants


def _of_variant(whole: Tree, name: str, key: str, problems: list[Problem]) -> list[Override]:
    written = whole.key_mark((name, key))
    mark = Mark(written.file, written.line, written.column, f"variant {name} ({written.origin})")
    path = split(key)
    if path[0] in _FIXED:
        problems.append(mark.problem(f"a variant can't change {path[0]}"))
        return []
    return [Override(path, whole.subtree((name, key)), mark)]


def idle(given: list[Override], variants: dict[str | None, list[Override]]) -> list[Problem]:
    """A --set key that every variant sets would do nothing."""
    if not variants:
        return []
    problems: list[Problem] = []
    parts = {name: [part for change in changes for part in flat(change)] for name, changes in variants.items()}
    for one in given:
        if all(
            all(any(_covers(part, leaf.path) for part in of_variant) for of_variant in parts.values())
            for leaf in flat(one)
        ):
            problems.append(one.mark.problem("has no effect: every variant sets it"))
    return problems


def _covers(change: Override, path: Path) -> bool:
    """Whether ``change`` replaces what stands at ``path``."""
    target = change.path
    if target[:1] == ("dispatch",) and target[2:] == ("kind",):
        target = target[:2]
    if change.path in SECTIONS and isinstance(change.value.data, dict):
        return False
    return path[: len(target)] == target


def lift_patterns(tree: Tree) -> None:
    """A pattern written as a mapping, {pattern: incast, senders: 15}, stands for its keys in the workload itself."""
    workload = tree.data.get("workload")
    for index, item in enumerate(workload if isinstance(workload, list) else []):
        if not isinstance(item, dict) or item.get("kind") != "matrix" or not isinstance(item.get("pattern"), dict):
            continue
        path: Path = ("workload", index, "pattern")
        inner = tree.subtree(path)
        tree.remove(path)
        for name in inner.data:
            own = "pattern" if name == "kind" else name
            tree.put(("workload", index, own), inner.subtree((name,)), inner.keys[(name,)])
