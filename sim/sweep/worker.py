"""What a worker does: run one cell into the sweep's folder, or say at which stage and why it could not."""

from __future__ import annotations

import errno
import threading
import traceback
from pathlib import Path

from models.errors import InputError
from sim.build import build
from sim.progress import Progress
from sim.run import run_one
from sim.sweep.cells import Cell, digest_of, load_cell
from sim.sweep.folder import Failure, partial_cell

_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
_one_at_a_time = threading.Lock()  # a run's clock and signals are the process's own


def run_cell(cell: Cell, cells: Path) -> Failure | None:
    """Run a cell; None when it is in ``cells``. KeyboardInterrupt: nothing is."""
    with _one_at_a_time:
        return _run(cell, cells)


def _run(cell: Cell, cells: Path) -> Failure | None:
    stage = "load"
    try:
        if not (cells.parent / "manifest.json").exists():
            reason = f"this worker does not see {cells.parent}: results must go where all workers can write"
            return Failure(cell.digest, "write", reason, fatal=True)
        loaded = load_cell(cell)
        if digest_of(loaded) != cell.digest:
            reason = "the scenario, a file that it reads or the code is not the one that the sweep began with"
            return Failure(cell.digest, stage, reason, fatal=True)
        stage = "build"
        world = build(loaded)
        stage = "write"
        with partial_cell(cells, cell.digest) as partial:
            stage = "run"
            progress = Progress(world, True, "")
            run_one(world, partial, progress)
            if progress.interrupted:
                raise KeyboardInterrupt
            stage = "write"
    except InputError as error:
        return Failure(cell.digest, stage, "; ".join(map(str, error.problems)))
    except OSError as error:
        # a simulation itself opens no files
        stage = "write" if stage == "run" else stage
        reason = f"{error.strerror or error}" + (f": {error.filename}" if stage != "write" and error.filename else "")
        return Failure(cell.digest, stage, reason, traceback.format_exc(), fatal=error.errno in _NO_PLACE)
    except Exception as error:
        reason = (str(error).strip() or "no message").split("\n")[0]
        return Failure(cell.digest, stage, f"{type(error).__name__}: {reason}", traceback.format_exc())
    return None
