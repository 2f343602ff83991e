"""Every file of ``broken/`` is refused with exactly the problems that its first lines expect, and nothing is written.

``# expect: LINE:COLUMN: start of the message`` is about the file itself; other files are named in front.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import run_sim

BROKEN = Path(__file__).parent / "broken"
ROOT = Path(__file__).parents[2]
CASES = sorted(path.name for path in BROKEN.glob("*.yaml"))
THROUGH_A_SHELL = ["edges_csv.yaml", "many_at_once.yaml", "tag_runs_code.yaml"]
VALID = """name: x
fabric:
  topology: {kind: star, hosts: 4}
workload:
  - {kind: matrix, pattern: permutation, size: 1MB}
"""


def expected(name: str) -> list[str]:
    """The expected lines of stderr, each the beginning of one."""
    lines = (BROKEN / name).read_text(encoding="utf-8").splitlines()
    found = [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]
    return [f"{name}:{line}" if line[0].isdigit() else line for line in found]


def assert_refused(code: int, stderr: str, wanted: list[str]) -> None:
    lines = stderr.strip().splitlines()
    assert code == 2, stderr
    assert "Traceback" not in stderr
    assert "pydantic" not in stderr
    assert "Input should" not in stderr
    assert len(lines) == len(wanted), stderr
    for line, start in zip(lines, wanted, strict=True):
        assert line.startswith(start)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with all broken files and nothing else."""
    shutil.copytree(BROKEN, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 60
    assert all(expected(name) for name in CASES)


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in here.iterdir())
    code = run_sim.main([name, "--out", "results"])
    assert_refused(code, capsys.readouterr().err, expected(name))
    assert sorted(path.name for path in here.iterdir() if path.name != "__pycache__") == before


@pytest.mark.parametrize("name", THROUGH_A_SHELL)
def test_refused_through_a_shell(name: str, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_sim.py"), name], capture_output=True, text=True, check=False, cwd=here
    )
    assert_refused(done.returncode, done.stderr, expected(name))
    assert done.stdout == ""
    assert not (here / "results").exists()


BYTES = {
    "empty": (b"", "broken.yaml:1:1: the scenario is empty"),
    "only_a_comment": (b"# nothing\n", "broken.yaml:1:1: the scenario is empty"),
    "nul": (b"name: x\nseed: \x001\n", "broken.yaml:2:7: a control character (U+0000)"),
    "not_utf_8": (b"name: x\nengine: \xff\xfe\n", "broken.yaml:2:9: not UTF-8 text: byte 0xff"),
    "a_scalar": (b"hello\n", "broken.yaml:1:1: the scenario is 'hello', not a mapping"),
    "deep": (b"name: " + b"[" * 5000, "broken.yaml:1:1: not a scenario: nested too deeply"),
    "alias_bomb": (
        b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)),
        "broken.yaml:1:34: the aliases unfold to more than 500,000 values",
    ),
    "long_number": (b"name: x\nseed: " + b"9" * 5000 + b"\n", "broken.yaml:2:7: a number of more than 4000 digits"),
}


@pytest.mark.parametrize("case", BYTES)
def test_refused_bytes(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BYTES[case]
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_bytes(content)
    assert run_sim.main(["broken.yaml"]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr
    assert "Traceback" not in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.yaml"]


OPTIONS = {
    "no_file": (["x.yml"], "x.yml: no such file; did you mean 'x.yaml'?"),
    "set_unknown_key": (["--set", "fabric.topolgy.hosts=4"], "--set:fabric.topolgy.hosts: unknown key 'topolgy'"),
    "set_bare_number": (["--set", "workload.0.size=4"], "--set:workload.0.size: the bare number 4 has no unit"),
    "set_position": (["--set", "workload.3.size=4MB"], "--set:workload.3.size: there is no entry 3"),
    "set_word_in_list": (["--set", "workload.first.size=4MB"], "--set:workload.first.size: 'first' is no position"),
    "set_below_scalar": (["--set", "name.a=1"], "--set:name.a: 'name' is not a mapping"),
    "set_without_value": (["--set", "seed"], "--set:seed: write --set KEY=VALUE"),
    "set_bad_yaml": (["--set", "workload=[{"], "--set:workload: not valid YAML"),
    "set_nan": (["--set", "dispatch.path={kind: ecmp, same_seed: .nan}"], "--set:dispatch.path: NaN is not a value"),
    "set_twice": (["--set", "seed=1", "--set", "seed=2"], "--set:seed: has no effect: --set seed comes after it"),
    "set_tag": (["--set", "name=!!python/name:os.system"], "--set:name: the tag"),
    "set_kind_leaves_keys": (["--set", "fabric.topology.kind=leaf_spine"], "x.yaml:3:26: unknown key 'hosts'"),
    "seed": (["--seed", "many"], "--seed: 'seed' takes a whole number, not 'many'"),
    "too_many_packets": (
        ["--set", "workload.0.size=9TB"],
        "--set:workload.0.size: 9000000000000 bytes are more than 2^31",
    ),
    "plugin": (["--plugin", "own.py"], "--plugin:own.py: no file 'own.py'"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_refused_options(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = OPTIONS[case]
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(VALID)
    assert run_sim.main(words if words[0].endswith("yml") else ["x.yaml", *words]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr
    assert "Traceback" not in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.yaml"]


def test_a_set_key_that_every_variant_sets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(VALID + "variants:\n  a: {dispatch.path: ecmp}\n  b: {dispatch: {path: spray}}\n")
    assert run_sim.main(["x.yaml", "--set", "dispatch.path=wcmp"]) == 2
    assert "--set:dispatch.path: has no effect: every variant sets it" in capsys.readouterr().err
