"""One scenario -> one result directory; a scenario with variants -> one directory each."""

from __future__ import annotations

import gc
import hashlib
import json
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simpy.events import Event

from sim.build import World, build
from sim.build_packets import chooses
from sim.clock import Clock
from sim.flow_times import broken_parts
from sim.network.protocol import INFINITY
from sim.progress import Progress
from sim.record import fabric_facts, mark_interrupted, write_run, write_variants
from sim.scenario.load import Loaded
from sim.scenario.show import text_of
from sim.tables import tables_of

PROGRAM_VERSION = "0.1.0"
_LIBRARIES = ("highspy", "networkx", "numba", "numpy", "ortools", "pandas", "pulp", "pyarrow", "scipy", "simpy")
_LISTED = 12  # reasons that are listed one by one
_PS_PER_US = 1_000_000


@dataclass
class Outcome:
    """How the runs ended: status by variant (one entry, "", without variants), and the exit code."""

    status: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 3 if any(status in {"stopped", "stalled"} for status in self.status.values()) else 0


class BrokenInvariantError(RuntimeError):
    """A run broke a law that every run must keep: a fault of the program, not of the input."""


def run_all(loaded: Sequence[Loaded], folder: Path, quiet: bool = False) -> Outcome:
    """Runs every variant into ``folder``. Results so far are written when interrupted."""
    outcome = Outcome()
    many = loaded[0].variant is not None
    for one in loaded:
        world = build(one)
        name = one.variant or ""
        target = folder / name if many else folder
        target.mkdir(exist_ok=True)
        with Progress(world, quiet, f"{world.loaded.scenario.name} {name}".strip()) as progress:
            outcome.status[name] = run_one(world, target, progress)
        outcome.interrupted = progress.interrupted
        if many:
            head = {**_manifest(world), "variant": None, "policies": {}, "loads": []}
            write_variants(folder, outcome.status, effective=text_of(one.effective), manifest=head)
        if outcome.interrupted:
            mark_interrupted(target)
            if many:
                mark_interrupted(folder)
            break
    return outcome


class _SeldomCollected(ContextDecorator):
    """Python's collector walks over all flows again and again, and finds nothing: what a run drops is in no cycles.

    Runs in several threads share the collector: the last one to end gives it back as it was.
    """

    _lock = threading.Lock()
    _running = 0
    _before = (0, 0, 0)

    def __enter__(self) -> None:
        with self._lock:
            if _SeldomCollected._running == 0:
                _SeldomCollected._before = gc.get_threshold()
                gc.set_threshold(1_000_000, 10, 10)
            _SeldomCollected._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            _SeldomCollected._running -= 1
            if _SeldomCollected._running == 0:
                gc.set_threshold(*_SeldomCollected._before)


@_SeldomCollected()
def run_one(world: World, folder: Path, progress: Progress) -> str:
    """Runs and writes one world; returns its status."""
    started, cpu = time.perf_counter(), time.process_time()
    status, reasons = run_world(world, progress)
    world.flows.settle()
    world.serving.settle()
    tables = tables_of(world)
    broken = broken_laws(world) + broken_parts(tables)
    if broken:
        raise BrokenInvariantError("; ".join(broken))
    wall = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "simulated_us": world.clock.now / _PS_PER_US,
        "host": platform.node(),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    write_run(
        folder,
        effective=text_of(world.loaded.effective),
        manifest=_manifest(world),
        tables=tables,
        status=status,
        reasons=reasons,
        empty=_why_empty(world),
        wall=wall,
    )
    return status


def run_world(world: World, progress: Progress) -> tuple[str, list[str]]:
    """Carries the clock until the work is done, a limit comes, or nothing moves any more."""
    clock, scenario = world.clock, world.loaded.scenario
    limit = clock.event()
    if scenario.stop.time is not None:
        world.housekeeping += 1
        # after everything else of that instant
        clock.at(scenario.stop.time, limit.succeed, priority=10)
    stalled = clock.event()
    done = clock.all_of([work.done for work in world.work])
    drained = clock.event()
    drains = bool(world.work) and not world.endless
    clock.process(_watch(world, stalled, lambda: drains and done.triggered and not world.network.active()))
    if drains:
        clock.process(_drain(world, done, drained))
    end = clock.any_of([limit, stalled, drained])
    try:
        with _interruptible(clock):
            clock.run(until=end)
    except KeyboardInterrupt:
        progress.interrupted = True
    world.flows.collect()
    waiting = [line for work in world.work for line in work.describe_waiting()]
    waiting += world.serving.describe_waiting() + world.flows.describe_open()
    lost = world.flows.unreachable()
    if progress.interrupted:
        return "stopped", ["interrupted", *waiting[:_LISTED], *lost]
    if stalled.triggered:
        waiting = waiting or [f"{world.flows.active()} flows wait for their last ACK"]
        return "stalled", ["nothing moves any more", *_circle(world), *lost, *_listed(waiting)]
    if not drained.triggered and world.work and not done.triggered:
        return "stopped", ["stop.time came while work was unfinished", *_listed(waiting), *lost]
    notes = lost + _notes(world)
    if _saturated(world):
        return "saturated", ["the backlog kept growing: no steady-state mean is claimed", *notes]
    return "completed", notes


def _circle(world: World) -> list[str]:
    """The links that wait for each other, where priority flow control has come to that."""
    links = world.network.deadlock()
    names = [world.topology.link_name[link] for link in links]
    return [f"deadlock of paused links: {', '.join(names)}, and again the first"] if names else []


