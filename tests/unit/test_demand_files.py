"""Demand files: what is read, every fault at its place, written and read again; and demands that no network carries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.builders import edges, leaf_spine
from models.candidates import Candidates, Protection
from models.demands import Demands, impossible, read, refuse_impossible, write
from models.errors import InputError
from models.topology import Topology

HEAD = "id,src,dst,bandwidth,priority\n"
CABLES = [("a", "b", 10), ("b", "c", 4), ("a", "c", 1), ("d", "a", 10), ("e", "f", 10), ("f", "e", 10)]
ROWS = [{"src": a, "dst": b, "rate": gbps * 10**9, "delay": 5} for a, b, gbps in CABLES]


@pytest.fixture
def network() -> Topology:
    """a, b, c in a ring of 10, 4 and 1 Gbit/s; the host d hangs on a; e and f are apart, with two cables."""
    return edges.build(links=ROWS, hosts=["d"])


def faults(call: Callable[[], object]) -> list[tuple[int, int, str]]:
    with pytest.raises(InputError) as caught:
        call()
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_what_a_file_says(tmp_path: Path, network: Topology) -> None:
    file = tmp_path / "demands.csv"
    file.write_text(
        "id,src,dst,bandwidth,priority,delay_bound,arrival,hold\n"
        "# a comment, and a blank line\n\n"
        "x,a,c,2.5Gbps,3,10ms,1s,2s\n"
        '"y, the second",0,b,10Mbps,1,,,\n'
    )
    demands = read(file, network)
    assert demands.id == ["x", "y, the second"]
    names = [[network.node_name[node] for node in nodes] for nodes in (demands.src, demands.dst)]
    assert names == [["a", "d"], ["c", "b"]]
    assert demands.bandwidth.tolist() == [2_500_000_000, 10_000_000]
    assert demands.priority.tolist() == [3, 1]
    assert demands.delay_bound.tolist() == [10**10, -1]
    assert demands.arrival.tolist() == [10**12, 0]
    assert demands.hold.tolist() == [2 * 10**12, -1]
    assert str(demands.problem(1, "bandwidth", "too much")) == f"{file}:5:21: too much"


BROKEN = [
    ("", "is empty; a header is due: id,src,dst,bandwidth,priority", (0, 1)),
    (HEAD, "holds no demands", (0, 1)),
    (HEAD[:-1] + ",hald\n", "unknown column 'hald'; did you mean 'hold'?", (1, 31)),
    ("id,src,dst,priority\nx,a,b,1\n", "the header lacks bandwidth", (1, 1)),
    (HEAD + "x,a,b,1Gbps\n", "4 cells, but the header has 5", (2, 1)),
    (HEAD + ",a,b,1Gbps,1\n", "id is empty", (2, 1)),
    (HEAD + "x,a,b,1Gbps,1\ny,a,b,1Gbps,1\nx,b,a,1Gbps,1\n", "the id 'x' is used twice, first in line 2", (4, 1)),
    (HEAD + "x,a,bb,1Gbps,1\n", "dst: no node 'bb'; did you mean 'b'?", (2, 5)),
    (HEAD + "x,1,b,1Gbps,1\n", "src: no host 1; there are 0..0", (2, 3)),
    (HEAD + "x,,b,1Gbps,1\n", "src is empty", (2, 3)),
    (HEAD + "x,a,a,1Gbps,1\n", "a demand from a to itself", (2, 5)),
    (HEAD + "x,a,b,0bps,1\n", "bandwidth must be above 0", (2, 7)),
    (HEAD + "x,a,b,-1Gbps,1\n", "bandwidth: '-1Gbps' is negative", (2, 7)),
    (HEAD + "x,a,b,NaN,1\n", "bandwidth: 'NaN' is not a rate", (2, 7)),
    (HEAD + "x,a,b,nanbps,1\n", "bandwidth: 'nanbps' is not a rate", (2, 7)),
    (HEAD + "x,a,b,5,1\n", "bandwidth: the bare number 5 has no unit", (2, 7)),
    (HEAD + "x,a,b,2Pbps,1\n", "bandwidth: '2Pbps' has an unknown unit", (2, 7)),
    (HEAD + "x,a,b,2000Tbps,1\n", "bandwidth must be at most 1125899906842624 bit/s", (2, 7)),
    (HEAD + "x,a,b,,1\n", "bandwidth is empty", (2, 7)),
    (HEAD + "x,a,b,1Gbps,0\n", "priority: '0' is not a whole number from 1", (2, 13)),
    (HEAD + "x,a,b,1Gbps,-2\n", "priority: '-2' is not a whole number", (2, 13)),
    (HEAD + "x,a,b,1Gbps,1.5\n", "priority: '1.5' is not a whole number", (2, 13)),
    (HEAD + "x,a,b,1Gbps,nan\n", "priority: 'nan' is not a whole number", (2, 13)),
    (HEAD + "x,a,b,1Gbps,99999999999\n", "priority: '99999999999' is not", (2, 13)),
    (HEAD + "x,a,b,1Gbps,\n", "priority is empty", (2, 13)),
    (HEAD[:-1] + ",hold\nx,a,b,1Gbps,1,0s\n", "hold must be above 0", (2, 15)),
    (HEAD[:-1] + ",delay_bound\nx,a,b,1Gbps,1,0s\n", "delay_bound must be above 0", (2, 15)),
    (HEAD[:-1] + ",arrival\nx,a,b,1Gbps,1,soon\n", "arrival: 'soon' is not a time", (2, 15)),
    (HEAD + '"x,a,b,1Gbps,1\n', "a quote is not closed", (2, 1)),
]


@pytest.mark.parametrize(("text", "message", "place"), BROKEN)
def test_broken_files(tmp_path: Path, network: Topology, text: str, message: str, place: tuple[int, int]) -> None:
    file = tmp_path / "demands.csv"
    file.write_text(text)
    (found,) = faults(lambda: read(file, network))
    assert found[:2] == place
    assert found[2].startswith(message)


def test_all_faults_at_once_and_files_that_are_none(tmp_path: Path, network: Topology) -> None:
    file = tmp_path / "demands.csv"
    file.write_text(HEAD + "x,a,a,0bps,0\nx,z,b,1Gbps,1\n")
    assert [(line, column) for line, column, _ in faults(lambda: read(file, network))] == [
        (2, 5),
        (2, 7),
        (2, 12),
        (3, 1),
        (3, 3),
    ]
    assert "No such file" in faults(lambda: read(tmp_path / "none.csv", network))[0][2]
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in faults(lambda: read(file, network))[0][2]


_amount = st.integers(1, 2**62)
_rows = st.tuples(st.integers(1, 2**50), st.integers(1, 10**9), *[st.one_of(st.just(-1), _amount)] * 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(_rows, min_size=1, max_size=5), st.data())
def test_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, ...]], data: st.DataObject
) -> None:
    topology = leaf_spine.build(2, 2, 2, (10**9, 5), (10**9, 5))
    ends = [data.draw(st.permutations(range(topology.nodes)))[:2] for _ in rows]
    columns = np.array([(*pair, *row) for pair, row in zip(ends, rows, strict=True)], dtype=np.int64).T.copy()
    columns[5] = np.maximum(columns[5], 0)  # arrivals
    names = [f'n {number}, "quoted"' for number in range(len(rows))]
    before = Demands(names, *columns)
    file = tmp_path_factory.mktemp("written") / "demands.csv"
    write(file, before, topology)
    after = read(file, topology)
    assert after.id == names
    assert all(np.array_equal(a, b) for a, b in zip(before[1:8], after[1:8], strict=True))


def demand(topology: Topology, src: str, dst: str, gbps: float) -> Demands:
    ends = [np.array([topology.node_index[name]]) for name in (src, dst)]
    one = np.array([1])
    return Demands(["x"], *ends, np.array([round(gbps * 10**9)]), one, -one, 0 * one, -one)


def reasons(topology: Topology, asked: Demands, protection: Protection = "none", paths: int = 8) -> list[str]:
    candidates = Candidates(topology, paths, protection=protection)
    return [reason for _, reason, _ in impossible(asked, candidates, topology.link_rate)]


def test_demands_that_no_path_carries(network: Topology) -> None:
    assert reasons(network, demand(network, "a", "c", 4)) == []
    above = "4.001Gbps is above every path from a to c; the widest carries 4Gbps"
    assert reasons(network, demand(network, "a", "c", 4.001)) == [above]
    # the widest path is not among the candidates: possible, though this controller will refuse it
    assert reasons(network, demand(network, "a", "c", 4), paths=1) == []
    assert reasons(network, demand(network, "b", "c", 4.5)) == [above.replace("4.001", "4.5").replace("a to", "b to")]
    assert reasons(network, demand(network, "a", "e", 1)) == ["no path from a to e"]
    assert reasons(network, demand(network, "e", "f", 1), "link") == []
    assert reasons(network, demand(network, "a", "e", 1), "link") == ["no path from a to e"]
    # one path but no second: refused when it is decided, no fault of the file
    single = edges.build(links=ROWS[:2], hosts=["a"])
    assert Candidates(single, protection="link").ways(1, 2) == []
    assert reasons(single, demand(single, "b", "c", 1), "link") == []
    assert reasons(single, demand(single, "b", "c", 5), "link") != []


def test_the_place_of_what_is_impossible(tmp_path: Path, network: Topology) -> None:
    file = tmp_path / "demands.csv"
    file.write_text(HEAD + "x,a,e,1Gbps,1\ny,d,c,5Gbps,1\nz,d,c,1Gbps,1\n")
    demands = read(file, network)
    found = faults(lambda: refuse_impossible(demands, Candidates(network), network.link_rate))
    assert found == [
        (2, 5, "dst: no path from a to e"),
        (3, 7, "bandwidth: 5Gbps is above every path from d to c; the widest carries 4Gbps"),
    ]
    with pytest.raises(InputError, match="demand x: bandwidth: 5Gbps is above"):
        refuse_impossible(demand(network, "d", "c", 5), Candidates(network), network.link_rate)
