"""The workload of demands: draws, load, files, what admitted demands send, and the tables of a run."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import offered
from models.builders import leaf_spine
from sim import load, run
from sim.processes import demands, pairs
from sim.processes.arrivals import BLOCK, EqualGaps, PoissonGaps

RNG = np.random.default_rng
LINKS = [
    {"src": a, "dst": b, "rate": rate, "delay": "1us"}
    for a, b, rate in (
        ("a", "s", "10Gbps"),
        ("s", "u", "1Gbps"),
        ("u", "t", "1Gbps"),
        ("s", "v", "1Gbps"),
        ("v", "t", "1Gbps"),
        ("t", "b", "10Gbps"),
    )
]


def world(*workload: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Two routes of 1 Gbit/s from a to b."""
    topology = {"kind": "edges", "links": LINKS}
    return {"name": "two_routes", "engine": "fluid", "fabric": {"topology": topology}, "workload": workload} | keys


def asked(**keys: Any) -> dict[str, Any]:
    drawn = {"kind": "demands", "arrivals": {"kind": "poisson", "rate": "100/s"}, "bandwidth": "300Mbps"}
    ends = {"pairs": {"kind": "fixed", "src": "a", "dst": "b"}}
    return drawn | {"hold": {"kind": "exponential", "mean": "100ms"}, "count": 40} | ends | keys


def rngs(seed: int) -> demands.Rngs:
    return demands.Rngs(*(RNG(seed + number) for number in range(5)))


def blocks(**changes: Any) -> demands.Block:
    """One block of 2,000 demands."""
    given: dict[str, Any] = {
        "gaps": PoissonGaps(1e6),
        "pairs": pairs.Uniform(5),
        "bandwidth": demands.Exponential(1000),
        "hold": demands.Exponential(5000),
        "priorities": [(3, 0.2), (1, 0.8)],
        "count": 2000,
    }
    (block,) = demands.draw_demands(rngs(1), **(given | changes))
    return block


