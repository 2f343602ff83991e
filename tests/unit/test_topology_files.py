"""Readers of edges CSV, GraphML and htsim's .topo: good files, and every fault at its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.builders import edges, graphml, htsim
from models.errors import InputError
from models.paths import Routes

LINK = (10 * 10**9, 1_000)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def put(text: str) -> Path:
        path = tmp_path / "input"
        path.write_text(text)
        return path

    return put


def faults(run: Callable[[], object]) -> list[tuple[int, int, str]]:
    with pytest.raises(InputError) as caught:
        run()
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_edges_csv(write: Callable[[str], Path]) -> None:
    path = write(
        "# a pair\nsrc,dst,rate,delay,parallel,name\nhost1,s,10Gbps,1us,,\nhost0, s ,10Gbps,1us,,up\ns,t,1Gbps,2ns,2,\n"
        "t,host2,10Gbps,1us,,\n"
    )
    topology = edges.build(path=path)
    assert topology.node_name == ["host0", "host1", "host2", "s", "t"]
    assert topology.cable_name == ["host1-s", "up", "s-t#0", "s-t#1", "t-host2"]
    assert topology.link_rate.tolist() == [10**10] * 4 + [10**9] * 4 + [10**10] * 2
    assert topology.link_delay[4:6].tolist() == [2000, 2000]
    assert topology.find_links("up") == (2, 3)
    assert Routes(topology).count(0, 2) == 2


def test_edges_csv_names_every_fault(write: Callable[[str], Path]) -> None:
    path = write("src,dst,rate,delay,name\na,a,1Gbps,1us,x\na,b,0Gbps,1us,x\na,b,10,1us,\nb,c,1Gbps\nc d,e,1Gbps,1B,\n")
    found = faults(lambda: edges.build(path=path))
    assert [(line, column) for line, column, _ in found] == [(2, 3), (3, 5), (3, 15), (4, 5), (5, 1), (6, 13)]
    text = "\n".join(message for *_, message in found)
    for words in ("to itself", "above 0", "used twice", "has no unit", "3 cells", "is a size, but a time is due"):
        assert words in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a,b,1Gbps,1us\n", "no header"),
        ("src,dst,rate\na,b,1Gbps\n", "lacks delay"),
        ("src,dst,rate,dely\na,b,1Gbps,1us\n", "did you mean 'delay'?"),
        ("src,dst,rate,delay,delay\n", "twice"),
        ("src,dst,rate,delay\n", "no cables"),
        ("src,dst,rate,delay,parallel\na,b,1Gbps,1us,-1\n", "not a whole number"),
        ("src,dst,rate,delay,parallel\na,b,1Gbps,1us,0\n", "1 to 4096"),
        ('src,dst,rate,delay\n"a,b,1Gbps,1us\n', "quote is not closed"),
        ("src,dst,rate,delay\na-b,c,1Gbps,1us\na,b-c,1Gbps,1us\n", "several cables are called 'a-b-c'"),
    ],
)
def test_broken_edges_files(write: Callable[[str], Path], text: str, words: str) -> None:
    assert any(words in message for *_, message in faults(lambda: edges.build(path=write(text))))


def test_missing_and_binary_files(tmp_path: Path) -> None:
    for build in (edges.build, htsim.build, lambda path: graphml.build(path, LINK)):
        assert "No such file" in faults(lambda build=build: build(path=tmp_path / "none"))[0][2]  # type: ignore[misc]
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00src")
    assert "not UTF-8" in faults(lambda: edges.build(path=binary))[0][2]
    assert "not UTF-8" in faults(lambda: htsim.build(binary))[0][2]


def test_edges_hosts() -> None:
    rows = [{"src": a, "dst": b, "rate": 1, "delay": 1} for a, b in (("x", "s"), ("s", "y"), ("s", "z"))]
    assert edges.build(links=rows, hosts=["z", "x"]).node_name[:2] == ["z", "x"]
    assert edges.build(links=rows).node_name == ["x", "y", "z", "s"]
    with pytest.raises(ValueError, match=r"no node 'w'; valid: s, x, y, z"):
        edges.build(links=rows, hosts=["w"])
    with pytest.raises(ValueError, match=r"links\.1: a cable from 's' to itself"):
        edges.build(links=[rows[0], {**rows[1], "dst": "s"}])


GRAPH = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="label" attr.type="string" for="node" id="d1" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d2" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d3" />
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d4" />
  <graph edgedefault="undirected">
    <node id="0"><data key="d1">St. Louis, MO</data><data key="d2">0</data><data key="d3">0</data></node>
    <node id="1"><data key="d1">host0</data><data key="d2">0</data><data key="d3">90</data></node>
    <node id="2"><data key="d1">B</data></node>
    <node id="3"><data key="d1">B</data></node>
    <edge source="0" target="1"><data key="d4">2488000000.0</data></edge>
    <edge source="0" target="2" /><edge source="0" target="2" /><edge source="2" target="2" />
    <edge source="2" target="3" />
  </graph>
</graphml>
"""


