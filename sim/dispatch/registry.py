"""Policies by name. A built-in policy is a file in its level's folder; a user's comes from a file or an entry point.

Names are listed without importing anything; a module is loaded only when it is chosen. Nothing is global: a
``Registry`` belongs to a run and holds its plugins. Entry points of the group ``spillway.policies`` are called
``<level>.<name>`` and point at a module.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from models.errors import InputError, Problem, nearest
from sim.dispatch.api import ControllerParams, PolicyParams, RouterParams

LEVELS = ("collective", "path", "packet", "transport", "expert", "admission", "request")
LATER_LEVELS: tuple[str, ...] = ()
NAME = re.compile(r"[a-z0-9_-]+\Z")
_GROUP = "spillway.policies"
_FOLDER = Path(__file__).parent
# what the parameters of a level derive from
PARAMS: dict[str, type[PolicyParams]] = {"admission": ControllerParams, "request": RouterParams}
_NEEDS = {
    "collective": ("Policy",),
    "path": ("Policy",),
    "expert": ("Policy",),
    "admission": ("Policy",),
    "request": ("Policy",),
    "packet": ("pick", "state", "uses_queues"),
    "transport": ("react", "memory"),
}
# what a module may have beside that; True: the value is True or False, False: it can be called
_MAY_HAVE = {
    "packet": {
        **dict.fromkeys(("uses_queues", "uses_loads", "uses_buffer"), True),
        **dict.fromkeys(("spread", "hear", "memory", "learn", "tick", "period"), False),
    },
    "transport": {
        **dict.fromkeys(("uses_telemetry", "uses_sent"), True),
        **dict.fromkeys(("marking", "options"), False),
    },
}
STAMPS = ("", "loads", "queues")  # what a packet policy may have its packets gather


@dataclass(frozen=True)
class Policy:
    """A policy that is loaded: its module, and the model of its parameters."""

    name: str
    level: str
    module: ModuleType
    Params: type[PolicyParams]
    origin: str  # "built-in", a file's path, or the entry point's name
    digest: str  # of a user's file, for the manifest; "" for built-in ones


class UnknownPolicyError(LookupError):
    """No policy of this name at this level; the message has the nearest valid one."""


class Registry:
    """The policies of one run: built-in, entry points and the given plugins."""

    def __init__(self) -> None:
        self._plugins: dict[tuple[str, str], Policy] = {}
        self._loaded: dict[tuple[str, str], Policy] = {}
        self._entry_points: dict[tuple[str, str], importlib.metadata.EntryPoint] | None = None

    def names(self, level: str) -> list[str]:
        """The policies of a level, sorted; nothing is imported."""
        found = set(_built_in(level)) | {name for other, name in self._plugins if other == level}
        return sorted(found | {name for other, name in self._points() if other == level})

    def describe(self, level: str, name: str) -> str:
        """The first line of the policy's docstring; '' where there is none."""
        if (level, name) in self._plugins:
            text = self._plugins[level, name].module.__doc__
        elif name in _built_in(level):
            text = ast.get_docstring(ast.parse((_FOLDER / level / f"{name}.py").read_text(encoding="utf-8")))
        else:
            text = f"from the entry point {self._points()[level, name].value}"
        return (text or "").strip().split("\n")[0]

    def load(self, level: str, name: str) -> Policy:
        """Import the policy. UnknownPolicyError for an unknown name, InputError where a user's module is faulty."""
        if (level, name) in self._plugins:
            return self._plugins[level, name]
        if (level, name) not in self._loaded:
            self._loaded[level, name] = self._import(level, name)
        return self._loaded[level, name]

    def _import(self, level: str, name: str) -> Policy:
        if name in _built_in(level):
            module = importlib.import_module(f"sim.dispatch.{level}.{name}")
            return Policy(name, level, module, module.Params, "built-in", "")
        if (level, name) not in self._points():
            raise UnknownPolicyError(f"no {level} policy '{name}'{self.hint(level, name)}")
        point = self._points()[level, name]
        label = f"entry point {level}.{name}"
        try:
            module = point.load()
        except Exception as error:  # whatever a user's module raises is his input
            raise InputError([Problem(label, 0, 0, f"{type(error).__name__}: {error}")]) from error
        faults = [Problem(label, 0, 0, fault) for fault in _faults(module, level)]
        if faults:
            raise InputError(faults)
        return Policy(name, level, module, module.Params, label, "")

    def hint(self, level: str, name: str) -> str:
        """Where an unknown name belongs to another level, says so; else the nearest name of this level."""
        for other in LEVELS:
            if other != level and name in self.names(other):
                return f"; '{name}' is a {other} policy"
        return nearest(name, self.names(level))

    def add_plugin(self, file: Path, shown: str | None = None) -> Policy:
        """Load a user's policy file. InputError with the file's own line where it has one."""
        shown = shown or str(file)
        try:
            source = file.read_bytes()
        except OSError as error:
            raise InputError([Problem(shown, 0, 0, f"the plugin can't be read: {error.strerror}")]) from None
        module = _execute(file, shown, source)
        lines = _lines_of_names(source)
        problems: list[Problem] = []

        def fault(about: str, message: str) -> None:
            problems.append(Problem(shown, lines.get(about, 1), 1, message))

        level = getattr(module, "LEVEL", None)
        name = getattr(module, "NAME", file.stem)
        if level is None:
            fault("", f'the plugin has no LEVEL; write LEVEL = "path" (levels: {", ".join(LEVELS)})')
        elif level in LATER_LEVELS:
            fault("LEVEL", f"policies of level '{level}' are not in this version")
        elif level not in LEVELS:
            fault("LEVEL", f"unknown level {level!r}{nearest(str(level), LEVELS)}")
        if not isinstance(name, str) or not NAME.match(name):
            fault("NAME", f"the policy's name {name!r} must match [a-z0-9_-]+; set NAME")
        for text in _faults(module, level if level in LEVELS else None):
            fault(text.split("'")[1] if "'" in text else "", text)
        if not problems and name in self.names(str(level)):
            fault("NAME", f"there is a {level} policy '{name}' already; give this one another NAME")
        if problems:
            raise InputError(problems)
        policy = Policy(str(name), str(level), module, module.Params, shown, hashlib.sha256(source).hexdigest())
        self._plugins[policy.level, policy.name] = policy
        return policy

    def plugins(self) -> list[Policy]:
        """The users' policies of this run, in order of level and name."""
        return [self._plugins[key] for key in sorted(self._plugins)]

    def _points(self) -> dict[tuple[str, str], importlib.metadata.EntryPoint]:
        if self._entry_points is None:
            found = importlib.metadata.entry_points(group=_GROUP)
            split = {(point.name.partition(".")[0], point.name.partition(".")[2]): point for point in found}
            self._entry_points = {key: point for key, point in split.items() if key[0] in LEVELS and NAME.match(key[1])}
        return self._entry_points


