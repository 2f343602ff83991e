"""Who runs the cells: this process, processes of this machine, or dask workers anywhere. The only file that knows dask.

Each gives the same results; they differ in what happens to a worker that dies. Local processes: the pool is made
anew, and a cell that was under way three times when it broke has failed. Dask: its scheduler gives the cells of a lost
worker to others, up to ``distributed.scheduler.allowed-failures`` times.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from models.errors import InputError, Problem
from sim.sweep.cells import Cell
from sim.sweep.folder import Failure
from sim.sweep.worker import run_cell

_STRIKES = 3  # times that a cell may be under way when a worker dies
_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
Say = Callable[[str], None]
Done = tuple[Cell, Failure | None]


class LostClusterError(RuntimeError):
    """The scheduler is gone, and with it what it had to run."""


class Executor(Protocol):
    """``with executor:``, then ``run`` as often as there are cells: workers start once and stay warm."""

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, cells: Sequence[Cell], folder: Path, say: Say) -> Iterator[Done]:
        """Runs all ``cells`` into ``folder``; each as it is done. Closing the iterator drops what is not."""
        ...


def open_executor(workers: int = 1, cluster: str | None = None) -> Executor:
    """``cluster``: a dask scheduler's address, or ``local``. InputError where dask is missing or not reached."""
    if cluster is not None:
        return DaskExecutor(cluster, workers)
    return LocalProcesses(workers) if workers > 1 else InProcess()


class InProcess:
    """One cell after the other, here."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(self, cells: Sequence[Cell], folder: Path, say: Say) -> Iterator[Done]:
        for cell in cells:
            yield cell, run_cell(cell, folder)


class LocalProcesses:
    """New processes (spawn), each with one thread of BLAS and Numba, and the compiled cache that all share."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._before: dict[str, str | None] = {}
        self._leash: tuple[Connection, Connection] | None = None

    def __enter__(self) -> LocalProcesses:
        # libraries read these when they are imported, so the processes must be born with them
        self._before = {name: os.environ.get(name) for name in _SINGLE}
        os.environ.update(dict.fromkeys(_SINGLE, "1"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _begin(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._leash = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_start, initargs=(self._leash[0],)
            )
        return self._pool

    def _end(self) -> None:
        """Ends the workers, whatever they do."""
        if self._pool is None or self._leash is None:
            return
        self._leash[1].close()
        self._pool.shutdown(cancel_futures=True)
        self._leash[0].close()
        self._pool = self._leash = None

    def run(self, cells: Sequence[Cell], folder: Path, say: Say) -> Iterator[Done]:
        waiting = deque(cells)
        strikes: dict[str, int] = {}
        under_way: dict[Future[Failure | None], Cell] = {}
        try:
            while waiting or under_way:
                try:
                    self._submit(waiting, under_way, strikes, folder)
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        result = future.result()
                        yield under_way.pop(future), result
                except BrokenProcessPool:
                    lost = list(under_way.values())
                    under_way.clear()
                    self._end()
                    say(f"a worker process died; {len(lost)} cells that were under way or next start again")
                    for cell in reversed(lost):
                        strikes[cell.digest] = strikes.get(cell.digest, 0) + 1
                        if strikes[cell.digest] < _STRIKES:
                            waiting.appendleft(cell)
                        else:
                            reason = f"its worker process died {_STRIKES} times (out of memory?)"
                            yield cell, Failure(cell.digest, "run", reason)
        finally:
            if under_way:
                self._end()

    def _submit(
        self,
        waiting: deque[Cell],
        under_way: dict[Future[Failure | None], Cell],
        strikes: dict[str, int],
        folder: Path,
    ) -> None:
        """One cell more than workers, so that none waits; a suspect runs alone, so that only the guilty fails."""
        while waiting and len(under_way) <= self._workers:
            suspect = any(cell.digest in strikes for cell in [waiting[0], *under_way.values()])
            if suspect and under_way:
                return
            cell = waiting.popleft()
            try:
                with _deaf_to_interrupts(self._pool is None):
                    under_way[self._begin().submit(run_cell, cell, folder)] = cell
            except BrokenProcessPool:
                waiting.appendleft(cell)
                raise


@contextmanager
def _deaf_to_interrupts(starting: bool) -> Iterator[None]:
    """While processes are ``starting``: they are born deaf as well, else Ctrl-C would end them amid their imports."""
    if not starting or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal, but it is the sweep's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _start(leash: Connection) -> None:
    """A worker's first act. When the sweep lets go of the leash, or dies, the worker ends."""
    _ignore_interrupts()

    def hold() -> None:
        try:
            leash.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=hold, daemon=True).start()


class DaskExecutor:
    """Workers of dask.distributed: a cluster's, by the address of its scheduler, or ``local`` ones."""

    def __init__(self, address: str, workers: int) -> None:
        self._address, self._workers = address, workers
        self._cluster: Any = None
        self._client: Any = None

    def __enter__(self) -> DaskExecutor:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            message = "dask.distributed is not installed: pip install 'distributed>=2025.1'"
            raise InputError([Problem("--cluster", 0, 0, message)]) from None
        if self._address == "local":
            self._cluster = LocalCluster(
                n_workers=self._workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            )
        try:
            self._client = Client(self._cluster or self._address, timeout="10s")
        except (OSError, ValueError) as error:
            message = f"no dask scheduler at '{self._address}': {str(error).splitlines()[0]}"
            raise InputError([Problem("--cluster", 0, 0, message)]) from None
        if self._cluster is not None:
            self._client.run(_ignore_interrupts)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def run(self, cells: Sequence[Cell], folder: Path, say: Say) -> Iterator[Done]:
        from distributed import CancelledError, KilledWorker, as_completed

        client = self._client
        futures = {client.submit(run_cell, cell, folder, pure=False, retries=2): cell for cell in cells}
        try:
            for future in as_completed(futures):
                cell = futures[future]
                try:
                    yield cell, future.result()
                except KilledWorker as error:
                    reason = "the workers that ran it died, one after the other (out of memory?)"
                    yield cell, Failure(cell.digest, "run", reason, str(error))
                except CancelledError:
                    message = f"the dask scheduler at {client.scheduler.address} is gone; finished cells are kept"
                    raise LostClusterError(message) from None
                future.release()
        finally:
            client.cancel(list(futures))
