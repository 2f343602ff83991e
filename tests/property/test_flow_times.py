"""Where the time of flows went: sums that are exact on thousands of random flows, and splits that are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.explained import PARTS
from sim.build import World, build
from sim.flow_times import broken_parts
from sim.progress import Progress
from sim.run import broken_laws, run_world
from sim.scenario.load import load
from sim.tables import tables_of

Tables = dict[str, pd.DataFrame]

LINKS = "host_link: {rate: 100Gbps, delay: 500ns}, fabric_link: {rate: 100Gbps, delay: 300ns}"
LEAF_SPINE = f"{{kind: leaf_spine, leaves: 4, spines: 3, hosts_per_leaf: 4, {LINKS}}}"
CLUSTER = (
    "{kind: gpu_cluster, nodes: 4, gpus_per_node: 4, nics_per_gpu: 2, scale_up: {kind: nvswitch, rate: 1800Gbps, "
    "delay: 100ns}, fabric: {kind: leaf_spine, leaves: 4, spines: 2, hosts_per_leaf: 8, "
    "host_link: {rate: 100Gbps, delay: 500ns}, fabric_link: {rate: 100Gbps, delay: 500ns}}}"
)
TORUS = f"{{kind: torus, dims: [4, 4], {LINKS}}}"
FAILURES = (
    "[{at: 20us, link: leaf0-spine1, set: down}, {at: 60us, switch: spine2, set: down}, "
    "{at: 90us, link: leaf0-spine1, set: up}, {at: 120us, link: host3-leaf0, set: down}, "
    "{at: 200us, link: host3-leaf0, set: up}]"
)
RANDOM = "{kind: flows, arrivals: {kind: poisson, load: 0.7}, sizes: {kind: exponential, mean: 30KB}, count: 1000}"
ALL = "{kind: collective, op: all_to_all, size: 1MB}"


def run(
    folder: Path,
    *,
    engine: str = "packet",
    topology: str = LEAF_SPINE,
    switch: str = "{buffer: 40KB, ecn: {kmin: 10KB, kmax: 30KB}}",
    transport: str = "{kind: window, rto: 30us}",
    path: str = "ecmp",
    packet: str = "follow_path",
    workload: str = RANDOM,
    events: str = "[]",
    more: str = "",
) -> tuple[World, Tables]:
    """A run of this scenario, in memory."""
    file = folder / "scenario.yaml"
    file.write_text(
        f"name: x\nengine: {engine}\nfabric:\n  topology: {topology}\n  switch: {switch}\n  transport: {transport}\n"
        f"  convergence_delay: 20us\ndispatch: {{path: {path}, packet: {packet}}}\nworkload: [{workload}]\n"
        f"events: {events}\nstop: {{time: 30ms}}\n{more}"
    )
    world = build(load(file)[0])
    with Progress(world, True, "") as progress:
        run_world(world, progress)
    world.flows.settle()
    tables = tables_of(world)
    assert broken_laws(world) + broken_parts(tables) == []
    return world, tables


STORIES: dict[str, dict[str, Any]] = {
    "window": {},
    "go-back-n": {"transport": "{recovery: go_back_n, rto: 30us}", "path": "spray", "packet": "random"},
    "line rate": {"transport": "{kind: line_rate}", "path": "spray"},
    "pieces that wait and move": {"path": "{kind: ethereal, batch_timer: 3us, jitter: 2us}", "events": FAILURES},
    "all to all in pieces": {"path": "ethereal", "workload": f"{ALL}, {ALL}"},
    "failures": {"events": FAILURES, "path": "spray"},
    "hosts that forward": {"topology": TORUS, "path": "spray", "switch": "{buffer: unlimited}"},
    "several NICs": {"topology": CLUSTER, "path": "spray", "packet": "random"},
    "fluid": {"engine": "fluid", "transport": "{kind: line_rate}"},
    "fluid with failures": {"engine": "fluid", "events": FAILURES},
    "fluid spread": {"engine": "fluid", "path": "spray", "topology": CLUSTER},
    "fluid pieces": {"engine": "fluid", "path": "{kind: ethereal, batch_timer: 3us, jitter: 2us}", "events": FAILURES},
    "fluid all to all": {"engine": "fluid", "path": "ethereal", "workload": f"{ALL}, {ALL}"},
    "ideal": {"engine": "ideal", "path": "{kind: ethereal, batch_timer: 1us}", "events": FAILURES},
}  # fmt: skip


@cache
def told(name: str) -> tuple[World, Tables]:
    with TemporaryDirectory() as folder:
        return run(Path(folder), **STORIES[name])


@pytest.mark.parametrize("name", STORIES)
def test_parts_add_up_to_the_picosecond(name: str) -> None:
    """Of every finished flow; summed here anew, with Python's integers, against the times in ``flows``."""
    world, tables = told(name)
    times = tables["flow_times"].set_index("id")
    flows = tables["flows"].query("status == 'finished'").set_index("id")
    assert list(times.index) == list(flows.index)
    packets = world.loaded.scenario.packets
    for number, parts in zip(times.index, times[list(PARTS)].to_numpy().tolist(), strict=True):
        assert min(parts) >= 0
        assert sum(parts) == world.flows.end[number] - world.flows.flow[number].start == times["total_ps"][number]
    assert (times["sharing_ps"] == 0).all() if packets else (times["queueing_ps"] == 0).all()
    if packets:
        hops = tables["hops"].groupby("flow")
        assert (hops["queueing_ps"].max() == 0).equals(times["bottleneck"].isna().rename_axis("flow"))
        worst = tables["hops"].loc[hops["queueing_ps"].idxmax()].query("queueing_ps > 0").set_index("flow")["link"]
        assert list(worst) == list(times["bottleneck"].dropna())
        # the links are a way from the source to the destination
        ends = tables["links"].set_index("link")
        way = tables["hops"].join(ends, on="link")
        assert list(way.groupby("flow")["src"].first()) == list(flows["src"])
        assert list(way.groupby("flow")["dst"].last()) == list(flows["dst"])
        inner = way["hop"].to_numpy()[1:] > 0
        assert np.array_equal(way["src"].to_numpy()[1:][inner], way["dst"].to_numpy()[:-1][inner])


