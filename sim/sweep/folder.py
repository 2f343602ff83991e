"""The folder of a sweep: ``manifest.json``, ``plan.json``, ``index.parquet``, ``timing.csv`` and ``cells/<digest>/``.

A cell is written into ``cells/.<digest>.<unique>.partial``, forced to the disk, and appears in one rename. So whatever
ends, a process or the power, a cell is there as a whole or not at all. A cell that failed holds ``failure.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from models.errors import InputError, Problem
from models.records import PROGRAM, SCHEMA, SWEEP, TABLES
from sim.record import write_json

State = Literal["missing", "done", "failed"]


@dataclass(frozen=True)
class Failure:
    """A cell that failed: where (``load``, ``build``, ``run``, ``write``) and why."""

    digest: str
    stage: str
    reason: str
    traceback: str = ""
    fatal: bool = False  # of the place where results go, so every other cell would fail too


class SweepFolder:
    """``with SweepFolder(out, name) as folder:`` made if it is not there, and ours alone until the end.

    InputError where ``out`` is something else, can't be written, or is in use by another sweep.
    """

    def __init__(self, out: Path, name: str) -> None:
        self.out = Path(os.path.abspath(out))
        self.name = name
        self.cells = self.out / "cells"
        self._lock: IO[str] | None = None

    def __enter__(self) -> SweepFolder:
        check_folder(self.out)
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.out)
            if not (self.out / "manifest.json").exists():
                head = {"program": PROGRAM, "schema": SCHEMA, "kind": SWEEP, "name": self.name}
                replace_text(self.out / "manifest.json", json.dumps(head, indent=2) + "\n")
            self._sweep_up()
        except OSError as error:
            raise InputError([Problem(str(self.out), 0, 0, f"can't write here: {error.strerror}")]) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweep_up()
        if self._lock is not None:
            self._lock.close()

    def _sweep_up(self) -> None:
        """Remove what workers that were stopped have left."""
        for left in self.cells.glob(".*.partial"):
            shutil.rmtree(left, ignore_errors=True)

    def path(self, digest: str) -> Path:
        return self.cells / digest

    def has(self, digest: str) -> bool:
        """Whether the cell seems to be finished; ``state`` looks closer."""
        return (self.path(digest) / "summary.json").is_file()

    def state(self, digest: str) -> State:
        """What there is of a cell. InputError where it is damaged."""
        path = self.path(digest)
        if not path.is_dir():
            return "missing"
        if (path / "failure.json").exists():
            return "failed"
        read_cell(path)
        return "done"

    def set_aside(self, digest: str) -> Path:
        """Keep a damaged cell under another name."""
        target = self.cells / f"{digest}.corrupt"
        number = 2
        while target.exists():
            target = self.cells / f"{digest}.corrupt-{number}"
            number += 1
        self.path(digest).rename(target)
        return target

    def write_failure(self, failure: Failure, label: str) -> None:
        """Keep why a cell failed; a disk that takes nothing more is no second fault."""
        try:
            with partial_cell(self.cells, failure.digest) as partial:
                write_json(
                    partial / "failure.json",
                    {"schema": SCHEMA, "cell": label, "stage": failure.stage, "reason": failure.reason},
                )
                (partial / "traceback.txt").write_text(failure.traceback, encoding="utf-8")
        except OSError:
            return


def check_folder(out: Path) -> None:
    """InputError where ``out`` exists and is not the folder of a sweep of this version, or an empty one."""
    problem = None
    if out.exists() and not out.is_dir():
        problem = "exists and is not a directory; choose another --out"
    elif out.is_dir() and (any(out.iterdir())):
        try:
            manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            manifest = None
        if not isinstance(manifest, dict) or manifest.get("program") != PROGRAM:
            problem = "exists and holds no Spillway manifest, so nothing is written into it; choose another --out"
        elif manifest.get("kind") != SWEEP:
            problem = "holds the results of a run, not of a sweep; choose another --out"
        elif manifest.get("schema") != SCHEMA:
            problem = f"has schema {manifest.get('schema')!r}; this version writes {SCHEMA}: choose another --out"
    if problem:
        raise InputError([Problem(str(out), 0, 0, problem)])


def _lock(out: Path) -> IO[str] | None:
    """Ours until it is closed or the process ends, however that may be. None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    file = (out / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError([Problem(str(out), 0, 0, "another sweep is at work in this folder")]) from None
    except OSError:  # a file system without locks
        file.close()
        return None
    return file


@contextmanager
def partial_cell(cells: Path, digest: str) -> Iterator[Path]:
    """A folder to write a cell into; it appears at the end, unless the cell is there already."""
    partial = cells / f".{digest}.{uuid.uuid4().hex[:12]}.partial"
    partial.mkdir()
    try:
        yield partial
        _force(partial)
        _publish(partial, cells / digest)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _force_entry(cells)


def _publish(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
        return
    except OSError:
        if not target.exists():
            raise
    if (target / "failure.json").exists():  # tried again
        old = partial.with_name(f"{partial.name.removesuffix('.partial')}.old.partial")
        target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    # else another process was faster, with the same bytes


def _force(folder: Path) -> None:
    """Everything below onto the disk, so that the rename can't survive a power cut that its content does not."""
    for path in folder.iterdir():
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    _force_entry(folder)


def _force_entry(folder: Path) -> None:
    if os.name == "nt":
        return  # directories can't be opened there
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def replace_text(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or as it was."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8", newline="\n"))


def replace_file(path: Path, write: Any) -> None:
    """``write(partial)``, then one rename over ``path``."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        number = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_cell(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(manifest, summary) of a finished cell; InputError where anything of it is missing or can't be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def damaged(file: Path, message: str) -> InputError:
        return InputError([Problem(str(file), 0, 0, f"{message}; the cell is damaged")])

    found: list[dict[str, Any]] = []
    for name in ("manifest.json", "summary.json"):
        file = path / name
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise damaged(file, f"can't be read ({type(error).__name__})") from None
        if not isinstance(content, dict):
            raise damaged(file, "is not a JSON object")
        if content.get("schema") != SCHEMA:
            message = f"has schema {content.get('schema')!r}; this version reads {SCHEMA}"
            raise InputError([Problem(str(file), 0, 0, message)])
        found.append(content)
    for name in TABLES:
        rows = found[1].get(name, {}).get("count", 0)
        file = path / f"{name}.parquet"
        try:
            if rows and pq.read_metadata(file).num_rows != rows:
                raise damaged(file, f"has not the {rows} rows of the summary")
        except (OSError, pa.ArrowException):
            raise damaged(file, "can't be read") from None
    return found[0], found[1]
