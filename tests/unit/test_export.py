"""Export to htsim: what is written reads back as it was, and runs as the scenario does."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import run_sim
from models.builders import fat_tree, htsim, htsim_writer, leaf_spine, star
from models.connection_matrix import CmFailure, CmFlow, CmTrigger, ConnectionMatrix, read
from models.connection_matrix_writer import written
from models.topology import Topology
from sim import run
from sim.dispatch.api import Exchange
from sim.processes.plan import exchange_of
from sim.triggers import chained

FAST, SLOW = (4 * 10**11, 500_000), (10**11, 1_000_000)
SCENARIO = """name: small
engine: {engine}
fabric: {{topology: {topology}}}
dispatch: {{path: {path}, collective: {algorithm}}}
workload:
  - {workload}
"""
# where ranks may start in another order of one instant, a path must not depend on the flow's number
PATH = {"packet": "ecmp", "fluid": "spray"}
LEAVES = "{kind: leaf_spine, leaves: 4, spines: 2, hosts_per_leaf: 2}"


def scenario(engine: str, topology: str, algorithm: str, workload: str) -> str:
    return SCENARIO.format(engine=engine, topology=topology, algorithm=algorithm, workload=workload, path=PATH[engine])


@st.composite
def matrices(draw: st.DrawFn) -> ConnectionMatrix:
    """Flows in a chain: each may wait for a trigger that the one before fires."""
    nodes = draw(st.integers(2, 9))
    kinds = draw(st.lists(st.sampled_from([("oneshot", 1), ("multishot", 1), ("barrier", 1)]), max_size=4))
    triggers = [CmTrigger(number, kind, count, 0) for number, (kind, count) in enumerate(kinds, start=1)]
    flows = []
    for number in range(draw(st.integers(1, 8))):
        src = draw(st.integers(0, nodes - 1))
        dst = (src + draw(st.integers(1, nodes - 1))) % nodes
        trigger = number if 0 < number <= len(triggers) else None
        fires = number + 1 if number < len(triggers) else None
        start = draw(st.integers(0, 2**60)) if trigger is None else None
        late = draw(st.booleans())
        done = (fires, None) if late else (None, fires)
        priority = draw(st.none() | st.integers(0, 7))
        flows.append(CmFlow(number + 1, src, dst, start, draw(st.integers(1, 2**40)), trigger, *done, priority, 0))
    known = {flow.send_done_trigger for flow in flows} | {flow.recv_done_trigger for flow in flows}
    triggers = [one for one in triggers if one.id in known]
    failures = draw(st.lists(st.sampled_from([CmFailure("TOR", 1, 0, 0), CmFailure("AGG", 0, 3, 0)]), max_size=2))
    return ConnectionMatrix(nodes, flows, triggers, failures)


@given(matrix=matrices())
@settings(max_examples=100, deadline=None)
def test_a_matrix_reads_back_as_it_was(matrix: ConnectionMatrix, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cm") / "some.cm"
    path.write_text(written(matrix, ["a comment"]))
    back = read(path)
    assert back.nodes == matrix.nodes
    assert [flow._replace(line=0) for flow in back.flows] == matrix.flows
    assert [(one.id, one.kind, one.count) for one in back.triggers] == [
        (one.id, one.kind, one.count) for one in matrix.triggers
    ]
    assert [one._replace(line=0) for one in back.failures] == matrix.failures


THREE_SPEEDS = """Nodes 16
Tiers 3
Podsize 8
Tier 0
Downlink_speed_Gbps 100
Radix_Down 4
Radix_Up 2
Downlink_Latency_ns 500
Switch_Latency_ns 30
Oversubscribed 1
Tier 1
Downlink_speed_Gbps 200
Radix_Down 4
Radix_Up 2
Oversubscribed 2
Bundle 2
Downlink_Latency_ns 700
Switch_Latency_ns 40
Tier 2
Downlink_speed_Gbps 200
Radix_Down 2
Downlink_Latency_ns 900
"""


@pytest.mark.parametrize(
    "topology",
    [
        leaf_spine.build(4, 2, 4, FAST, FAST),
        leaf_spine.build(3, 1, 2, FAST, SLOW),
        fat_tree.build(FAST, FAST, k=4),
        fat_tree.build(FAST, FAST, k=6, tiers=2),
        fat_tree.build(FAST, FAST, k=8, oversubscription=2),
    ],
    ids=lambda topology: f"{topology.kind}-{topology.hosts}",
)
def test_a_fabric_reads_back_as_it_was(topology: Topology, tmp_path: Path) -> None:
    path = tmp_path / "some.topo"
    path.write_text(htsim_writer.written(topology, 10**6))
    back = htsim.build(path)
    assert (back.hosts, back.nodes, back.links) == (topology.hosts, topology.nodes, topology.links)
    for values in ("link_rate", "link_delay"):
        assert sorted(getattr(back, values).tolist()) == sorted(getattr(topology, values).tolist())
    assert back.edge_of_host.tolist() == topology.edge_of_host.tolist()


def test_a_file_of_htsim_comes_out_as_it_went_in(tmp_path: Path) -> None:
    path = tmp_path / "in.topo"
    path.write_text(THREE_SPEEDS)
    topology = htsim.build(path)
    path.write_text(htsim_writer.written(topology))
    again = htsim.build(path)
    for values in ("link_src", "link_dst", "link_rate", "link_delay"):
        np.testing.assert_array_equal(getattr(again, values), getattr(topology, values))
    words = {line for line in THREE_SPEEDS.splitlines() if "Oversubscribed" not in line}
    assert words <= set(path.read_text().splitlines())


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        (star.build(4, FAST), "star is no fat-tree"),
        (leaf_spine.build(2, 4, 2, FAST, FAST), "oversubscription of tier 0 is 0.5"),
        (leaf_spine.build(2, 2, 2, FAST, (4 * 10**11, 500)), "500ps is no whole number of ns"),
        (leaf_spine.build(2, 2, 2, FAST, (25 * 10**8, 500)), "whole number of Gbps"),
    ],
)
def test_fabrics_that_the_format_has_not(topology: Topology, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        htsim_writer.written(topology)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Exchange, list[int]]:
    """A shipped algorithm's messages, and how long each takes."""
    name, op, ranks = draw(st.sampled_from(ALGORITHMS)), draw(st.sampled_from(OPERATIONS)), draw(st.integers(2, 9))
    module = import_module(f"sim.dispatch.collective.{name}")
    policy = module.Policy(module.Params(chunk="100B") if name == "double_binary_tree" else module.Params())
    assume(op in policy.operations and policy.problem(op, ranks) is None)
    messages, counts = policy.schedule(op, ranks, draw(st.integers(1, 900)))
    took = draw(st.lists(st.integers(1, 50), min_size=len(messages), max_size=len(messages)))
    return exchange_of(messages, counts), took


