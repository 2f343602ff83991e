"""Drives a sweep: what is finished is kept, what is damaged is set aside, the rest runs, and failures are counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.sweep.bar import Bar
from sim.sweep.cells import Cell
from sim.sweep.estimate import Estimate
from sim.sweep.executors import Executor, LostClusterError, open_executor
from sim.sweep.experiment import Experiment
from sim.sweep.folder import Failure, SweepFolder
from sim.sweep.index import write_index, write_plan

if TYPE_CHECKING:
    import pyarrow as pa


class NoPlaceError(RuntimeError):
    """Results can't be written any more: the disk is full, or the folder may not be written."""


@dataclass
class Outcome:
    """What came of a sweep. ``results``: a folder or a failure for each cell; None where it did not run.

    ``no_place``: why it ended early, where it could not go on: no place for results, or no cluster any more.
    """

    results: list[Path | Failure | None] = field(default_factory=list)
    finished_before: int = 0
    interrupted: bool = False
    no_place: str = ""
    index: pa.Table | None = None

    @property
    def failures(self) -> list[Failure]:
        """Each failed cell once."""
        found = {result.digest: result for result in self.results if isinstance(result, Failure)}
        return list(found.values())

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 1 if self.no_place or self.failures else 0


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    *,
    workers: int = 1,
    cluster: str | None = None,
    quiet: bool = False,
    executor: Executor | None = None,
) -> list[Path | Failure]:
    """Run what is not there of ``cells``; the folder of each in ``out``, or why it failed, in their order.

    ``executor``: one that is open already, to keep its workers warm between calls; else one is opened for this call.
    InputError: ``out`` is something else. NoPlaceError: nothing more can be written. KeyboardInterrupt: stopped.
    """
    outcome = _run(cells, Path(out), workers, cluster, quiet, executor)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.no_place:
        raise NoPlaceError(outcome.no_place)
    return [result for result in outcome.results if result is not None]


def run_sweep(
    experiment: Experiment,
    seeds: Sequence[int],
    out: Path,
    *,
    workers: int = 1,
    cluster: str | None = None,
    quiet: bool = False,
) -> Outcome:
    """Run an experiment on ``seeds`` into ``out``, with its plan and its index, which an interrupt leaves too."""
    cells = experiment.cells(seeds=seeds)
    outcome = _run(cells, out, workers, cluster, quiet, None, experiment)
    try:
        outcome.index = write_index(out)
    except OSError as error:
        outcome.no_place = outcome.no_place or f"{out}: {error.strerror or error}"
    return outcome


def _run(
    cells: Sequence[Cell],
    out: Path,
    workers: int,
    cluster: str | None,
    quiet: bool,
    executor: Executor | None,
    experiment: Experiment | None = None,
) -> Outcome:
    outcome = Outcome()
    with ExitStack() as stack:
        folder = SweepFolder(out, cells[0].name)
        if cluster is not None and any(not folder.has(cell.digest) for cell in cells):
            # before anything is written: its address may be wrong
            executor = stack.enter_context(open_executor(workers, cluster))
        stack.enter_context(folder)
        bar = stack.enter_context(Bar(quiet))
        done: dict[str, None] = {}
        failed: dict[str, Failure] = {}
        try:
            if experiment is not None:
                write_plan(folder.out, experiment.name, experiment.axes, cells)
            missing, done = _sort(cells, folder, bar, planned=experiment is not None)
            outcome.finished_before = len(done)
            if missing:
                active = executor or stack.enter_context(open_executor(workers))
                _work(active, missing, done, failed, folder, bar, Estimate(folder, list(done), len(missing), workers))
        except KeyboardInterrupt:
            outcome.interrupted = True
        except (NoPlaceError, LostClusterError) as error:
            outcome.no_place = str(error)
        except OSError as error:
            outcome.no_place = f"{folder.out}: {error.strerror or error}"
    outcome.results = [folder.path(c.digest) if c.digest in done else failed.get(c.digest) for c in cells]
    return outcome


def _sort(cells: Sequence[Cell], folder: SweepFolder, bar: Bar, *, planned: bool) -> tuple[list[Cell], dict[str, None]]:
    """The cells to run, each once, and the digests of those that are finished. Damaged ones are set aside.

    ``planned``: these are all cells of the folder's index.
    """
    missing: dict[str, Cell] = {}
    done: dict[str, None] = {}
    failed = 0
    for cell in cells:
        if cell.digest in missing or cell.digest in done:
            continue
        try:
            state = folder.state(cell.digest)
        except InputError as error:
            kept = folder.set_aside(cell.digest)
            bar.say(f"{error}: kept as {kept.name}, the cell runs again")
            state = "missing"
        failed += state == "failed"
        if state == "done":
            done[cell.digest] = None
        else:
            missing[cell.digest] = cell
    listed = {*missing, *done}
    others = sum(path.is_dir() and path.name not in listed and "." not in path.name for path in folder.cells.iterdir())
    if done or failed:
        again = f", {failed} that failed run again" if failed else ""
        bar.say(f"{len(done)} of {len(listed)} cells are finished already{again}")
    if others and planned:
        bar.say(f"{others} cells of other sweeps (or of other code) are kept, but are not in this index")
    return list(missing.values()), done


def _work(
    executor: Executor,
    missing: Sequence[Cell],
    done: dict[str, None],
    failed: dict[str, Failure],
    folder: SweepFolder,
    bar: Bar,
    estimate: Estimate,
) -> None:
    said = estimate.text()
    bar.say(said or f"{len(missing)} cells to run; time and size are told after the first")
    bar.start(len(missing))
    runs = executor.run(missing, folder.cells, bar.say)
    try:
        for cell, failure in runs:
            if failure is None:
                done[cell.digest] = None
                said = said or _told(estimate, cell, bar)
            elif failure.fatal:
                kept = f"{len(done)} finished cells are kept, and the same command goes on from there"
                raise NoPlaceError(f"{folder.out}: {failure.reason}; {kept}")
            else:
                failed[cell.digest] = failure
                folder.write_failure(failure, cell.label)
                bar.say(f"failed: {cell.label}: {failure.stage}: {failure.reason}")
            bar.step(len(failed))
    finally:
        runs.close()  # type: ignore[attr-defined]


def _told(estimate: Estimate, cell: Cell, bar: Bar) -> str:
    estimate.add(cell.digest)
    said = estimate.text()
    bar.say(said)
    return said
