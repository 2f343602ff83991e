"""What can only be seen of events with the topology and the end of the run: names, rates, how often one repeats."""

from __future__ import annotations

from collections.abc import Iterator

from models import units
from models.errors import Problem, nearest
from models.topology import Topology
from sim.scenario.events import MOST_REPEATS, EventKeys, links_of
from sim.scenario.load import Loaded
from sim.scenario.serving import Requests


def event_problems(loaded: Loaded, topology: Topology) -> list[Problem]:
    """Every fault of the scenario's events."""
    end = loaded.scenario.stop.time
    served = [item for item in loaded.scenario.workload if isinstance(item, Requests)]
    replicas = sum(pool.maximum for item in served for pool in item.pool_list())
    return [
        loaded.problem_at(("events", index, name), message)
        for index, event in enumerate(loaded.scenario.events)
        for name, message in (*_names(event, topology, replicas), *_repeats(event, end))
    ]


def _names(event: EventKeys, topology: Topology, replicas: int) -> Iterator[tuple[str, str]]:
    """(key, message) of an element that is not there, or slower than what would be left of it."""
    if event.replica is not None:
        if event.replica >= replicas:
            there = f"the workloads have 0 to {replicas - 1}" if replicas else "no workload has any"
            yield "replica", f"there is no replica {event.replica}; {there}"
        return
    if event.link is not None:
        try:
            topology.find_links(event.link)
        except KeyError as error:
            yield "link", str(error.args[0])
            return
    else:
        name = str(event.switch or event.host)
        node = topology.node_index.get(name)
        wanted, other = ("switch", "a host") if event.switch is not None else ("host", "a switch")
        if node is None or (node < topology.hosts) != (wanted == "host"):
            text = f"no {wanted} '{name}'" if node is None else f"'{name}' is {other}"
            names = topology.node_name
            valid = names[: topology.hosts] if wanted == "host" else names[topology.hosts :]
            yield event.target, f"{text}{nearest(name, valid)}"
            return
    if isinstance(event.rate, int):
        slowest = int(topology.link_rate[list(links_of(event, topology))].min())
        if event.rate >= slowest:
            has = units.show(slowest, "rate")
            yield "rate", f"a degraded link is slower than it was; one of '{_element(event)}' has {has}"


def _repeats(event: EventKeys, end: int | None) -> Iterator[tuple[str, str]]:
    if event.every is None:
        return
    if event.until is None and end is None:
        yield "every", "an event that repeats needs 'until', or the run a stop.time"
    elif event.repeats(end) > MOST_REPEATS:
        yield "every", f"it would repeat {event.repeats(end):,} times; {MOST_REPEATS:,} at most"


def _element(event: EventKeys) -> str:
    return str(getattr(event, event.target))