ALGORITHMS = ("direct", "ring", "halving_doubling", "double_binary_tree")
OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all")


def arrivals(waits: list[int], fires: list[list[int]], counts: dict[int, int], took: list[int]) -> list[int]:
    """When each message arrives: it starts at 0 or when its gate has been fired often enough."""
    left, found = dict(counts), [-1] * len(waits)
    heap = [(took[index], index) for index, gate in enumerate(waits) if gate < 0]
    heapq.heapify(heap)
    while heap:
        now, index = heapq.heappop(heap)
        found[index] = now
        for gate in fires[index]:
            left[gate] -= 1
            if left[gate] == 0:
                for other in np.flatnonzero(np.array(waits) == gate).tolist():
                    heapq.heappush(heap, (now + took[other], other))
    return found


@given(case=schedules())
@settings(max_examples=150, deadline=None)
def test_triggers_start_what_the_schedule_starts(case: tuple[Exchange, list[int]]) -> None:
    exchange, took = case
    took = [time if size else 0 for time, size in zip(took, exchange.bytes.tolist(), strict=True)]
    opens = [[gate] if gate >= 0 else [] for gate in exchange.opens.tolist()]
    due = arrivals(exchange.waits_for.tolist(), opens, dict(enumerate(exchange.counts)), took)
    real = np.flatnonzero(exchange.bytes).tolist()
    due = [due[index] for index in real]
    try:
        chains, counts = chained(exchange)
    except ValueError:
        return
    assert [(one.src, one.dst, one.size) for one in chains] == [
        (int(exchange.src[index]), int(exchange.dst[index]), int(exchange.bytes[index])) for index in real
    ]
    fires = [[gate for gate in (one.recv_done, one.send_done) if gate is not None] for one in chains]
    waits = [-1 if one.trigger is None else one.trigger for one in chains]
    found = arrivals(waits, fires, counts, [took[index] for index in real])
    if all(one.send_done is None for one in chains):
        assert found == due
    assert all(time >= early for time, early in zip(found, due, strict=True))


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, int]]:
    """Writes a scenario and exports it to out.cm and out.topo."""
    monkeypatch.chdir(tmp_path)

    def call(text: str, *options: str) -> tuple[Path, int]:
        (tmp_path / "in.yaml").write_text(text)
        files = ["--matrix", "out.cm", "--topology", "out.topo"]
        return tmp_path, run_sim.main(["export", "in.yaml", *(options or files)])

    return call


