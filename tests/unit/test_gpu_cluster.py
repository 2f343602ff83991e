"""Clusters of GPUs: shapes by closed form, what stays inside a node, NICs of their own and shared ones, rails."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import run_sim
from analysis.load import load as results_of
from models.builders import edges, fat_tree, gpu_cluster, leaf_spine, rail, star
from models.builders.gpu_cluster import ScaleUp
from models.builders.override import with_links
from models.ideal import Unloaded
from models.paths import Routes
from models.structure import describe, longest_rtt, scale_up_rtt
from models.topology import Topology
from models.units import serialisation_ps
from sim.dispatch.api import Flow
from sim.dispatch.path import ethereal
from sim.dispatch.views import PathView

G = 10**9
NET, BUS = (400 * G, 500_000), (504 * G, 250_000)
SWITCHED, MESH = ScaleUp("nvswitch", 3600 * G, 250_000), ScaleUp("mesh", 3600 * G, 250_000)


def cluster(nodes: int, gpus: int, nics: float = 1, scale_up: ScaleUp = SWITCHED, spines: int = 2) -> Topology:
    """A leaf for each node."""
    between = leaf_spine.build(nodes, spines, round(gpus * nics), NET, NET)
    return gpu_cluster.build(between, nodes, gpus, nics, scale_up, BUS)


def rails(nodes: int, gpus: int, nics: float = 1, **more: int | None) -> Topology:
    return rail.build(nodes, gpus, nics, SWITCHED, BUS, NET, NET, **more)


def nodes_of(topology: Topology, path: tuple[int, ...]) -> list[str]:
    ends = [int(topology.link_src[path[0]]), *topology.link_dst[list(path)].tolist()]
    return [topology.node_name[node] for node in ends]


SHAPES = [(1, 8, 1), (2, 8, 0.5), (2, 8, 0.125), (3, 4, 2), (2, 1, 1), (2, 6, 0.333), (1, 72, 1)]


@pytest.mark.parametrize(("nodes", "gpus", "nics"), SHAPES)
@pytest.mark.parametrize("scale_up", [SWITCHED, MESH, SWITCHED._replace(planes=4)])
def test_counts(nodes: int, gpus: int, nics: float, scale_up: ScaleUp) -> None:
    topology = cluster(nodes, gpus, nics, scale_up)
    number, each = round(nodes * gpus * nics), max(1, round(nics))
    planes = scale_up.planes if scale_up.kind == "nvswitch" and gpus > 1 else 0
    switches = nodes * planes + number + nodes + 2 + (nodes * gpus if nics < 1 else 0)
    inside = gpus * planes if scale_up.kind == "nvswitch" else gpus * (gpus - 1) // 2
    assert topology.hosts == nodes * gpus
    assert topology.nodes == topology.hosts + switches
    between = number + 2 * nodes
    assert topology.links == 2 * (nodes * (inside + gpus * each * (2 if nics < 1 else 1)) + between)
    assert topology.node_name[: topology.hosts] == [f"host{rank}" for rank in range(nodes * gpus)]
    assert topology.domain.tolist() == [rank // gpus for rank in range(nodes * gpus)]
    assert topology.domain.dtype == topology.rail.dtype == np.int64
    assert topology.nics.shape == (nodes * gpus, each)
    assert sorted(set(topology.nics.ravel())) == [topology.node_index[f"nic{i}"] for i in range(number)]
    own = topology.rail[:gpus]
    assert own.tolist() == [gpu * max(1, round(gpus * nics)) // gpus if nics < 1 else gpu for gpu in range(gpus)]
    assert topology.rail.tolist() == own.tolist() * nodes


@pytest.mark.parametrize("nics", [1, 2, 0.5])
@pytest.mark.parametrize("scale_up", [SWITCHED, MESH, SWITCHED._replace(planes=3)])
@pytest.mark.parametrize("kind", ["gpu_cluster", "rail"])
def test_a_node_talks_over_scale_up_links_only_and_gpus_never_forward(
    nics: float, scale_up: ScaleUp, kind: str
) -> None:
    topology = (
        cluster(2, 4, nics, scale_up) if kind == "gpu_cluster" else rail.build(2, 4, nics, scale_up, BUS, NET, NET)
    )
    routes = Routes(topology)
    for src in range(8):
        for dst in set(range(8)) - {src}:
            paths = routes.paths(src, dst)
            assert paths
            inside = topology.domain[src] == topology.domain[dst]
            for path in paths:
                assert bool(topology.scale_up[list(path)].all()) == inside
                assert not topology.scale_up[list(path)].any() or inside
                assert not [name for name in nodes_of(topology, path)[1:-1] if name.startswith("host")]
            if inside:
                assert len(paths) == (scale_up.planes if scale_up.kind == "nvswitch" else 1)


def test_the_way_out_of_a_node() -> None:
    own, shared = cluster(2, 2), cluster(2, 2, 0.5)
    assert nodes_of(own, Routes(own).paths(0, 3)[0]) == ["host0", "nic0", "leaf0", "spine0", "leaf1", "nic3", "host3"]
    way = nodes_of(shared, Routes(shared).paths(0, 3)[1])
    assert way == ["host0", "pcie0", "nic0", "leaf0", "spine1", "leaf1", "nic1", "pcie3", "host3"]


def test_names_of_the_fabric_its_cables_and_tiers() -> None:
    cables = [
        {"src": "a", "dst": "s", "rate": 10 * G, "delay": 1},
        {"src": "b", "dst": "s", "rate": 20 * G, "delay": 2},
    ]
    cables += [{"src": "s", "dst": "t", "rate": 30 * G, "delay": 3, "parallel": 2}]
    cables[1]["name"] = "mine"
    between = edges.build(links=cables, hosts=["b", "a"])
    topology = gpu_cluster.build(between, 2, 1, 1, SWITCHED, BUS)
    assert topology.cable_name == ["host0-nic0", "host1-nic1", "nic1-s", "mine", "s-t#0", "s-t#1"]
    assert topology.nic_rate.tolist() == [20 * G, 10 * G]
    (up,) = topology.find_links("nic1->s")
    assert (topology.link_rate[up], topology.link_delay[up]) == (10 * G, 1)
    three = cluster(2, 2)
    named = {name: three.tier_name[int(tier)] for name, tier in zip(three.node_name, three.tier, strict=True)}
    assert {named[name] for name in ("nvswitch0", "nic0", "leaf0", "spine0")} == {"nvswitch", "nic", "leaf", "spine"}
    clash = edges.build(links=[{"src": "a", "dst": "nvswitch0", "rate": G, "delay": 1}], hosts=["a"])
    with pytest.raises(ValueError, match="fabric: its switch 'nvswitch0' has the name"):
        gpu_cluster.build(clash, 1, 2, 0.5, SWITCHED, BUS)


def test_rates_into_the_fabric_and_inside() -> None:
    assert set(cluster(2, 4, 0.5).nic_rate) == {200 * G}
    assert set(cluster(2, 4, 2).nic_rate) == {800 * G}
    slow_bus = gpu_cluster.build(star.build(4, NET), 2, 2, 1, SWITCHED, (128 * G, 1))
    assert set(slow_bus.nic_rate) == {128 * G}
    assert set(cluster(2, 4).host_rate) == {4000 * G}
    assert set(cluster(2, 4, scale_up=MESH).scale_up_rate) == {3600 * G}
    topology = cluster(2, 2)
    (up,) = topology.find_links("nic1->leaf0")
    assert with_links(topology, {up: (100 * G, None)}).nic_rate.tolist() == [400 * G, 100 * G, 400 * G, 400 * G]
    # a NIC fetches no more than it sends, but hands over as fast as the bus is
    there, back = topology.find_links("host0-nic0")
    assert topology.link_rate[[there, back]].tolist() == [400 * G, 504 * G]


def test_other_topologies_have_a_domain_a_host() -> None:
    topology = leaf_spine.build(2, 2, 2, NET, NET)
    assert topology.domain.tolist() == [0, 1, 2, 3]
    assert topology.rail.tolist() == [0, 0, 0, 0]
    assert not topology.clustered
    assert not topology.scale_up.any()
    assert not topology.lossless.any()
    assert topology.nic_rate is topology.host_rate


@pytest.mark.parametrize(
    ("nics", "message"),
    [
        (0.3, "0.3 NICs a GPU don't divide 8 GPUs evenly; nearest possible: 0.25 or 0.5"),
        (1.5, "whole number, such as 1 or 2"),
        (0, "must be above 0"),
        (0.0625, "don't divide 8 GPUs evenly"),
    ],
)
def test_impossible_numbers_of_nics(nics: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpu_cluster.build(star.build(8, NET), 1, 8, nics, SWITCHED, BUS)


def test_other_impossible_shapes() -> None:
    with pytest.raises(ValueError, match="fabric: it has 9 hosts, but 2 nodes with 4 NICs each have 8"):
        gpu_cluster.build(star.build(9, NET), 2, 4, 1, SWITCHED, BUS)
    for wrong in ({"nodes": 0}, {"gpus_per_node": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            gpu_cluster.build(star.build(8, NET), **({"nodes": 2, "gpus_per_node": 4} | wrong), nics_per_gpu=1,
                              scale_up=SWITCHED, pcie=BUS)  # fmt: skip
    for scale_up in (ScaleUp("ring", G, 1), ScaleUp("mesh", 2, 1), ScaleUp("nvswitch", G, 1, 0)):
        with pytest.raises(ValueError, match="scale_up: "):
            cluster(2, 4, scale_up=scale_up)
    with pytest.raises(ValueError, match="8 nodes are no multiple of 3; nearest possible: 2 or 4"):
        rails(8, 2, nodes_per_leaf=3)


def test_rails() -> None:
    topology = rails(4, 2)
    routes = Routes(topology)
    assert [nodes_of(topology, path) for path in routes.paths(1, 5)] == [["host1", "nic1", "leaf1", "nic5", "host5"]]
    across = [nodes_of(topology, path) for path in routes.paths(1, 4)]
    assert across == [f"host1 nic1 leaf1 spine{spine} leaf0 nic4 host4".split() for spine in range(4)]
    grouped = rails(4, 2, nodes_per_leaf=2, spines=3)
    assert [grouped.node_name[edge] for edge in grouped.edge_of_host] == [
        "leaf0",
        "leaf1",
        "leaf0",
        "leaf1",
        "leaf2",
        "leaf3",
        "leaf2",
        "leaf3",
    ]
    assert Routes(grouped).count(0, 4) == 3
    two = rails(2, 2, 2)
    assert [nodes_of(two, path)[2] for path in Routes(two).paths(0, 2)] == ["leaf0", "leaf1"]


def test_rails_without_spines() -> None:
    topology = rails(3, 2, spines=0)
    routes = Routes(topology)
    reached = {(src, dst) for src in range(6) for dst in range(6) if src != dst and routes.count(src, dst)}
    assert reached == {
        (src, dst)
        for src in range(6)
        for dst in range(6)
        if src != dst and (src // 2 == dst // 2 or src % 2 == dst % 2)
    }
    assert describe(topology).disconnected_pairs == 30 - len(reached)


def test_structure() -> None:
    found = describe(cluster(4, 8))
    assert found.switches == {"nvswitch": 4, "nic": 32, "leaf": 4, "spine": 2}
    assert (found.paths_min, found.paths_max, found.hops_max) == (2, 2, 6)
    assert found.oversubscription_min == found.oversubscription_max == 4  # of NICs at a leaf
    assert found.bisection == 2 * 2 * 400 * G
    assert found.oversubscription_whole == 4
    alone = describe(gpu_cluster.build(star.build(4, NET), 1, 4, 1, MESH, BUS))
    assert (alone.paths_max, alone.hops_max) == (1, 1)
    assert alone.rtt_max == 2 * 250_000 + sum(serialisation_ps(size, 1200 * G) for size in (4160, 64))


def test_round_trips() -> None:
    topology = cluster(2, 2)
    assert scale_up_rtt(topology, 4160, 64) == 2 * sum(250_000 + serialisation_ps(b, 3600 * G) for b in (4160, 64))
    links = [504 * G, *[400 * G] * 5]  # there
    back = [*[400 * G] * 5, 504 * G]
    delays = 2 * (2 * BUS[1] + 4 * NET[1])
    there = sum(serialisation_ps(4160, rate) for rate in links)
    assert longest_rtt(Routes(topology), 4160, 64) == delays + there + sum(serialisation_ps(64, rate) for rate in back)


def test_1024_gpus_are_built_quickly() -> None:
    begin = time.process_time()
    topology = gpu_cluster.build(fat_tree.build(NET, NET, k=16), 128, 8, 1, SWITCHED, BUS)
    Routes(topology).paths(0, 1023)
    assert time.process_time() - begin < 2
    assert topology.hosts == 1024


def test_ethereal_splits_nothing_where_flows_divide_and_loads_every_uplink_alike() -> None:
    for topology in (cluster(4, 4, spines=4), cluster(2, 8, 0.5, spines=4), rails(5, 4, spines=4)):
        policy = ethereal.Policy(ethereal.Params(), PathView(topology, Routes(topology), 7, lambda: 0))
        carried = np.zeros(topology.links, dtype=np.int64)
        hosts = topology.hosts
        for src in range(hosts):
            flows = [Flow(dst, src, dst, 1000, 0) for dst in range(hosts) if dst != src]
            for flow, pieces in zip(flows, policy.assign(flows, np.random.default_rng(src)), strict=True):
                assert policy.at_once(flow) == (len(Routes(topology).paths(flow.src, flow.dst)) == 1)
                assert len(pieces) == 1
                carried[list(pieces[0].path or ())] += 1000
        uplinks = [link for link, name in enumerate(topology.link_name) if "leaf" in name and "->spine" in name]
        assert len(set(carried[uplinks].tolist())) == 1


# -- whole runs

SCENARIO = """name: x
engine: {engine}
fabric:
  topology: {{{topology}}}
  {more}
