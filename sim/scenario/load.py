"""``load``: a scenario file, ``--set``, ``--seed`` and variants -> checked scenarios, or all that is wrong with them.

Order: file, then --set, --seed and a sweep's --vary, then the variant. Setting a mapping over a section (fabric,
switch, transport, dispatch, stop, telemetry) changes the keys it names; over anything else it replaces the whole value,
and so a policy is replaced with its parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from pydantic import ValidationError

from models.errors import InputError, Problem, nearest
from models.topology import Topology
from sim.dispatch.api import PolicyParams
from sim.dispatch.registry import LEVELS, Policy, Registry, UnknownPolicyError
from sim.scenario import combine, overrides
from sim.scenario.fields import shown
from sim.scenario.messages import explain
from sim.scenario.overrides import Override
from sim.scenario.positions import read_file, read_text
from sim.scenario.schema import Dispatch, Scenario
from sim.scenario.serving_derived import with_engine_values
from sim.scenario.show import effective_of
from sim.scenario.transports import Transport
from sim.scenario.tree import Mark, Path, Tree

# where a workload names a file
_WORKLOAD_FILES = (("file",), *((name, "file") for name in ("sizes", "routing", "arrivals", "prompt", "output")))


class Text(NamedTuple):
    """A scenario that is no file. ``folder``: where the files are that it names."""

    text: str
    folder: FilePath
    keyed: bool = False  # made of Python's values: errors name the key, since there are no lines

    def tree(self) -> Tree:
        """Read, with every mark."""
        tree = read_text(self.text, "scenario")
        if self.keyed:
            for marks in (tree.values, tree.keys):
                for path in marks:
                    where = ":".join(["scenario", ".".join(map(str, path))] if path else ["scenario"])
                    marks[path] = Mark(where, 0, 0, "scenario")
        return tree


class Choice(NamedTuple):
    """The policy of one level and its checked parameters."""

    policy: Policy
    params: PolicyParams


@dataclass(frozen=True)
class Loaded:
    """One run: a checked scenario and all that is needed to say where its values came from."""

    variant: str | None
    scenario: Scenario
    dispatch: dict[str, Choice]  # by level
    registry: Registry
    file: FilePath
    inputs: list[FilePath]  # every file that was or will be read: the scenario, plugins, topology, workloads
    effective: dict[str, Any]  # plain values with units; loads to the same scenario
    origins: dict[Path, str]  # of each value of ``effective``
    tree: Tree = field(repr=False)
    built: list[Topology] = field(default_factory=list, repr=False)  # the topology, once it is built

    def problem_at(self, path: Path, message: str) -> Problem:
        """A problem at the value of ``path``, such as ("workload", 0, "senders")."""
        return self.tree.value_mark(path).problem(message)

    def beside(self, name: str) -> FilePath:
        """A file that the scenario names: relative to the scenario's folder."""
        return self.file.parent / name


def load(
    source: str | FilePath | Text,
    sets: Sequence[str] = (),
    seed: int | str | None = None,
    plugins: Sequence[str] = (),
    varied: Sequence[tuple[str, str]] = (),
    variant: str | None = None,
) -> list[Loaded]:
    """One entry for each variant, or one with ``variant`` None. InputError with every problem that was found.

    ``varied``: keys and values of a sweep's point, written as ``sets`` are but shown as --vary. ``variant``: only this.
    """
    if isinstance(source, Text):
        file, tree, own = source.folder / "scenario", source.tree(), []
    else:
        file = FilePath(source)
        tree, own = read_file(file, str(source)), [file]
    text = list(tree.problems)  # faults of the YAML itself
    if not isinstance(tree.data, dict):
        what = "is empty" if tree.data is None else f"is {shown(tree.data)}, not a mapping"
        raise InputError(text or [tree.values[()].problem(f"the scenario {what}; it needs name, fabric and workload")])
    given = overrides.from_options(sets, seed, varied, text)
    problems: list[Problem] = []
    for override in given:
        overrides.apply(tree, override, problems)
    variants = overrides.take_variants(tree, problems)
    problems += overrides.idle(given, variants)
    if variant is not None:
        variants = {variant: variants[variant]}
    registry, plugin_files = _registry(tree, file, plugins, problems)
    loaded: list[Loaded] = []
    found: list[list[Problem]] = []
    for name, changes in (variants or {None: []}).items():
        result = _one(name, changes, tree.copy(), file, registry)
        if isinstance(result, Loaded):
            result.inputs[:0] = own
            result.inputs.extend(plugin_files)
            loaded.append(result)
        found.append([] if isinstance(result, Loaded) else result)
    problems += by_variant(list(variants or {None: []}), found)
    # a value that is faulty as text stands as None: what the schema says about it and around it is noise
    marks = [tree.value_mark(path[:end]) for path in tree.faulty for end in (len(path), len(path) - 1)]
    noise = {(place.file, place.line, place.column) for place in [*text, *marks]}
    problems = text + [p for p in problems if (p.file, p.line, p.column) not in noise]
    if problems:
        raise InputError(problems)
    return loaded


def _one(
    variant: str | None, changes: list[Override], tree: Tree, file: FilePath, registry: Registry
) -> Loaded | list[Problem]:
    """One variant, or its problems."""
    problems: list[Problem] = []
    for change in changes:
        overrides.apply(tree, change, problems)
    overrides.lift_patterns(tree)
    scenario: Scenario | None = None
    try:
        scenario = Scenario.model_validate(tree.data)
    except ValidationError as error:
        problems += explain(error, Scenario, tree)
    dispatch = _dispatch(tree, registry, problems)
    inputs = _files(tree, file, problems)
    problems += combine.policies(dispatch, tree)
    if scenario is not None:
        problems += combine.scenario(scenario, dispatch, tree)
    if problems or scenario is None:
        return problems
    dispatch = {level: _at_once(choice, scenario) for level, choice in dispatch.items()}
    scenario = with_engine_values(scenario)
    effective, origins = effective_of(scenario, dispatch, tree)
    return Loaded(variant, scenario, dispatch, registry, file, inputs, effective, origins, tree)


