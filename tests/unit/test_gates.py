"""Gates: flows and rounds of collectives that ask for a path of some rate first. Short stories with exact times."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from sim import run
from sim.results import Results

STAR = {"kind": "star", "hosts": 4, "host_link": {"rate": "100Gbps", "delay": "1us"}}
CLOS = {
    "kind": "leaf_spine", "leaves": 2, "spines": 2, "hosts_per_leaf": 2,
    "host_link": {"rate": "400Gbps", "delay": "1us"}, "fabric_link": {"rate": "100Gbps", "delay": "1us"},
}  # fmt: skip
PAIR = {"kind": "fixed", "src": "host0", "dst": "host2"}


def flows(*gaps: str, **gate: Any) -> dict[str, Any]:
    """Of 750 kB from host0 to host2: 100 us at 60 Gbit/s, and some delay."""
    arrivals = {"kind": "gaps", "gaps": list(gaps)}
    sizes = {"kind": "constant", "size": "750KB"}
    gate = {"rate": "60Gbps", **gate}
    return {"kind": "flows", "arrivals": arrivals, "sizes": sizes, "pairs": PAIR, "admission": gate}


def ring(repeat: int = 1, **gate: Any) -> dict[str, Any]:
    gate = {"rate": "60Gbps", **gate}
    return {"kind": "collective", "op": "all_gather", "size": "3MB", "repeat": repeat, "admission": gate}


def ran(topology: dict[str, Any], *workload: dict[str, Any], **more: Any) -> Results:
    values = {"name": "gates", "engine": "fluid", "workload": list(workload), **more}
    values["fabric"] = {"topology": topology, "convergence_delay": "0ns"}
    return run(values)


def rows(results: Results, table: str, *columns: str) -> list[tuple[Any, ...]]:
    frame = results.frame(table, list(columns))
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in frame.itertuples(index=False)]


def counters(results: Results) -> dict[tuple[str, str], int]:
    return {(name, reason): count for name, reason, count in rows(results, "counters", "name", "reason", "count")}


def test_a_flow_is_held_until_there_is_room() -> None:
    """The second asks while the first has the path, and waits for its last byte; it waits from its start on."""
    results = ran(STAR, flows("10us", "20us"))
    assert results.status == "completed"
    times = rows(results, "flows", "start_us", "end_us", "path", "status")
    path = "host0>switch0>host2"
    assert times == [(10.0, 112.0, path, "finished"), (30.0, 214.0, path, "finished")]
    assert rows(results, "flow_times", "hold_ps", "sharing_ps") == [(0, 0), (82_000_000, 0)]


def test_a_flow_is_rejected_where_there_is_no_room() -> None:
    results = ran(STAR, flows("10us", "20us", "100us", full="reject"))
    assert results.status == "completed"
    assert rows(results, "flows", "end_us", "status") == [(112.0, "finished"), (None, "rejected"), (232.0, "finished")]
    assert counters(results) == {("flows rejected", "admission"): 1}
    assert results.summary["reasons"] == ["1 flows rejected: admission"]


def test_a_flow_that_loses_patience_is_rejected() -> None:
    results = ran(STAR, flows("10us", "20us", "10us", patience="75us"))
    assert rows(results, "flows", "end_us", "status") == [(112.0, "finished"), (None, "rejected"), (214.0, "finished")]


def test_flows_take_other_paths_while_there_are_some() -> None:
    results = ran(CLOS, flows("1us", "1us", "1us"))
    spines = [path.split(">")[2] for (path,) in rows(results, "flows", "path")]
    assert spines == ["spine0", "spine1", "spine0"]
    assert rows(results, "flow_times", "hold_ps")[:2] == [(0,), (0,)]


def test_a_gate_leaves_the_arrivals_as_they_are() -> None:
    gates = ({}, {"rate": "1Gbps"}, {"full": "reject"})
    starts = [rows(ran(STAR, flows("1us", "2us", "3us", **gate)), "flows", "start_us") for gate in gates]
    assert starts == [[(1.0,), (3.0,), (6.0,)]] * 3


def test_time_of_the_controller_is_held_time() -> None:
    results = ran(STAR, flows("10us"), dispatch={"admission": {"kind": "greedy", "time": "5us"}})
    assert rows(results, "flows", "start_us", "end_us") == [(10.0, 117.0)]
    assert rows(results, "flow_times", "hold_ps") == [(5_000_000,)]


def change(state: str, link: str, at: str) -> dict[str, Any]:
    return {"at": at, "link": link, "set": state}


def test_a_flow_moves_when_its_path_fails() -> None:
    """To the other spine at once, since tables converge at once here."""
    results = ran(CLOS, flows("0us"), events=[change("down", "leaf0-spine0", "50us")])
    path = "host0>leaf0>spine0>leaf1>host2"  # the first one
    assert rows(results, "flows", "end_us", "path", "status") == [(104.0, path, "finished")]
    used = dict(rows(results, "reservations", "link", "demands"))
    assert [used[f"leaf0->spine{number}"] for number in (0, 1)] == [1, 1]


def test_a_flow_without_any_path_left_stops() -> None:
    """The run goes on without it."""
    events = [change("down", "host0-switch0", "50us"), change("up", "host0-switch0", "100us")]
    results = ran(STAR, flows("0us", "200us", full="reject"), events=events)
    assert results.status == "completed"
    assert rows(results, "flows", "end_us", "status") == [(50.0, "stopped"), (302.0, "finished")]
    assert counters(results)["flows stopped", "the reserved path was taken away"] == 1


def test_a_more_important_demand_stops_a_flow() -> None:
    demand = {
        "kind": "demands", "arrivals": {"kind": "gaps", "gaps": ["50us"]}, "hold": {"kind": "constant", "time": "1ms"},
        "bandwidth": "60Gbps", "priorities": [2], "pairs": PAIR,
    }  # fmt: skip
    results = ran(STAR, flows("0us"), demand, dispatch={"admission": {"kind": "greedy", "preempt": True}})
    assert results.status == "completed"
    assert rows(results, "flows", "status") == [("stopped",), ("finished",)]
    assert rows(results, "demands", "status") == [("ended",)]


def test_a_round_waits_for_all_of_its_paths() -> None:
    """A flow has 60 of 100 Gbit/s of one of the pairs; the round begins when it is gone, and holds all its messages."""
    results = ran(STAR, flows("0us"), ring(), dispatch={"collective": "ring"})
    ((start, took),) = rows(results, "collectives", "start_us", "time_us")
    # 3 steps of 750 kB at 60 Gbit/s, each 100 us and 2 us of delay, after 102 us
    assert (start, took) == (0.0, 408.0)
    assert sum(hold for (hold,) in rows(results, "flow_times", "hold_ps")) == 4 * 102_000_000


def test_rounds_that_fit_beside_each_other_run_beside_each_other() -> None:
    results = ran(STAR, ring(rate="50Gbps"), ring(rate="50Gbps"), dispatch={"collective": "ring"})
    assert [took for (took,) in rows(results, "collectives", "time_us")] == [pytest.approx(366.0)] * 2


def test_messages_of_a_pair_go_one_after_the_other() -> None:
    """The pair has 60 Gbit/s, not each of the 23 chunks of the double tree's pipeline."""
    work = {"kind": "collective", "op": "broadcast", "size": "6MB", "group": [0, 1], "admission": {"rate": "60Gbps"}}
    results = ran(STAR, work, dispatch={"collective": "double_binary_tree"})
    (took,) = rows(results, "collectives", "time_us")[0]
    messages = len(rows(results, "flows", "id"))
    assert messages > 20
    assert took == pytest.approx(800.0 + 2.0 * messages, rel=1e-6)