def times(flows: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = ["start_us", "src", "dst", "bytes", "delivered_us", "end_us"]
    return sorted(flows[columns].itertuples(index=False, name=None))


SAME = [
    ("packet", LEAVES, "direct", "{kind: matrix, pattern: permutation, size: 100KB, start: 3us}"),
    ("packet", LEAVES, "direct", "{kind: flows, arrivals: {kind: poisson, load: 0.5}, sizes: websearch, count: 30}"),
    ("packet", LEAVES, "direct", "{kind: collective, op: all_reduce, size: 100KB}"),
    ("packet", LEAVES, "ring", "{kind: collective, op: all_reduce, size: 100KB, group: [0, 3, 4, 7, 2]}"),
    ("packet", "{kind: fat_tree, k: 4}", "ring", "{kind: collective, op: all_gather, size: 64KB}"),
    ("fluid", "{kind: fat_tree, k: 4}", "direct", "{kind: collective, op: all_to_all, size: 64KB, repeat: 3}"),
    ("fluid", LEAVES, "halving_doubling", "{kind: collective, op: all_reduce, size: 64KB}"),
    ("fluid", LEAVES, "ring", "{kind: collective, op: broadcast, size: 64KB, root: 2}"),
]


@pytest.mark.parametrize(("engine", "topology", "algorithm", "workload"), SAME)
def test_the_exported_case_runs_as_the_scenario(
    export: Callable[..., tuple[Path, int]], engine: str, topology: str, algorithm: str, workload: str
) -> None:
    text = scenario(engine=engine, topology=topology, algorithm=algorithm, workload=workload)
    folder, code = export(text)
    assert code == 0
    there = scenario(
        engine=engine, topology="{kind: htsim, file: out.topo}", algorithm="direct",
        workload="{kind: matrix, file: out.cm}",
    )  # fmt: skip
    (folder / "out.yaml").write_text(there)
    here, back = (run(folder / name, quiet=True).frame("flows") for name in ("in.yaml", "out.yaml"))
    assert len(here) > 5
    assert times(back) == times(here)


def test_rounds_of_a_schedule_with_dependencies_wait_for_acks(export: Callable[..., tuple[Path, int]]) -> None:
    workload = "{kind: collective, op: all_reduce, size: 64KB}"
    folder, code = export(scenario(engine="packet", topology=LEAVES, algorithm="halving_doubling", workload=workload))
    assert code == 0
    assert "flows start others by send_done_trigger" in (folder / "out.cm").read_text()


@pytest.mark.parametrize(
    ("workload", "extra", "words"),
    [
        ("{kind: flows, arrivals: {kind: poisson, load: 0.5}, sizes: websearch}", "stop: {time: 1ms}\n", "have no end"),
        ("{kind: collective, op: all_to_all, size: 64KB, repeat: 2, gap: 1us}", "", "GPUs compute between rounds"),
        ("{kind: collective, op: all_reduce, size: 64KB, repeat: 2}", "", "wait for two things"),
        (
            "{kind: matrix, pattern: permutation, size: 1KB}",
            "events: [{at: 1us, link: leaf0-spine0, set: down}]\n",
            "goes down at a time of its own",
        ),
        (
            "{kind: matrix, pattern: permutation, size: 1KB}",
            "events: [{at: 0us, link: leaf0-spine0, set: loss, loss: 1e-3}]\n",
            "loses packets",
        ),
        (
            "{kind: matrix, pattern: permutation, size: 1KB}",
            "events: [{at: 0ps, link: leaf0->spine0, set: down}]\n",
            "no uplink of a switch, whole",
        ),
        (
            "{kind: matrix, pattern: permutation, size: 1KB}",
            "",
            "leaf1 has 100Gbps, others of its tier 400Gbps",
        ),
    ],
)
def test_what_the_formats_can_not_express(
    export: Callable[..., tuple[Path, int]], capsys: pytest.CaptureFixture[str], workload: str, extra: str, words: str
) -> None:
    text = scenario(engine="packet", topology=LEAVES, algorithm="direct", workload=workload) + extra
    if "100Gbps" in words:
        text = text.replace(f"topology: {LEAVES}", f"topology: {LEAVES}, links: {{leaf1-spine0: {{rate: 100Gbps}}}}")
    folder, code = export(text)
    assert code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("in.yaml:")
    assert sorted(path.name for path in folder.iterdir()) == ["in.yaml"]


def test_links_that_are_down_are_failures(export: Callable[..., tuple[Path, int]]) -> None:
    text = scenario(
        engine="fluid", topology=LEAVES, algorithm="direct", workload="{kind: matrix, pattern: permutation, size: 1KB}"
    )
    folder, code = export(text + "events:\n  - {at: 0ps, switch: spine1, set: down}\n")
    assert code == 0
    found = [tuple(one)[:3] for one in read(folder / "out.cm").failures]
    assert found == [("TOR", leaf, 1) for leaf in range(4)]


VARIANTS = "variants:\n  a: {dispatch.path: spray}\n  b: {dispatch.path: ecmp}\n"


def test_variants(export: Callable[..., tuple[Path, int]], capsys: pytest.CaptureFixture[str]) -> None:
    workload = "{kind: matrix, pattern: permutation, size: 1KB}"
    text = scenario(engine="fluid", topology=LEAVES, algorithm="direct", workload=workload)
    assert export(text + VARIANTS)[1] == 0  # both send the same
    other = text + VARIANTS.replace("dispatch.path: ecmp", "workload.0.size: 2KB")
    assert export(other)[1] == 2
    assert "variants a and b give different files" in capsys.readouterr().err
    files = ["--matrix", "out.cm", "--topology", "out.topo"]
    folder, code = export(other, *files, "--variant", "b")
    assert code == 0
    assert "size 2000" in (folder / "out.cm").read_text()
    assert export(other, *files, "--variant", "c")[1] == 2
    assert "no variant 'c'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--plugin", "none.py"], "nothing to write"),
        (["--matrix", "missing/out.cm"], "can't be written"),
        (["--matrix", "."], "can't be written"),
        (["--matrix", "out", "--topology", "out"], "named for both files"),
    ],
)
def test_wrong_options(
    export: Callable[..., tuple[Path, int]], capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    workload = "{kind: matrix, pattern: permutation, size: 1KB}"
    text = scenario(engine="fluid", topology=LEAVES, algorithm="direct", workload=workload)
    folder, code = export(text, *options)
    assert code == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["in.yaml"]