def test_graphml(write: Callable[[str], Path]) -> None:
    topology = graphml.build(write(GRAPH), LINK, rate=10**9, delay=7, hosts_per_node=2)
    assert topology.hosts == 8
    assert topology.node_name[8:] == ["St._Louis_MO", "1", "2", "3"]
    assert topology.cable_name[8:] == ["St._Louis_MO-1", "St._Louis_MO-2#0", "St._Louis_MO-2#1", "2-3"]
    assert topology.link_rate[16:].tolist() == [2488 * 10**6] * 2 + [10**9] * 6
    quarter = 6371 * 3.141592653589793 / 2 / 200_000  # s around a quarter of the earth
    assert topology.link_delay[16] == pytest.approx(quarter * 1e12, rel=1e-9)
    assert set(topology.link_delay[18:]) == {7}


def test_graphml_defaults_of_keys(write: Callable[[str], Path]) -> None:
    key = 'for="edge" id="d4" '
    assert key in GRAPH
    text = GRAPH.replace(f"{key}/>", f"{key}><default>5e9</default></key>")
    topology = graphml.build(write(text), LINK, rate=10**9)
    assert topology.link_rate[8:].tolist() == [2488 * 10**6] * 2 + [5 * 10**9] * 6


def test_directed_graphml_pairs_its_directions(write: Callable[[str], Path]) -> None:
    text = GRAPH.replace("undirected", "directed").replace('source="2" target="3"', 'source="2" target="0"')
    topology = graphml.build(write(text), LINK)
    assert topology.cable_name[4:] == ["St._Louis_MO-1", "St._Louis_MO-2#0", "St._Louis_MO-2#1"]


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("</graph>", "</grap>", (16, 5), "broken XML: mismatched tag"),
        ('target="3"', 'target="4"', (14, 5), "target: no node '4'"),
        ('id="3"', 'id="2"', (11, 5), "used twice"),
        (">90<", ">900<", (9, 68), "Longitude: 900 degrees is not on earth"),
        (">90<", ">east<", (9, 68), "Longitude: 'east' is not a number"),
        ("2488000000.0", "-1", (12, 33), "not a possible rate"),
        ("2488000000.0", "0", (12, 33), "not a possible rate"),
    ],
)
def test_broken_graphml(write: Callable[[str], Path], old: str, new: str, place: tuple[int, int], words: str) -> None:
    line, column, message = faults(lambda: graphml.build(write(GRAPH.replace(old, new)), LINK))[0]
    assert (line, column) == place or words.startswith("broken")
    assert words in message
    assert "no <graph>" in faults(lambda: graphml.build(write("<a/>"), LINK))[0][2]


THREE = """# three tiers, two cables a pair at the top
Nodes 32
tiers 3
PODSIZE 8

Tier 0
Downlink_speed_Gbps 100
Radix_Down 4
Radix_Up 2
Oversubscribed 2
Downlink_Latency_ns 1000   # comment
Switch_Latency_ns 300
Queue_Up 1000

Tier 1
Downlink_speed_Gbps 100
Radix_Down 2
Radix_Up 4
Oversubscribed 1
Downlink_Latency_ns 2000
Switch_Latency_ns 0.5
Tier 2
Downlink_speed_Gbps 50
Radix_Down 8
Downlink_Latency_ns 3000
Bundle 2
"""
TWO = """Nodes 32
Tiers 2
Podsize 32

Tier 0
Downlink_speed_Gbps 100
Radix_Down 8
Radix_Up 2
Downlink_Latency_ns 1000
Switch_Latency_ns 0
Oversubscribed 4

Tier 1
Downlink_speed_Gbps 100
Radix_Down 4
Downlink_Latency_ns 1000
"""


