"""What the scenarios of congestion control and load balancing claim."""

from __future__ import annotations

import pytest

from analysis.load import Results

Runs = dict[str, Results]


def _times(run: Results) -> list[float]:
    return [float(value) for value in run.frame("flows")["fct_us"]]


def _sent_again(run: Results) -> int:
    return int(run.frame("flows")["retransmitted"].sum())


def uet_transports(runs: Runs) -> None:
    for name in ("nscc", "credit", "both"):
        assert 610 < max(_times(runs[name])) < 1.1 * 610
        assert _sent_again(runs[name]) < 15 * 64  # packets of the first windows
    fixed = min(_sent_again(runs[name]) for name in ("constant", "window"))
    steered = max(_sent_again(runs[name]) for name in runs if name not in {"constant", "window"})
    assert fixed > 2 * steered
    spread = {name: min(_times(run)) / max(_times(run)) for name, run in runs.items()}
    assert min(spread["credit"], spread["both"]) > 0.75 > spread["nscc"]
    assert len({tuple(_times(run)) for run in runs.values()}) == len(runs)


def uet_balancers(runs: Runs) -> None:
    tails = {name: max(_times(run)) for name, run in runs.items()}
    assert tails["mixed"] < tails["bitmap"] < tails["oblivious"]
    assert tails["reps"] < tails["oblivious"]
    flowlets = ("plb", "letflow", "conga", "stochastic_automaton")
    assert min(tails[name] for name in flowlets) > max(tails[name] for name in tails if name not in flowlets)
    assert _sent_again(runs["mixed"]) < _sent_again(runs["oblivious"])
    assert len({tuple(_times(run)) for run in runs.values()}) == len(runs)


def load_balancers(runs: Runs) -> None:
    average = {name: sum(_times(run)) / len(_times(run)) for name, run in runs.items()}
    learners = ("reps", "bitmap", "mixed")
    assert max(average[name] for name in learners) < min(
        average[name] for name in runs if name not in {*learners, "reps_v1"}
    )
    late = {name: int(run.frame("flows")["reordered"].sum()) for name, run in runs.items()}
    assert all(late[name] == 0 for name in ("ecmp", "letflow", "conga", "hula", "stochastic_automaton"))
    assert min(late[name] for name in learners) > 0
    blind = ("oblivious", "switch_round_robin", "adaptive")
    assert min(_sent_again(runs[name]) for name in blind) > 1.5 * max(_sent_again(runs[name]) for name in learners)
    assert len({tuple(_times(run)) for run in runs.values()}) == len(runs)


def congestion_control(runs: Runs) -> None:
    old, new = ({name: _times(run)[flow] for name, run in runs.items()} for flow in (0, 1))
    queue = {name: int(run.frame("links")["queue_max_bytes"].max()) for name, run in runs.items()}
    for name in ("window", "constant", "credit", "nscc", "swift"):
        assert 5850 < old[name] < 1.02 * 5858
        assert 1950 < new[name] < 1.06 * 1958
    assert queue["hpcc"] == min(queue.values())
    assert queue["constant"] > 1.5 * queue["window"]
    assert old["hpcc"] == pytest.approx(5858 / 0.93, rel=0.01)
    assert old["dctcp"] < 1.01 * 5858
    assert new["dctcp"] > 1.5 * new["nscc"]
    assert 1.3 * 5858 < old["dcqcn"] < old["timely"]
    assert all(int(run.frame("links")["dropped"].sum()) == 0 for run in runs.values())


def pfc(runs: Runs) -> None:
    flows = {name: run.frame("flows").set_index("src")["fct_us"] for name, run in runs.items()}
    victim = {name: float(times["host7"]) for name, times in flows.items()}
    incast = {name: float(times.drop("host7").max()) for name, times in flows.items()}
    assert victim["drop"] == victim["nscc_trim"] < 90
    assert victim["dcqcn"] > 2 * victim["pause"] > 6 * victim["drop"]
    assert incast["pause"] < incast["nscc_trim"] < incast["dcqcn"] < 1000 < incast["drop"]  # waits for a timeout
    links = {name: run.frame("links").set_index("link") for name, run in runs.items()}
    assert {name for name, table in links.items() if table["dropped"].sum()} == {"drop"}
    paused = {name: set(table.index[table["paused_us"] > 0]) for name, table in links.items()}
    assert paused["drop"] == paused["nscc_trim"] == set()
    assert paused["pause"] == {"spine0->leaf1", "leaf0->spine0"}
    assert paused["dcqcn"] == paused["pause"] | {f"host{i}->leaf0" for i in range(8)}


def reordering(runs: Runs) -> None:
    took = {name: sum(_times(run)) / 16 for name, run in runs.items()}
    held = {name: int(run.frame("flows")["reorder_max_bytes"].max()) for name, run in runs.items()}
    alone = {name for name in runs if name.startswith("one_path")}
    assert {took[name] for name in alone} == {took["one_path_tolerant"]}
    assert all(held[name] == _sent_again(runs[name]) == 0 for name in alone)
    assert 1.05 < took["spray_tolerant"] / took["one_path_tolerant"] < 1.2
    assert took["spray_in_order"] == took["spray_tolerant"]
    assert 32_768 < held["spray_in_order"] == held["spray_tolerant"] < 65_536
    assert held["spray_in_order_32"] <= 32_000
    assert held["spray_in_order_8"] <= 8_000
    assert held["spray_go_back_n"] == 0
    assert 1.7 < took["spray_in_order_32"] / took["one_path_tolerant"] < 2.5
    assert min(took["spray_in_order_8"], took["spray_go_back_n"]) > 3 * took["spray_in_order_32"]
    assert _sent_again(runs["spray_in_order"]) == 0 < _sent_again(runs["spray_in_order_32"])
