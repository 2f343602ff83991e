"""Flows on given paths, capped, moved and stopped at random among others: in every engine the books are right."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simpy.events import Event

from sim.build import World, build
from sim.flow_times import broken_parts
from sim.progress import Progress
from sim.run import broken_laws, run_world
from sim.scenario.load import load
from sim.tables import tables_of

_SCENARIO = """
name: x
stop: {{stall: {stall}}}
events: {events}
engine: {engine}
fabric:
  topology:
    kind: leaf_spine
    leaves: 3
    spines: 3
    hosts_per_leaf: 3
    host_link: {{rate: 100Gbps, delay: 500ns}}
    fabric_link: {{rate: 100Gbps, delay: 300ns}}
  switch: {{buffer: {buffer}}}
  transport: {transport}
dispatch: {{path: {path}}}
workload:
  - {{kind: flows, arrivals: {{kind: poisson, load: 0.5}}, sizes: {{kind: exponential, mean: 30KB}}, count: 200}}
"""
ENGINES = {
    "window": ("packet", "{kind: window, rto: 30us}", "ecmp"),
    "go-back-n": ("packet", "{recovery: go_back_n, rto: 30us}", "spray"),
    "line rate, pieces that wait": ("packet", "{kind: line_rate}", "{kind: ethereal, batch_timer: 3us, jitter: 2us}"),
    "fluid": ("fluid", "{kind: line_rate}", "ethereal"),
    "ideal": ("ideal", "{kind: line_rate}", "ecmp"),
}


class Meddler:
    """Sends flows over paths that it chooses, moves and stops them; some it leaves to the policy, and stops."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, np.random.default_rng(seed)
        self.mine: list[int] = []
        self.ways: dict[int, list[tuple[int, ...]]] = {}
        world.clock.process(self.meddle())

    def meddle(self) -> Generator[Event, Any, None]:
        rng, flows = self.rng, self.world.flows
        for _ in range(300):
            yield self.world.clock.timeout(int(rng.integers(300_000)))
            for _ in range(int(rng.integers(1, 3))):
                act = rng.random()
                if act < 0.5 or not self.ways:
                    self.send()
                elif act < 0.7:
                    flow = int(rng.choice(list(self.ways)))
                    flows.move(flow, self.ways[flow][int(rng.integers(len(self.ways[flow])))])
                else:
                    flows.stop(int(rng.choice(self.mine[-8:])))
            flow = int(rng.integers(len(flows.flow)))
            assert 0 <= flows.arrived(flow) <= flows.flow[flow].bytes

    def send(self) -> None:
        rng, world = self.rng, self.world
        src, dst = (int(host) for host in rng.choice(world.topology.hosts, 2, replace=False))
        ways = world.flows._view.routes.paths(src, dst)
        size = int(rng.integers(1, 200_000))
        if rng.random() < 0.3:
            self.mine.append(world.flows.send(src, dst, size))
            return
        cap = int(rng.integers(1, 150)) * 10**9 if rng.random() < 0.7 else None
        way = ways[int(rng.integers(len(ways)))]
        flow = world.flows.send(src, dst, size, path=way, cap=cap, weight=float(rng.choice([1.0, 0.25])))
        self.mine.append(flow)
        self.ways[flow] = ways


def a_world(folder: Path, story: str, buffer: str = "unlimited", events: str = "[]", stall: str = "1s") -> World:
    engine, transport, path = ENGINES[story]
    file = folder / "x.yaml"
    values = {"engine": engine, "transport": transport, "path": path, "buffer": buffer}
    file.write_text(_SCENARIO.format(**values, events=events, stall=stall))
    return build(load(file)[0])


def run(world: World) -> dict[str, Any]:
    """The tables of a run that keeps all laws."""
    with Progress(world, True, "") as progress:
        assert run_world(world, progress) == ("completed", [])
    world.flows.settle()
    tables = tables_of(world)
    assert broken_laws(world) + broken_parts(tables) == []
    return tables


@pytest.mark.parametrize("story", ENGINES)
def test_bytes_times_and_loads_add_up(story: str, tmp_path: Path) -> None:
    lossy = "line_rate" not in ENGINES[story][1]  # at line rate what is lost stays lost
    world = a_world(tmp_path, story, "40KB" if lossy else "unlimited")
    meddler, flows = Meddler(world, len(story)), world.flows
    table = run(world)["flows"]
    statuses = table["status"].value_counts()
    assert statuses["stopped"] > 30
    assert statuses["finished"] > 100
    assert table["fct_us"].notna().tolist() == (table["status"] == "finished").tolist()
    assert table["end_us"].notna().all()
    assert sum(flows.arrived(flow) for flow in range(len(flows.flow))) == world.network.delivered_bytes()
    assert not flows._view.loads.any()
    parts = [0 < flows.arrived(flow) < flows.flow[flow].bytes for flow in meddler.mine]
    assert sum(parts) > 10
    assert len(flows.moved) > 20


@pytest.mark.parametrize("story", ENGINES)
def test_a_capped_flow_alone_takes_its_unloaded_time(story: str, tmp_path: Path) -> None:
    """Long after all others; so slowly that two packets are further apart than the watchdog's patience."""
    world = a_world(tmp_path, story, stall="1ms")
    path = world.flows._view.routes.paths(0, 8)[2]
    flow = world.flows.send(0, 8, 9000, path=path, cap=10**7)
    row = run(world)["flows"].loc[flow]
    assert row["status"] == "finished"
    assert row["slowdown"] == pytest.approx(1.0, abs=1e-9)
    least = 2 * 4160 if ENGINES[story][0] == "packet" else 9000  # bytes that are paced before the end
    assert least * 8 / 10 < row["fct_us"] < least * 8 / 10 + 10


def test_a_given_path_is_left_alone_when_tables_change(tmp_path: Path) -> None:
    events = "[{at: 100us, link: leaf0-spine1, set: down}, {at: 900us, link: leaf0-spine1, set: up}]"
    world = a_world(tmp_path, "fluid", events=events)
    ways = world.flows._view.routes.paths(0, 8)
    through = [way for way in ways if "leaf0->spine1" in [world.topology.link_name[link] for link in way]]
    flows = [world.flows.send(0, 8, 10**6, path=way, cap=10**10) for way in (ways[0], *through)]
    table = run(world)["flows"].loc[flows]
    assert table["path"].str.contains("spine1").tolist() == [False, True]
    assert table["end_us"].iloc[1] == pytest.approx(table["end_us"].iloc[0] + 800, abs=1)


def test_a_cap_without_a_path_is_refused(tmp_path: Path) -> None:
    flows = a_world(tmp_path, "fluid").flows
    with pytest.raises(ValueError, match="needs a path"):
        flows.send(0, 1, 1000, cap=10**9)
    with pytest.raises(ValueError, match="that the policy chose"):
        flows.move(flows.send(0, 1, 1000), (0, 3))
