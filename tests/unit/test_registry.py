"""Policies by name: built-in ones without import, users' own files, and what is said about faulty ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import InputError
from sim.dispatch import registry
from sim.dispatch.registry import LEVELS, Registry, UnknownPolicyError

ROOT = Path(__file__).parents[2]
GOOD = '''"""Always the first path."""

from sim.dispatch.api import Field, PolicyParams, Time

LEVEL = "path"
NAME = "mine"


class Params(PolicyParams):
    wait: Time = Field(default=1000, description="How long.")


class Policy:
    pass
'''


def write(folder: Path, text: str) -> Path:
    path = folder / "own.py"
    path.write_text(text)
    return path


def test_listing_imports_no_policy() -> None:
    code = (
        "import sys; from sim.dispatch.registry import Registry; r = Registry();"
        "names = [(level, n) for level in ('collective', 'path', 'packet') for n in r.names(level)];"
        "[r.describe(*name) for name in names];"
        "print(len(names), [m for m in sys.modules if m.startswith('sim.dispatch.p') and m.count('.') > 2])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    number, modules = done.stdout.split(" ", maxsplit=1)
    assert int(number) >= 16
    assert modules.strip() == "[]"


def test_every_policy_loads_and_describes_itself() -> None:
    registry = Registry()
    for level in LEVELS:
        for name in registry.names(level):
            assert registry.describe(level, name)
            assert registry.load(level, name).Params.model_config["extra"] == "forbid"


def test_unknown_names_have_a_hint() -> None:
    registry = Registry()
    with pytest.raises(UnknownPolicyError, match="did you mean 'ethereal'"):
        registry.load("path", "etheral")
    with pytest.raises(UnknownPolicyError, match="'spray' is a path policy"):
        registry.load("packet", "spray")


def test_a_plugin_belongs_to_its_registry(tmp_path: Path) -> None:
    registry = Registry()
    policy = registry.add_plugin(write(tmp_path, GOOD))
    assert (policy.level, policy.name) == ("path", "mine")
    assert registry.load("path", "mine") is policy
    assert registry.describe("path", "mine") == "Always the first path."
    assert "mine" in registry.names("path")
    assert "mine" not in Registry().names("path")
    assert len(policy.digest) == 64
    assert policy.Params.model_validate({"wait": "2us"}).wait == 2_000_000


def test_the_file_name_is_the_name(tmp_path: Path) -> None:
    policy = Registry().add_plugin(write(tmp_path, GOOD.replace('NAME = "mine"\n', "")))
    assert policy.name == "own"


FAULTS = {
    "syntax": (GOOD.replace("class Policy:", "class Policy"), "own.py:13:13: not valid Python"),
    "no_level": (GOOD.replace('LEVEL = "path"\n', ""), "own.py:1:1: the plugin has no LEVEL"),
    "bad_level": (GOOD.replace('"path"', '"paths"'), "own.py:5:1: unknown level 'paths'; did you mean 'path'?"),
    "bad_name": (GOOD.replace('"mine"', '"My Own"'), "own.py:6:1: the policy's name 'My Own' must match"),
    "taken": (GOOD.replace('"mine"', '"ecmp"'), "own.py:6:1: there is a path policy 'ecmp' already"),
    "no_params": (GOOD.replace("class Params", "class Param"), "own.py:1:1: the policy has no 'Params'"),
    "other_params": (GOOD.replace("(PolicyParams)", ""), "own.py:9:1: 'Params' must be a class derived from"),
    "no_controller": (
        GOOD.replace('"path"', '"admission"'),
        "own.py:9:1: 'Params' must be a class derived from sim.dispatch.api.ControllerParams",
    ),
    "no_router": (
        GOOD.replace('"path"', '"request"'),
        "own.py:9:1: 'Params' must be a class derived from sim.dispatch.api.RouterParams",
    ),
    "no_policy": (GOOD.replace("class Policy", "class Polici"), "own.py:1:1: a path policy needs 'Policy'"),
    "no_pick": (GOOD.replace('"path"', '"packet"'), "own.py:1:1: a packet policy needs 'pick'"),
    "raises": (GOOD + "\nPolicy.missing\n", "own.py:16:1: the plugin fails: AttributeError"),
    "imports": ("import nowhere\n" + GOOD, "own.py:1:1: the plugin fails: ModuleNotFoundError"),
    "exits": ("raise SystemExit(0)\n", "own.py:1:1: the plugin fails: SystemExit"),
    "nul": (GOOD + "\0", "own.py:1:1: not valid Python"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faulty_plugins_are_named_with_their_line(case: str, tmp_path: Path) -> None:
    text, message = FAULTS[case]
    with pytest.raises(InputError) as caught:
        Registry().add_plugin(write(tmp_path, text), "own.py")
    assert message in str(caught.value)


def test_levels_that_are_planned_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LATER_LEVELS", ("storage",))
    with pytest.raises(InputError, match="policies of level 'storage' are not in this version"):
        Registry().add_plugin(write(tmp_path, GOOD.replace('"path"', '"storage"')), "own.py")