def _built_in(level: str) -> list[str]:
    """File names without .py; those that begin with _ are helpers of a level."""
    return sorted(path.stem for path in (_FOLDER / level).glob("*.py") if not path.stem.startswith("_"))


def _faults(module: ModuleType, level: str | None) -> Iterable[str]:
    """What a policy module lacks. ``level`` None: only what every level needs."""
    params = getattr(module, "Params", None)
    base = PARAMS.get(level or "", PolicyParams)
    if params is None:
        yield f"the policy has no 'Params'; write class Params({base.__name__})"
    elif not (isinstance(params, type) and issubclass(params, base)):
        yield f"'Params' must be a class derived from sim.dispatch.api.{base.__name__}"
    may_have = _MAY_HAVE.get(level or "", {})
    for needed in _NEEDS.get(level or "", ()):
        if not hasattr(module, needed):
            yield f"a {level} policy needs '{needed}'"
        elif needed not in may_have and not callable(getattr(module, needed)):
            if needed == "pick" and module.pick is None and hasattr(module, "spread"):
                continue  # hosts choose, not switches
            yield f"'{needed}' can't be called"
    for name, is_flag in may_have.items():
        value = getattr(module, name, None)
        if is_flag and hasattr(module, name) and not isinstance(value, bool):
            yield f"'{name}' must be True or False"
        elif not is_flag and value is not None and not callable(value):
            yield f"'{name}' can't be called"
    if level == "packet":
        yield from _incomplete(module)


def _incomplete(module: ModuleType) -> Iterable[str]:
    """What parts of a packet policy need beside them."""
    has = {name for name in ("spread", "hear", "memory", "learn", "tick", "period") if getattr(module, name, None)}
    if {"spread", "hear"} & has and "memory" not in has:
        yield "a policy with 'spread' needs 'memory'"
    if "hear" in has and "spread" not in has:
        yield "'hear' belongs to a policy with 'spread'"
    if "spread" in has and (getattr(module, "pick", None) or "learn" in has):
        yield "where hosts 'spread', switches hash: there is no pick and no learn"
    if "tick" in has and "period" not in has:
        yield "a policy with 'tick' needs 'period'"
    if getattr(module, "stamps", "") not in STAMPS:
        yield f"'stamps' must be one of {', '.join(map(repr, STAMPS))}"
    elif "learn" in has and not getattr(module, "stamps", ""):
        yield "a policy with 'learn' needs 'stamps'"


def _execute(file: Path, shown: str, source: bytes) -> ModuleType:
    """Run a plugin as a module of its own. It stays in sys.modules: pydantic and Numba look names up there."""
    try:
        code = compile(source, str(file), "exec")
    except SyntaxError as error:
        place = (error.lineno or 1, error.offset or 1)
        raise InputError([Problem(shown, *place, f"not valid Python: {error.msg}")]) from None
    except ValueError as error:  # NUL bytes
        raise InputError([Problem(shown, 1, 1, f"not valid Python: {error}")]) from None
    mark = hashlib.sha256(str(file.resolve()).encode() + source).hexdigest()[:12]
    label = f"spillway_plugin_{re.sub(r'[^A-Za-z0-9]', '_', file.stem)}_{mark}"
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, file)
    if spec is None:
        raise InputError([Problem(shown, 0, 0, "a plugin must be a Python file (.py)")])
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module
    try:
        exec(code, module.__dict__)  # a plugin is the user's own code, asked for by name
    except (Exception, SystemExit) as error:
        del sys.modules[label]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = frames[-1].lineno if frames and frames[-1].lineno else 1
        reason = (str(error).strip() or "no message").split("\n")[0]
        raise InputError([Problem(shown, line, 1, f"the plugin fails: {type(error).__name__}: {reason}")]) from error
    return module


def _lines_of_names(source: bytes) -> dict[str, int]:
    """Line of each name that the file defines at its top."""
    lines: dict[str, int] = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            lines[node.name] = node.lineno
        elif isinstance(node, ast.Assign):
            lines |= {target.id: node.lineno for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines[node.target.id] = node.lineno
    return lines
