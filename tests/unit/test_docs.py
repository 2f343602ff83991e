"""The guides are true: files are written and commands run, in order, in folders that look like the repository.

A comment above a block says what it is: ``file: NAME`` (written), ``small: OPTIONS`` (added to each simulation of the
block), ``exit: CODE`` (expected), ``install`` (compared with the README), ``elsewhere: WHY`` (not run: it needs what a
test has not, such as a cluster). A text block after commands that fail is what they must print. Blocks of Python run as
the cells of one notebook.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import run_sim

ROOT = Path(__file__).parents[2]
# pages of docs/
GUIDES = (
    "guide", "admission", "sweep", "python", "htsim", "validate", "why", "report", "compare", "failures",
    "load_balancing", "routers", "serving",
)  # fmt: skip
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


class Block(NamedTuple):
    kind: str
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = [Block(match["kind"], match["mark"] or "", match["text"]) for match in BLOCK.finditer(page.read_text())]
    assert len(found) == page.read_text().count("```") / 2
    return found


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's entries, where results may land, and ``python`` as ours."""
    folder = tmp_path_factory.mktemp("desk")
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name not in ("results", "tests", "mine", "bin"):
            (folder / entry.name).symlink_to(entry)
    (folder / "mine").mkdir()
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    # modules come from the repository itself: a link to it is another place to Numba, which would compile anew
    path = f"PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(str(ROOT))}"
    python.write_text(f'#!/bin/sh\n{path} exec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return folder


def run(desk: Path, command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr. Our own command line is called here: starting it anew each time would take longer."""
    words = shlex.split(command)
    if words[:2] == ["python", "run_sim.py"]:
        capsys.readouterr()
        code = run_sim.main(words[2:])
        return code, *capsys.readouterr()
    path = f"PATH={shlex.quote(str(desk / 'bin'))}:$PATH"
    done = subprocess.run(["sh", "-c", f"{path} {command}"], cwd=desk, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_works_from_top_to_bottom(
    page: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    before = ""
    names: dict[str, object] = {"__name__": "__main__"}
    for kind, mark, text in blocks(ROOT / "docs" / f"{page}.md"):
        what, _, value = mark.partition(": ")
        if what == "elsewhere":
            continue
        if what == "file":
            (desk / value).write_text(text)
        elif what == "install":
            assert text in (ROOT / "README.md").read_text()
        elif kind == "bash":
            for line in text.strip().split("\n"):
                is_run = "run_sim.py" in line and not re.search(
                    r"run_sim\.py (check|list|plot|why|report|timeline)", line
                )
                code, out, err = run(desk, f"{line} {value}" if what == "small" and is_run else line, capsys)
                assert code == (int(value) if what == "exit" else 0), f"{line}\n{out}{err}"
                before = err if what == "exit" else ""
        elif kind == "python":
            exec(compile(text, f"{page}.md", "exec"), names)
        elif before:
            assert text == before
            before = ""
    if page == "guide":
        assert (desk / "results" / "load" / "plots" / "load_curves.png").stat().st_size > 10_000


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert missing == []


OWN = "two_choices"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The documented plugin, copied out of the repository."""
    copy = tmp_path / "elsewhere" / f"{OWN}.py"
    copy.parent.mkdir()
    copy.write_text((ROOT / "docs" / "plugins" / f"{OWN}.py").read_text())
    return copy


SCENARIO = """name: own
fabric: {topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}
workload: [{kind: matrix, pattern: permutation, size: 100KB}]
"""


@pytest.mark.parametrize("way", ["--plugin", "plugins:"])
def test_a_policy_outside_the_repository(way: str, plugin: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "own.yaml"
    if way == "--plugin":
        scenario.write_text(SCENARIO)
        options = ["--plugin", str(plugin), "--set", f"dispatch.path={OWN}"]
    else:
        scenario.write_text(SCENARIO + f"plugins: [elsewhere/{OWN}.py]\ndispatch: {{path: {OWN}}}\n")
        options = []
    command = [sys.executable, str(ROOT / "run_sim.py"), str(scenario), *options, "--no-plots", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = (tmp_path / "results" / "own" / "manifest.json").read_text()
    assert f'"kind": "{OWN}"' in manifest


def test_a_policy_that_is_not_given_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(SCENARIO + f"dispatch: {{path: {OWN}}}\n")
    command = [sys.executable, str(ROOT / "run_sim.py"), "own.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"own.yaml:4:18: no path policy '{OWN}'" in done.stderr