def _at_once(choice: Choice, scenario: Scenario) -> Choice:
    """Batch timer and jitter stand for hosts' software: outside the packet engines they are 0 unless written."""
    params = choice.params
    names = [name for name in ("batch_timer", "jitter") if name in type(params).model_fields]
    zero = {name: 0 for name in names if name not in params.model_fields_set}
    if scenario.packets or not zero:
        return choice
    return Choice(choice.policy, params.model_copy(update=zero))


def _registry(
    tree: Tree, file: FilePath, plugins: Sequence[str], problems: list[Problem]
) -> tuple[Registry, list[FilePath]]:
    """The registry with the scenario's plugins and those of the command line."""
    registry = Registry()
    listed = tree.data.get("plugins")
    wanted: list[tuple[FilePath, str, Any]] = []
    for index, name in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(name, str):
            wanted.append((file.parent / name, str(file.parent / name), tree.value_mark(("plugins", index))))
    wanted += [(FilePath(name), name, None) for name in plugins]
    for path, shown_as, mark in wanted:
        if not path.is_file():
            missing = _missing(path)
            problems.append(mark.problem(missing) if mark else Problem(f"--plugin:{shown_as}", 0, 0, missing))
            continue
        try:
            registry.add_plugin(path, shown_as)
        except InputError as error:
            problems += error.problems
    return registry, [path for path, *_ in wanted]


def _dispatch(tree: Tree, registry: Registry, problems: list[Problem]) -> dict[str, Choice]:
    """The policies that could be loaded; what is wrong with the others goes to ``problems``."""
    choices: dict[str, Choice] = {}
    written = tree.data.get("dispatch")
    written = written if isinstance(written, dict) else {}
    for level in LEVELS:
        if level == "transport":
            choices |= _transport(tree, registry, problems)
            continue
        value = written.get(level, Dispatch.model_fields[level].default)
        path: Path = ("dispatch", level)
        params: dict[str, Any] = {}
        if isinstance(value, dict):
            params = {name: item for name, item in value.items() if name != "kind"}
            value = value.get("kind")
            path = (*path, "kind")
        if not isinstance(value, str):
            message = f"a {level} policy is a name or a mapping {{kind: name, ...}}"
            problems.append(tree.value_mark(path).problem(message))
            continue
        choices |= _choice(registry, level, value, params, tree, path, ("dispatch", level), problems)
    return choices


def _transport(tree: Tree, registry: Registry, problems: list[Problem]) -> dict[str, Choice]:
    """The policy of the level ``transport``, if it could be loaded. What is no word or mapping, the schema reports."""
    fabric = tree.data.get("fabric")
    written = fabric.get("transport") if isinstance(fabric, dict) else None
    written = written if isinstance(written, dict) else {}
    name, params = written.get("kind", Transport.model_fields["kind"].default), written.get("parameters", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        return {}
    base: Path = ("fabric", "transport")
    return _choice(registry, "transport", name, params, tree, (*base, "kind"), (*base, "parameters"), problems)


def _choice(
    registry: Registry,
    level: str,
    name: str,
    params: dict[str, Any],
    tree: Tree,
    path: Path,
    base: Path,
    problems: list[Problem],
) -> dict[str, Choice]:
    """The policy with its parameters by level, if both are right. ``path`` is of its name, ``base`` of these."""
    try:
        policy = registry.load(level, name)
        return {level: Choice(policy, policy.Params.model_validate(params, strict=True))}
    except UnknownPolicyError as error:
        problems.append(tree.value_mark(path).problem(str(error)))
    except ValidationError as error:
        problems += explain(error, policy.Params, tree, base)
    except InputError as error:
        problems += error.problems
    return {}


def _files(tree: Tree, file: FilePath, problems: list[Problem]) -> list[FilePath]:
    """Every file that the scenario names, if it is there."""
    data = tree.data
    places: list[Path] = [("fabric", "topology", "file"), ("fabric", "topology", "fabric", "file")]
    for index in range(len(data["workload"]) if isinstance(data.get("workload"), list) else 0):
        places += [("workload", index, *steps) for steps in _WORKLOAD_FILES]
        classes = tree.get(("workload", index, "classes")) if tree.has(("workload", index, "classes")) else None
        for one in range(len(classes) if isinstance(classes, list) else 0):
            places += [("workload", index, "classes", one, name, "file") for name in ("prompt", "output")]
    found: list[FilePath] = []
    for place in places:
        if not tree.has(place) or not isinstance(tree.get(place), str):
            continue
        path = file.parent / tree.get(place)
        if path.is_file():
            found.append(path)
        else:
            problems.append(tree.value_mark(place).problem(_missing(path)))
    return found


def _missing(path: FilePath) -> str:
    others = sorted(other.name for other in path.parent.iterdir() if other.is_file()) if path.parent.is_dir() else []
    same = [name for name in others if FilePath(name).suffix == path.suffix]
    return f"no file '{path}'{nearest(path.name, same)}"


def by_variant(names: Sequence[str | None], found: list[list[Problem]]) -> list[Problem]:
    """Problems of all variants once; those of some with the variant's name. ``found`` is by variant, at least one."""
    common = set.intersection(*(set(problems) for problems in found))
    result = sorted(common)
    for name, problems in zip(names, found, strict=True):
        for problem in sorted(set(problems) - common):
            text = f"{problem.message} (variant {name})"
            result.append(Problem(problem.file, problem.line, problem.column, text))
    return result