def test_ten_thousand_flows_and_every_part_were_seen() -> None:
    """The stories above are not dull."""
    all_tables = {name: told(name)[1] for name in STORIES}
    assert sum(len(tables["flow_times"]) for tables in all_tables.values()) >= 10_000
    highest = pd.DataFrame({name: tables["flow_times"][list(PARTS)].max() for name, tables in all_tables.items()})
    assert list(highest.index[highest.max(axis=1) == 0]) == ["reordering_ps"]  # no receiver here waits for an order
    assert (highest.loc["hold_ps"] > 0).sum() == 4
    assert (highest.loc["recovery_ps"] > 0).sum() >= 4
    assert all_tables["line rate"]["flows"]["status"].ne("finished").any()


@pytest.mark.parametrize("story", ["window", "failures", "several NICs", "hosts that forward"])
def test_the_specification_tells_the_same(story: str, tmp_path: Path) -> None:
    few = STORIES[story] | {"workload": RANDOM.replace("1000}", "60}")}
    tables = [run(tmp_path, engine=engine, **few)[1] for engine in ("packet", "reference")]
    for name in ("flow_times", "hops"):
        pd.testing.assert_frame_equal(tables[0][name], tables[1][name])


# -- splits that are known. 1000 B without a header are 80 ns at 100 Gbps, a link's delay is 100 ns

STAR = "{kind: star, hosts: 4, host_link: {rate: 100Gbps, delay: 100ns}}"
TWO = "{kind: matrix, pattern: {pattern: incast, senders: 2}, size: 2000B}"
BARE = "{kind: line_rate, mtu: 1000B, header: 0B}"


@pytest.mark.parametrize("engine", ["packet", "reference"])
def test_two_senders_and_one_receiver(engine: str, tmp_path: Path) -> None:
    """Two packets each; they alternate on the receiver's link, so the last one of all waits for two."""
    _, tables = run(tmp_path, engine=engine, topology=STAR, transport=BARE, workload=TWO, switch="{buffer: 1MB}")
    times = tables["flow_times"]
    assert list(times["sending_ps"]) == [80_000, 80_000]
    assert list(times["serialisation_ps"]) == [160_000, 160_000]
    assert list(times["propagation_ps"]) == [200_000, 200_000]
    assert list(times["queueing_ps"]) == [80_000, 160_000]
    assert list(times["total_ps"]) == [520_000, 600_000]
    receiver = tables["flows"]["dst"][0]
    assert list(times["bottleneck"]) == [f"switch0->{receiver}"] * 2
    assert list(tables["hops"]["queueing_ps"]) == [0, 80_000, 0, 160_000]
    assert list(tables["hops"]["arrived_us"]) == [0.08, 0.26, 0.08, 0.26]