def test_every_kind_of_draw_has_a_stream_of_its_own() -> None:
    one = blocks()
    other = blocks(hold=demands.Choice((7,)), bandwidth=demands.Uniform(5, 9))
    for name in ("start", "src", "dst", "priority"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert set(other.hold.tolist()) == {7}
    assert set(other.bandwidth.tolist()) == {5, 6, 7, 8, 9}
    assert one.bandwidth.mean() == pytest.approx(1000, rel=0.1)
    assert one.bandwidth.min() >= 1
    assert (one.priority == 3).mean() == pytest.approx(0.2, abs=0.03)
    assert (one.delay_bound == -1).all()


def test_count_and_until_end_the_arrivals() -> None:
    drawn = list(
        demands.draw_demands(
            rngs(1), EqualGaps(10), pairs.Uniform(3), demands.Choice((1,)), None, [(1, 1.0)], count=BLOCK + 3
        )
    )
    assert [len(block.start) for block in drawn] == [BLOCK, 3]
    assert (drawn[0].hold == -1).all()
    short = blocks(gaps=EqualGaps(10), until=95)
    assert short.start.tolist() == list(range(10, 100, 10))


def test_gravity_pairs_follow_the_product_of_their_masses() -> None:
    mass = np.array([1.0, 0.0, 2.0, 5.0])
    gravity = pairs.Gravity(mass)
    src, dst = gravity.draw(RNG(3), 200_000)
    counts = np.zeros((4, 4))
    np.add.at(counts, (src, dst), 1)
    rows = np.stack([gravity.row(host) for host in range(4)])
    assert rows.sum() == pytest.approx(1.0)
    product = np.outer(mass, mass) * (1 - np.eye(4))
    assert rows == pytest.approx(product / product.sum())
    assert counts / 200_000 == pytest.approx(rows, abs=0.004)
    assert (counts[rows == 0] == 0).all()


@pytest.mark.parametrize(
    "drawn",
    [
        pairs.Uniform(6),
        pairs.Permutation(6, RNG(1)),
        pairs.RackSkewed([0, 0, 1, 1, 1, 2], 0.0),
        pairs.RackSkewed([0, 0, 0, 1, 1, 1], 0.3),
        pairs.Fixed(2, 4, 6),
    ],
)
def test_rows_of_pairs_are_how_often_they_are_drawn(drawn: pairs.Pairs) -> None:
    rows = np.stack([drawn.row(host) for host in range(6)])
    counts = np.zeros((6, 6))
    np.add.at(counts, drawn.draw(RNG(2), 100_000), 1)
    assert rows.sum() == pytest.approx(1.0)
    assert counts / 100_000 == pytest.approx(rows, abs=0.005)


def test_mean_hops_count_links_between_switches_only() -> None:
    topology = leaf_spine.build(leaves=3, spines=2, hosts_per_leaf=2, host_link=(10, 1), fabric_link=(10, 1))
    # of the 5 others 1 is at the same leaf, 4 are two links away
    assert offered.mean_hops(topology, pairs.Uniform(6).row) == pytest.approx(8 / 5)
    assert offered.mean_hops(topology, pairs.Fixed(0, 1, 6).row) == 0.0
    assert offered.fabric_rate(topology) == 2 * 6 * 10
    assert offered.masses(topology).tolist() == [10.0] * 6


def test_load_is_what_demands_would_take_of_the_links_between_switches(tmp_path: Path) -> None:
    topology = {"kind": "leaf_spine", "leaves": 3, "spines": 2, "hosts_per_leaf": 2}
    work = asked(arrivals={"kind": "poisson", "load": 0.4}, bandwidth="1Gbps", pairs="uniform", count=600)
    scenario = world({**work, "traffic": False}, fabric={"topology": topology})
    found = run(scenario, out=tmp_path / "out")
    table = found.frame("demands")
    leaf = {f"host{host}": host // 2 for host in range(6)}
    hops = np.where(table.src.map(leaf) == table.dst.map(leaf), 0, 2)
    took = (table.bandwidth_mbps * 1e6 * table.hold_s * hops).sum() / table.arrival_s.max()
    assert took / (12 * 400e9) == pytest.approx(0.4, rel=0.15)
    assert found.manifest["loads"] == [0.4]


FILE = """id,src,dst,bandwidth,priority,delay_bound,arrival,hold
late,a,b,800Mbps,2,,2s,1s
first,a,b,800Mbps,1,,0s,10s
twin,a,b,800Mbps,5,,0s,10s
quick,a,b,1Mbps,1,3us,0s,1s
slow,a,b,1Mbps,1,4us,0s,1s
"""


def test_a_file_is_taken_in_order_of_arrival_and_bounds_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.csv").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    table = run(world({"kind": "demands", "file": "some.csv"})).frame("demands").set_index("id")
    assert list(table.index) == ["first", "twin", "quick", "slow", "late"]
    assert table.status.to_dict() == {
        "first": "ended", "twin": "ended", "quick": "rejected", "slow": "ended", "late": "rejected"
    }  # fmt: skip
    assert table.reason["quick"] == "no path keeps its delay bound"
    assert table.reason["late"].startswith("no path has room; the first lacks it on s->")
    assert {table.path["first"], table.path["twin"]} == {"a>s>u>t>b", "a>s>v>t>b"}
    assert table.carried[["first", "twin", "slow"]].tolist() == [1.0, 1.0, 1.0]
    assert table.end_s["first"] == 10.0


def test_payload_has_room_for_headers() -> None:
    assert demands.Traffic(None, 1.0).payload(8_000, 10**12) == 1000
    packets = demands.Traffic(None, 1.0, mtu=90, header=10)
    assert [packets.payload(8 * size, 10**12) for size in (1000, 1050, 1009, 5)] == [900, 940, 900, 0]


@pytest.mark.parametrize("engine", ["fluid", "packet", "ideal"])
def test_admitted_demands_send_at_their_bandwidth_until_they_leave(engine: str, tmp_path: Path) -> None:
    """Admission keeps links from being overbooked, so all arrives that the bandwidth has room for."""
    work = asked(hold={"kind": "exponential", "mean": "2ms"}, arrivals={"kind": "poisson", "rate": "5/ms"})
    found = run(world(work, engine=engine), out=tmp_path / "out")
    table, links, books = (found.frame(name) for name in ("demands", "links", "reservations"))
    admitted = table[table.admitted == 1]
    assert 0 < len(admitted) < 40
    assert (table[table.admitted == 0].status == "rejected").all()
    assert (admitted.status == "ended").all()
    assert admitted.carried.to_numpy() == pytest.approx(1.0, abs=1e-6 if engine != "packet" else 0.02)
    assert table[table.admitted == 0].carried.isna().all()
    assert (books.peak_mbps <= books.capacity_mbps).all()
    # what was reserved over time is what the links carried; ACKs come back unreserved
    used = (books.mean_mbps > 0).to_numpy()
    took, sent = books.mean_mbps.to_numpy(), (links.utilisation * links.rate_gbps).to_numpy() * 1e3
    assert sent[used] == pytest.approx(took[used], rel=0.02)


def test_demands_take_their_share_from_flows_and_flows_the_rest(tmp_path: Path) -> None:
    """One route of 1 Gbit/s: a demand of 600 Mbit/s beside a flow; with a large share it keeps what it was given."""
    flows = tmp_path / "flows.csv"
    flows.write_text("start,src,dst,size\n0s,a,b,100MB\n")
    wanted = tmp_path / "demands.csv"
    wanted.write_text("id,src,dst,bandwidth,priority,hold\none,a,b,600Mbps,1,1s\n")
    links = [{"src": "a", "dst": "b", "rate": "1Gbps", "delay": "1us"}]
    carried = {}
    for share in (1.0, 1e6):
        work = {"kind": "demands", "file": str(wanted), "share": share}
        scenario = world({"kind": "flows", "file": str(flows)}, work)
        scenario["fabric"] = {"topology": {"kind": "edges", "links": links, "hosts": ["a", "b"]}}
        found = run(scenario)
        carried[share] = float(found.frame("demands").carried.iloc[0])
    # 100 MB at 500 Mbit/s last longer than the demand, so it gets half; at 400 Mbit/s beside the large share too
    assert carried[1.0] == pytest.approx(500 / 600, rel=1e-3)
    assert carried[1e6] == pytest.approx(1.0, rel=1e-3)


def test_endless_demands_are_active_at_the_end(tmp_path: Path) -> None:
    scenario = world(asked(hold=None, count=5, bandwidth="300Mbps"), stop={"time": "2s"})
    del scenario["workload"][0]["hold"]
    found = run(scenario)
    assert found.status == "completed"
    table = found.frame("demands")
    assert table.status.tolist() == ["active"] * 5
    assert table.end_s.isna().all()
    assert table.hold_s.isna().all()
    assert table.carried.to_numpy() == pytest.approx(1.0, abs=1e-4)


def test_a_failure_in_the_network_reaches_the_controller_when_tables_converge() -> None:
    work = asked(count=1, hold="1s", arrivals={"kind": "gaps", "gap": "1ms"}, bandwidth="1Gbps")
    scenario = world(work, events=[{"at": "201ms", "link": "s-u", "set": "down"}])
    scenario["fabric"]["convergence_delay"] = "100ms"
    row = run(scenario).frame("demands").iloc[0]
    assert (row.status, row.moves, row.path) == ("ended", 1, "a>s>v>t>b")
    assert row.carried == pytest.approx(0.9, abs=0.001)


def test_more_than_the_controller_can_answer_is_saturated() -> None:
    work = asked(traffic=False, count=800, arrivals={"kind": "poisson", "rate": "2000/s"}, bandwidth="1Mbps")
    slow = {"kind": "greedy", "time_per_demand": "1ms", "paths": 1}
    found = run(world(work, dispatch={"admission": slow}))
    assert found.status == "saturated"
    quick = {"kind": "greedy", "time_per_demand": "100us", "paths": 1}
    assert run(world(work, dispatch={"admission": quick})).status == "completed"


POLICIES = [
    "greedy",
    {"kind": "greedy", "path": "least_loaded", "preempt": True, "epoch": "20ms"},
    {"kind": "async_agents", "split": "number", "time": "5ms"},
    {"kind": "lp_rounding", "epoch": "50ms", "tries": 2},
    {"kind": "ilp", "epoch": "50ms", "nodes": 10, "moves": 1, "time_per_demand": "100us"},
    {"kind": "ga", "epoch": "50ms", "generations": 2, "population": 4, "protection": "link"},
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy if isinstance(policy, str) else policy["kind"])
def test_same_seed_same_bytes(policy: Any, tmp_path: Path) -> None:
    scenario = world(
        asked(priorities=[3, 2, 1], full="hold", patience="200ms"),
        dispatch={"admission": policy},
        events=[{"at": "100ms", "link": "s-u", "set": "down"}, {"at": "150ms", "link": "s-u", "set": "up"}],
    )
    scenario["fabric"]["convergence_delay"] = "1ms"
    for out in ("one", "two"):
        run(scenario, out=tmp_path / out)
    files = sorted(file.name for file in (tmp_path / "one").glob("*.parquet"))
    assert {"decisions.parquet", "demand_classes.parquet", "demands.parquet", "reservations.parquet"} <= set(files)
    for name in [*files, "summary.json", "manifest.json"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_policies_leave_what_arrives_untouched() -> None:
    arrivals = []
    for policy in ("greedy", {"kind": "lp_rounding", "epoch": "100ms"}):
        table = run(world(asked(priorities={"3": 0.5, "1": 0.5}), dispatch={"admission": policy})).frame("demands")
        arrivals.append(table[["id", "bandwidth_mbps", "priority", "arrival_s", "hold_s"]])
    assert arrivals[0].equals(arrivals[1])


def test_several_workloads_of_demands_have_names_of_their_own() -> None:
    found = run(world(asked(count=2), asked(count=2, priorities=[2])))
    assert sorted(found.frame("demands").id.str.split("/").str[0]) == ["0", "0", "1", "1"]
    assert found.frame("demand_classes").offered.tolist() == [2, 2]


def test_measured_time_is_said_and_a_bare_quantity_is_shown_as_such() -> None:
    scenario = world(asked(count=3), dispatch={"admission": {"kind": "greedy", "time": "measured"}})
    assert "the controller is charged measured times: two runs differ" in run(scenario).summary["reasons"]
    text = load(scenario).text()
    assert "bandwidth: 300Mbps" in text
    assert "pairs:" in text


def test_the_versions_of_the_solvers_are_noted_and_a_missing_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("sim.run")  # `sim.run` is the function
    assert {"highspy", "pulp", "networkx"} <= module.versions().keys()

    def found(name: str) -> str:
        if name == "pulp":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(module, "version", found)
    assert "pulp" not in module.versions()
    assert module.versions()["highspy"] == "1"