def test_a_round_without_room_is_not_run() -> None:
    """Nor is a part of it; the next round is."""
    work = ring(repeat=2, full="reject") | {"gap": "200us"}
    results = ran(STAR, flows("0us"), work, dispatch={"collective": "ring"})
    assert results.status == "completed"
    assert [took for (took,) in rows(results, "collectives", "time_us")] == [None, 306.0]
    assert counters(results)["collectives rejected", "admission"] == 1


def test_a_round_that_loses_a_path_is_called_off() -> None:
    """All its messages stop, and so the other paths are free; the next round asks again."""
    events = [change("down", "host1-switch0", "50us"), change("up", "host1-switch0", "60us")]
    results = ran(STAR, ring(repeat=2), events=events, dispatch={"collective": "ring"})
    assert results.status == "completed"
    assert [took for (took,) in rows(results, "collectives", "time_us")] == [None, pytest.approx(316.0)]
    assert counters(results)["collectives called off", "the reserved path was taken away"] == 1
    assert max(peak for (peak,) in rows(results, "reservations", "peak_mbps")) == 60_000


@pytest.mark.parametrize("path", ["ecmp", "spray"])
def test_a_flow_whose_last_acks_are_lost_goes_where_tables_lead(path: str) -> None:
    """It gives its path back when all has arrived; the cable breaks for good with ACKs on it."""
    gaps = {"kind": "gaps", "gaps": ["0ns"]}
    sizes = {"kind": "constant", "size": "4KB"}
    gated = {"kind": "flows", "arrivals": gaps, "sizes": sizes, "pairs": PAIR, "admission": {"rate": "60Gbps"}}
    quiet = rows(ran(CLOS, gated, engine="packet"), "flows", "delivered_us", "path")
    arrived, way = quiet[0]
    _, leaf, spine, *_ = way.split(">")
    broken = [{"at": f"{int(arrived * 1000) + 1100}ns", "link": f"{leaf}-{spine}", "set": "down"}]
    world = {"engine": "packet", "events": broken, "dispatch": {"path": path}}
    results = ran(CLOS, gated, **world)
    assert results.status == "completed"
    assert rows(results, "flows", "status") == [("finished",)]
    assert counters(results)["packets lost", "link down"] > 0


def test_a_round_that_never_has_room_stalls_with_a_name() -> None:
    results = ran(STAR, ring(), events=[change("down", "host1-switch0", "0us")], dispatch={"collective": "ring"})
    assert results.status == "stalled"
    assert "flow 0 of 750000 B from host0 to host1 waits for admission" in results.summary["reasons"]


@pytest.mark.parametrize("engine", ["packet", "ideal"])
def test_other_engines_agree_with_the_reference(engine: str) -> None:
    work = (flows("1us", "1us", "1us"), ring(rate="5Gbps"))
    found = [
        rows(ran(CLOS, *work, engine=name, dispatch={"collective": "ring"}), "flows", "start_us", "end_us", "path")
        for name in (engine, "reference" if engine == "packet" else "fluid")
    ]
    assert found[0] == found[1]