def _notes(world: World) -> list[str]:
    """What a reader of the results must know."""
    policy = world.loaded.dispatch["packet"].policy
    notes = world.moe.notes() + world.admission.notes() + world.serving.notes()
    notes += [f"GPU {device.index} ran out of memory" for device in world.gpus.out_of_memory()[:_LISTED]]
    scenario = world.loaded.scenario
    if scenario.packets:
        return notes
    told = []
    if chooses(policy.module):
        told.append(f"{policy.name} stands for an even spread over all equal-cost paths")
    if any(event.set == "loss" for event in scenario.events):
        told.append("events that lose packets change nothing")
    return notes + [f"the engine {scenario.engine} has no packets: {text}" for text in told]


@contextmanager
def _interruptible(clock: Clock) -> Iterator[None]:
    """An interrupt waits for a point where clock and engine agree; a raise anywhere would leave half an event."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: setattr(clock, "interrupted", True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _listed(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _LISTED else [*lines[:_LISTED], f"and {len(lines) - _LISTED} more"]


def _drain(world: World, done: Event, drained: Event) -> Generator[Event, Any, None]:
    """When all work is done, the last ACKs still come home; flows that nobody waits for still end."""
    yield done
    world.housekeeping += 1
    step = 1_000_000
    while world.network.active():
        yield world.clock.timeout(step)
        step = min(2 * step, 10**12)
    drained.succeed()


def _watch(world: World, stalled: Event, drained: Callable[[], bool]) -> Generator[Event, Any, None]:
    """The watchdog: stalled when nothing but housekeeping is planned and the network sleeps or only runs its timers.

    ``drained``: whether all is done and gone, though nobody has looked yet.
    """
    clock, network = world.clock, world.network
    patience = max(world.loaded.scenario.stop.stall, world.serving.patience)
    seen = -1
    while True:
        step = max(patience, 2 * network.longest_gap())
        yield clock.timeout(step * _looks_to_skip(world, step))
        planned = len(clock._queue) - world.housekeeping
        asleep = network.next_time() == INFINITY
        moved = network.delivered_bytes() + len(world.flows.flow) + sum(one.over for one in world.serving.served)
        only_timers = moved == seen and world.loaded.scenario.packets
        # what a router holds may go on with the next report, until many of them have changed nothing
        stuck = moved == seen or not world.serving.patience
        if planned <= 0 and (asleep or only_timers) and stuck and not drained():
            stalled.succeed()
            return
        seen = moved


def _looks_to_skip(world: World, step: int) -> int:
    """How many steps the watchdog may sleep, 1 at least: up to the last look before all that is planned can be over."""
    times = sorted(event[0] for event in world.clock._queue)
    planned = len(times) - world.housekeeping
    if planned <= 0:
        return 1
    # whichever of them are housekeeping, one of the others comes at this time or later
    ahead: int = times[planned - 1] - world.clock.now
    return max(1, (ahead - 1) // step)


def _saturated(world: World) -> bool:
    """Whether an open loop offered more than the fabric took, or demands than the controller answered."""
    serving = world.serving
    if serving.open_loop():  # their flows go on after the last one came
        alone = len(serving.served) == len(world.loaded.scenario.workload)
        if alone and not serving.ramped_up():
            return False
        return world.telemetry.backlog_grew(serving.last_arrival(), serving.first_arrival())
    if not world.loads and not world.endless and world.admission.asked is None:
        return False
    last = max((flow.start for flow in world.flows.flow[-1:]), default=world.admission.last_arrival())
    return world.telemetry.backlog_grew(last)


def broken_laws(world: World) -> list[str]:
    """What must hold in every run; an empty list if it does."""
    flows = world.flows
    broken = world.network.check(int(world.clock.now)) + world.admission.broken() + world.serving.broken()
    packets = world.loaded.scenario.packets
    slack = 0 if packets else 2  # ps: fluid times are rounded up from floats
    early = [
        flow.id
        for flow, end, ideal, status in zip(flows.flow, flows.end, flows.ideal, flows.status, strict=True)
        if 0 <= end < flow.start + ideal - slack - (0 if packets else ideal // 10**12)
        and status == "finished"
        and flow.id not in flows.moved
    ]
    # a flow that was moved to another path, as by faults, has an ideal of its first one
    if early and world.faults is None:
        broken.append(f"{len(early)} flows ended before their unloaded time, such as flow {early[0]}")
    open_flows = flows.status.count("unfinished")
    if open_flows < flows.active():
        broken.append(f"{flows.active()} flows are under way, but only {open_flows} are listed as unfinished")
    return broken


def _why_empty(world: World) -> dict[str, str]:
    scenario = world.loaded.scenario
    off = "telemetry.flow_times is false"
    reasons = {} if scenario.telemetry.flow_times else {"flow_times": off, "hops": off}
    if not scenario.packets:
        no_packets = f"the engine {scenario.engine} has no packets"
        return {"reordering": no_packets, "hops": no_packets} | reasons
    return {"reordering": "no data packet arrived"} | reasons


def versions() -> dict[str, str]:
    """Of the program, of Python and of the libraries that numbers depend on, as far as they are installed."""
    found = {"spillway": PROGRAM_VERSION, "python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _manifest(world: World) -> dict[str, Any]:
    loaded = world.loaded
    scenario = loaded.scenario
    inputs = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in loaded.inputs}
    policies = {
        level: {"kind": choice.policy.name, **json.loads(choice.params.model_dump_json())}
        for level, choice in loaded.dispatch.items()
    }
    return {
        "name": scenario.name,
        "variant": loaded.variant,
        "seed": scenario.seed,
        "engine": scenario.engine,
        "policies": policies,
        "loads": world.loads,
        "fabric": fabric_facts(world.topology),
        "versions": versions(),
        "inputs": inputs,
    }