def test_two_senders_in_fluid(tmp_path: Path) -> None:
    _, tables = run(tmp_path, engine="fluid", topology=STAR, workload=TWO)
    times = tables["flow_times"]
    for name, value in {"serialisation": 160_000, "propagation": 200_000, "sharing": 160_000}.items():
        assert list(times[f"{name}_ps"]) == [value, value]
    assert list(times["bottleneck"]) == [f"switch0->{tables['flows']['dst'][0]}"] * 2


@pytest.mark.parametrize("engine", ["packet", "fluid"])
@pytest.mark.parametrize("path", ["ecmp", "spray"])
def test_a_degraded_link_is_named_first(engine: str, path: str, tmp_path: Path) -> None:
    """A fabric link at a quarter of its rate: of all bottlenecks it has cost flows the most."""
    topology = LEAF_SPINE + "\n  links: {leaf1->spine0: {rate: 25Gbps}}"
    workload = "{kind: flows, arrivals: {kind: poisson, load: 0.3}, sizes: {kind: constant, size: 200KB}, count: 800}"
    plain = {"switch": "{buffer: 1MB}", "transport": "{kind: window}"}
    _, tables = run(tmp_path, engine=engine, path=path, topology=topology, workload=workload, **plain)
    times = tables["flow_times"]
    cost = times["queueing_ps"] + times["sharing_ps"]
    by_link = cost.groupby(times["bottleneck"])
    assert by_link.sum().idxmax() == by_link.size().idxmax() == "leaf1->spine0"
    assert by_link.sum().max() > 0.6 * cost.sum()


def test_switched_off(tmp_path: Path) -> None:
    """No tables, and nothing else changes."""
    _, with_them = run(tmp_path)
    _, without = run(tmp_path, more="telemetry: {flow_times: false}\n")
    assert set(with_them) - set(without) == {"flow_times", "hops"}
    for name, table in without.items():
        pd.testing.assert_frame_equal(table, with_them[name])


def test_what_an_arrival_released(tmp_path: Path) -> None:
    """In a ring each chunk is sent on when it has come: flows that start later name one that came to their source."""
    work = "{kind: collective, op: all_gather, size: 40KB}"
    _, tables = run(tmp_path, topology=STAR, workload=work, more="", path="ecmp, collective: ring")
    flows = tables["flows"].set_index("id")
    released = tables["flow_times"].set_index("id")["released_by"]
    first = flows["start_us"] == 0
    assert released[first].isna().all()
    assert first.sum() == 4
    causes = flows.loc[released[~first].astype(int)]
    assert list(causes["dst"]) == list(flows["src"][~first])
    assert list(causes["delivered_us"]) == list(flows["start_us"][~first])


@pytest.mark.parametrize(("short", "long"), [("10KB", "1MB"), ("1MB", "10KB")])
def test_in_fluid_the_longer_hold_up_is_named(short: str, long: str, tmp_path: Path) -> None:
    """First another flow to the same receiver halves the rate, later three of the same sender quarter it."""
    rows = [("0us", "host0", "host1", "2MB"), ("0us", "host2", "host1", short)]
    rows += [("20us", "host0", "host3", long)] * 3
    (tmp_path / "flows.csv").write_text("start,src,dst,size\n" + "".join(",".join(row) + "\n" for row in rows))
    _, tables = run(tmp_path, engine="fluid", topology=STAR, workload="{kind: flows, file: flows.csv}")
    named = tables["flow_times"]["bottleneck"]
    assert named[0] == ("host0->switch0" if long == "1MB" else "switch0->host1")
    assert list(named[1:]) == ["switch0->host1"] + ["host0->switch0"] * 3
    assert list(tables["flow_times"]["sharing_ps"] > 0) == [True] * 5