def test_topo_of_three_tiers(write: Callable[[str], Path]) -> None:
    topology = htsim.build(write(THREE))
    names = topology.node_name[32:]
    assert (names.count("edge7"), names.count("agg7"), names.count("core3")) == (1, 1, 1)
    assert len(names) == 8 + 8 + 4
    assert topology.links == 2 * (32 + 16 + 8 * 2 * 2)
    up, down = topology.find_links("host0-edge0")
    assert topology.link_delay[[up, down]].tolist() == [1_300_000, 1_000_000]
    up, down = topology.find_links("edge0-agg1")
    assert topology.link_delay[[up, down]].tolist() == [2_000_500, 2_300_000]
    up, down = topology.find_links("agg1-core3#1")
    assert topology.link_rate[up] == 50 * 10**9
    assert topology.link_delay[[up, down]].tolist() == [3_000_000, 3_000_500]
    routes = Routes(topology)
    assert routes.count(0, 31) == 2 * 2 * 2 * 2  # aggs x cores of an agg x 2 cables up x 2 down
    assert routes.count(0, 4) == 2


def test_topo_of_two_tiers(write: Callable[[str], Path]) -> None:
    topology = htsim.build(write(TWO))
    assert topology.node_name[32:] == ["edge0", "edge1", "edge2", "edge3", "core0", "core1"]
    assert Routes(topology).count(0, 31) == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("Nodes 32\n", "Nods 32\n", 2, "did you mean 'Nodes'?"),
        ("Nodes 32\n", "", 0, "the header lacks Nodes"),
        ("Nodes 32\n", "Nodes\n", 2, "has no value"),
        ("Nodes 32\n", "Nodes 32 33\n", 2, "'33' is too much"),
        ("Nodes 32\n", "Nodes 33\n", 4, "not a multiple of Podsize"),
        ("Nodes 32\n", "Nodes -32\n", 2, "above 0"),
        ("tiers 3", "tiers 4", 3, "2 and 3 are possible"),
        ("tiers 3", "tiers 2", 22, "Tier 2, but Tiers is 2"),
        ("Tier 1\n", "Tier 3\n", 15, "tiers are 0, 1 and 2"),
        ("Tier 1\n", "Tier 0\n", 15, "given twice"),
        ("Radix_Down 4\n", "Radix_Dwn 4\n", 8, "did you mean 'Radix_Down'?"),
        ("Radix_Down 4\n", "Radix_Down 4\nRadix_Down 4\n", 9, "given twice"),
        ("Radix_Down 4\n", "Radix_Down four\n", 8, "'four' is not a number"),
        ("Radix_Down 4\n", "Radix_Down 3\n", 8, "not a multiple of tier 0's Radix_Down 3"),
        ("Radix_Down 4\n", "Nodes 32\n", 8, "above the first 'Tier' line"),
        ("Radix_Up 2\n", "", 6, "lacks Radix_Up"),
        ("Radix_Up 2\n", "Radix_Up 3\n", 10, "Oversubscribed of tier 0 is 2"),
        ("Oversubscribed 2\n", "", 6, "is absent (so 1)"),
        ("Radix_Down 2\n", "Radix_Down 5\n", 17, "2 switches of tier 0 in a pod x Bundle 1 make 2"),
        ("Bundle 2\n", "Bundle 3\n", 18, "not a multiple of tier 2's Bundle 3"),
        ("Bundle 2\n", "Bundle 2\nRadix_Up 2\n", 27, "in the top tier"),
        ("Radix_Down 8\n", "Radix_Down 4\n", 24, "4 pods x Bundle 2 make 8"),
        ("Downlink_Latency_ns 3000\n", "Downlink_Latency_ns 0.0001\n", 25, "not a whole number"),
    ],
)
def test_broken_topo(write: Callable[[str], Path], old: str, new: str, line: int, words: str) -> None:
    assert old in THREE
    found = faults(lambda: htsim.build(write(THREE.replace(old, new, 1))))
    assert any(place == line and words in message for place, _, message in found), found


def test_two_tiers_are_one_pod(write: Callable[[str], Path]) -> None:
    found = faults(lambda: htsim.build(write(TWO.replace("Podsize 32", "Podsize 16"))))
    assert found[0][0] == 3
    assert "Podsize must be Nodes (32)" in found[0][2]
