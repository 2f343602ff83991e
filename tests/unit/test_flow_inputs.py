"""Connection matrices and flow tables: what they hold, and every fault at its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.builders import star
from models.connection_matrix import ConnectionMatrix, Triggers, read
from models.errors import InputError
from models.flow_files import read as read_flows

GOOD = """# two chains and a barrier
Nodes 8
Connections 4
Triggers 2
0->1 id 1 start 0 size 2000000 send_done_trigger 1
2->3 id 2 start 1500000.4 size 10 recv_done_trigger 2 prio 3
1->2 id 3 trigger 1 size 5 send_done_trigger 2
3->0 size 7 id 4 trigger 2
trigger id 1 oneshot
trigger id 2 barrier count 2
failure switch_type AGG switch_id 3 link_id 0
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], ConnectionMatrix]:
    def run(text: str) -> ConnectionMatrix:
        path = tmp_path / "some.cm"
        path.write_text(text)
        return read(path)

    return run


def faults(run: Callable[[], object]) -> list[tuple[int, int, str]]:
    with pytest.raises(InputError) as caught:
        run()
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_a_matrix_with_triggers(load: Callable[[str], ConnectionMatrix]) -> None:
    matrix = load(GOOD)
    assert matrix.nodes == 8
    assert [tuple(flow) for flow in matrix.flows] == [
        (1, 0, 1, 0, 2_000_000, None, 1, None, None, 5),
        (2, 2, 3, 1_500_000, 10, None, None, 2, 3, 6),
        (3, 1, 2, None, 5, 1, 2, None, None, 7),
        (4, 3, 0, None, 7, 2, None, None, None, 8),
    ]
    assert [(one.id, one.kind, one.count) for one in matrix.triggers] == [(1, "oneshot", 1), (2, "barrier", 2)]
    assert tuple(matrix.failures[0]) == ("AGG", 3, 0, 11)


def test_triggers_at_work(load: Callable[[str], ConnectionMatrix]) -> None:
    started: list[int] = []
    triggers = Triggers(load(GOOD), started.append)
    triggers.activate(2)
    assert started == []
    triggers.activate(1)
    triggers.activate(1)
    assert started == [2]
    triggers.activate(2)
    triggers.activate(None)
    assert started == [2, 3]


def test_plain_matrix_without_ids(load: Callable[[str], ConnectionMatrix]) -> None:
    matrix = load("Nodes 128\r\nConnections 1\r\n0->1  start 0 size 131072\r\n")
    assert matrix.flows[0][:5] == (None, 0, 1, 0, 131072)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("Nodes 8\n", "", (0, 1), "lacks Nodes"),
        ("Nodes 8\n", "Nodes x\n", (2, 7), "'x' is not a whole number"),
        ("Nodes 8\n", "Nodes 8 9\n", (2, 9), "'9' is too much"),
        ("Nodes 8\n", "Nods 8\n", (2, 1), "did you mean 'Nodes'?"),
        ("Connections 4\n", "Connections 5\n", (3, 1), "Connections is 5, but the file has 4"),
        ("Triggers 2\n", "Triggers 1\n", (4, 1), "Triggers is 1, but the file has 2"),
        ("0->1 id", "0->9 id", (5, 4), "node 9 is outside 0..7"),
        ("0->1 id", "1->1 id", (5, 1), "to itself"),
        ("0->1 id", "0->b id", (5, 1), "not src->dst"),
        ("0->1 id", "0 -> 1 id", (5, 1), "without blanks"),
        ("id 2 start", "id 1 start", (6, 1), "flow id 1 is used twice (first on line 5)"),
        ("id 2 start", "id 0 start", (6, 9), "at least 1"),
        ("size 10 ", "", (6, 1), "no size"),
        ("size 10 ", "size 0 ", (6, 32), "at least 1"),
        ("size 10 ", "sze 10 ", (6, 27), "did you mean 'size'?"),
        ("size 10 ", "size ", (6, 27), "'size' has no value"),
        ("start 1500000.4", "start -1", (6, 17), "negative"),
        ("start 1500000.4", "start nan", (6, 17), "not a number"),
        ("start 1500000.4 ", "", (6, 1), "neither start nor trigger"),
        ("trigger 1 size 5", "trigger 1 start 0 size 5", (7, 19), "both start and trigger"),
        ("trigger 1 size 5", "trigger 7 size 5", (7, 1), "no trigger 7 is defined; the file defines 1, 2"),
        ("prio 3", "prio 3 extra", (6, 62), "unknown word 'extra'"),
        ("barrier count 2", "barrier", (10, 14), "needs its count"),
        ("barrier count 2", "barrier count 3", (8, 1), "never starts: trigger 2"),
        ("id 1 oneshot", "id 1 oneshot count 2", (9, 28), "count belongs to a barrier"),
        ("id 1 oneshot", "id 1 onshot", (9, 14), "did you mean 'oneshot'?"),
        ("id 1 oneshot", "id 1", (9, 1), "is one of oneshot"),
        ("id 1 oneshot", "oneshot", (9, 1), "has no id"),
        ("id 1 oneshot", "id 2 oneshot", (10, 1), "trigger id 2 is used twice"),
        ("AGG", "ADD", (11, 21), "unknown switch_type 'ADD'"),
        ("link_id 0", "", (11, 1), "lacks link_id"),
    ],
)
def test_broken_matrices(
    load: Callable[[str], ConnectionMatrix], old: str, new: str, place: tuple[int, int], words: str
) -> None:
    assert old in GOOD
    found = faults(lambda: load(GOOD.replace(old, new, 1)))
    assert any((line, column) == place and words in message for line, column, message in found), found


def test_triggers_that_wait_for_each_other(load: Callable[[str], ConnectionMatrix]) -> None:
    text = (
        "Nodes 2\nConnections 2\n0->1 trigger 1 size 1 send_done_trigger 2\n1->0 trigger 2 size 1 recv_done_trigger 1\n"
    )
    found = faults(lambda: load(text + "trigger id 1 oneshot\ntrigger id 2 multishot\n"))
    assert [line for line, *_ in found] == [3, 4]


def test_flow_table(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("start,src,dst,size\n2us,host0,host1,64KiB\n1us,3,host0,1B\n2us,host2,0,1KB\n")
    table = read_flows(path, star.build(4, (1, 1)))
    assert table.start.tolist() == [10**6, 2 * 10**6, 2 * 10**6]
    assert table.src.tolist() == [3, 0, 2]
    assert table.dst.tolist() == [0, 1, 0]
    assert table.size.tolist() == [1, 65536, 1000]
    assert table.line.tolist() == [3, 2, 4]


def test_flow_table_names_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("start,src,dst,size\n2,host0,host1,1B\n1us,hots3,9,0B\n1us,host2,2,-1B\n")
    found = faults(lambda: read_flows(path, star.build(4, (1, 1))))
    assert [(line, column) for line, column, _ in found] == [(2, 1), (3, 5), (3, 11), (3, 13), (4, 11), (4, 13)]
    assert "did you mean 'host3'?" in found[1][2]
    assert "there are 0..3" in found[2][2]
    path.write_text("start,src,dst,size\n")
    assert "no flows" in faults(lambda: read_flows(path, star.build(4, (1, 1))))[0][2]