dispatch: {{path: {path}}}
workload:
  - {workload}
"""
OWN = "kind: gpu_cluster, nodes: 2, gpus_per_node: 4, fabric: {kind: leaf_spine, spines: 3}"
SHARED = "kind: gpu_cluster, nodes: 2, gpus_per_node: 4, nics_per_gpu: 0.5, fabric: {kind: star}"
MESHED = "kind: rail, nodes: 2, gpus_per_node: 3, nics_per_gpu: 2, scale_up: {kind: mesh}, pcie: {rate: 256Gbps}"


def write(folder: Path, **values: str) -> Path:
    file = folder / "x.yaml"
    file.write_text(SCENARIO.format(**({"engine": "packet", "path": "ecmp", "more": ""} | values)))
    return file


def run(folder: Path, *more: str, **values: str):
    words = [str(write(folder, **values)), "-q", "--no-plots", "--out", str(folder / "out"), *more]
    assert run_sim.main(words) == 0
    return results_of(folder / "out")


@pytest.mark.parametrize("engine", ["packet", "reference", "fluid", "ideal"])
@pytest.mark.parametrize("topology", [OWN, SHARED, MESHED])
def test_a_lone_flow_takes_its_unloaded_time(tmp_path: Path, engine: str, topology: str) -> None:
    rows = [f"{start}us,host{src},host{dst},300KB" for start, src, dst in ((0, 0, 1), (1000, 0, 5), (2000, 4, 3))]
    (tmp_path / "lone.csv").write_text("\n".join(["start,src,dst,size", *rows]))
    work = "{kind: flows, file: lone.csv}"
    got = run(tmp_path, engine=engine, topology=topology, workload=work)
    assert got.frame("flows")["slowdown"].tolist() == pytest.approx([1, 1, 1], abs=1e-9)


@pytest.mark.parametrize("engine", ["packet", "fluid", "ideal"])
@pytest.mark.parametrize("topology", [OWN, SHARED, MESHED])
def test_no_flow_beats_its_unloaded_time(tmp_path: Path, engine: str, topology: str) -> None:
    work = "{kind: collective, op: all_to_all, size: 100KB}\nvariants:"
    names = ("ecmp", "wcmp", "spray", "ethereal", "subflows", "least_loaded", "static")
    for name in names if engine != "ideal" else ("subflows", "spray"):
        work += f"\n  {name}: {{dispatch.path: {name}}}"
    got = run(tmp_path, engine=engine, topology=topology, workload=work)
    gpus = 3 if topology == MESHED else 4
    for one in got.runs().values():
        flows = one.frame("flows")
        assert len(flows) == 2 * gpus * (2 * gpus - 1)
        assert flows["slowdown"].min() >= 1 - 1e-9
        near = flows["src"].str[4:].astype(int) // gpus == flows["dst"].str[4:].astype(int) // gpus
        assert flows.loc[near, "fct_us"].max() < flows.loc[~near, "fct_us"].max()


def test_nvlink_and_pcie_lose_nothing_and_switches_do(tmp_path: Path) -> None:
    work = "{kind: matrix, pattern: incast, size: 500KB}"
    got = run(tmp_path, topology=SHARED, more="switch: {buffer: 20KB, ecn: {kmin: 10KB, kmax: 10KB}}", workload=work)
    links = got.frame("links")
    inside = ~links["src"].str.startswith("switch")
    assert links.loc[inside, ["dropped", "marked"]].to_numpy().sum() == 0
    assert links.loc[inside, "queue_max_bytes"].max() > 20_000
    assert links.loc[~inside, "dropped"].sum() > 0
    assert links.loc[~inside, "marked"].sum() > 0


@pytest.mark.parametrize("engine", ["packet", "reference", "fluid"])
def test_switches_and_nics_fail(tmp_path: Path, engine: str) -> None:
    """When tables know, traffic of a node goes out and in again, and a GPU with two NICs lives on with one."""
    work = "{kind: flows, arrivals: {kind: gaps, gaps: [50us, 0us]}, sizes: {kind: constant, size: 10KB}, pairs: PAIRS}"
    topology = "kind: rail, nodes: 2, gpus_per_node: 2, nics_per_gpu: 2"
    events = "\nevents:\n  - {at: 1us, switch: nvswitch0, set: down}\n  - {at: 1us, switch: nic0, set: down}"
    for pair, way in ((("host0", "host1"), "nic1>leaf1>spine"), (("host0", "host2"), "nic1>leaf1>nic5")):
        pairs = f"{{kind: fixed, src: {pair[0]}, dst: {pair[1]}}}"
        more = "convergence_delay: 5us"
        got = run(tmp_path, engine=engine, topology=topology, more=more, workload=work.replace("PAIRS", pairs) + events)
        assert set(got.frame("flows")["status"]) == {"finished"}
        assert all(f"{pair[0]}>{way}" in path for path in got.frame("flows")["path"])


def test_sizes_of_the_fabric_follow_from_the_nics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {
        "{kind: leaf_spine}": "leaves: 4, spines: 6, hosts_per_leaf: 6",
        "{kind: leaf_spine, leaves: 2}": "leaves: 2, spines: 12, hosts_per_leaf: 12",
        "{kind: leaf_spine, hosts_per_leaf: 3, spines: 1}": "leaves: 8, spines: 1, hosts_per_leaf: 3",
        "{kind: star}": "hosts: 24",
        "{kind: torus, dims: [2, 3]}": "dims: [2, 3], hosts_per_router: 4",
        "{kind: dragonfly, routers_per_group: 4}": "groups: 3",
        "{kind: fat_tree, k: 6, tiers: 2, oversubscription: 3}": "k: 6",
    }
    work = "{kind: matrix, pattern: tornado, size: 1KB}"
    for text, due in sizes.items():
        nodes, gpus = (3, 6) if "fat_tree" in text else (4, 6)
        topology = f"kind: gpu_cluster, nodes: {nodes}, gpus_per_node: {gpus}, fabric: {text}"
        file = write(tmp_path, topology=topology, workload=work)
        assert run_sim.main(["check", str(file)]) == 0
        said = capsys.readouterr().out
        shown = ", ".join(line.partition("#")[0].strip() for line in said.splitlines())
        assert due in shown
        if "fat_tree" not in text:
            assert "default (for the cluster's 24 NICs)" in said


def test_a_nested_fabric_reads_its_file_and_takes_overrides(tmp_path: Path) -> None:
    (tmp_path / "cables.csv").write_text("src,dst,rate,delay\na,s,100Gbps,1us\nb,s,100Gbps,1us\n")
    topology = (
        "kind: gpu_cluster, nodes: 2, gpus_per_node: 2, nics_per_gpu: 0.5, fabric: {kind: edges, file: cables.csv}"
    )
    work = "{kind: matrix, pattern: shift, by: 2, size: 1MB}"
    got = run(tmp_path, "--set", "fabric.links={nic0->s: {rate: 50Gbps}}", topology=topology, workload=work)
    links = got.frame("links").set_index("link")
    assert links.loc["nic0->s", "rate_gbps"] == 50
    assert links.loc["nic1->s", "rate_gbps"] == 100
    assert any(name.endswith("cables.csv") for name in got.manifest["inputs"])


def test_collectives_that_keep_to_their_rails_run_without_spines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = "kind: rail, nodes: 2, gpus_per_node: 2, spines: 0"
    ring = "{kind: collective, op: all_gather, size: 1MB, group: [0, 2, 3, 1]}"
    run(tmp_path, "--set", "dispatch.collective=ring", topology=topology, workload=ring)
    file = write(tmp_path, topology=topology, workload=ring)
    assert run_sim.main([str(file), "--set", "dispatch.collective=direct"]) == 2
    assert "x.yaml:8:51: there is no path from host0 to host3; GPUs don't forward" in capsys.readouterr().err


def test_unloaded_times_of_sprayed_flows_with_more_hosts_than_switches() -> None:
    topology = cluster(2, 16)
    unloaded = Unloaded(topology, 4096, 64, efficiency=1.0)
    inside, outside = (unloaded.spread(Routes(topology), 1, dst, 400_000) for dst in (2, 31))
    assert inside == 2 * 250_000 + serialisation_ps(400_000, 3600 * G)
    assert outside == 2 * BUS[1] + 4 * NET[1] + serialisation_ps(400_000, 400 * G)
