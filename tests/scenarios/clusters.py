"""What the scenarios of GPU clusters and mixtures of experts claim."""

from __future__ import annotations

import pytest

from tests.scenarios.figures import Runs, between, mean, took


def nccl_h100_cluster(runs: Runs) -> None:
    assert took(runs["all_to_all"]) < took(runs["all_to_all_dedup"]) < took(runs["all_to_all_bilevel"])
    small, bilevel = (between(runs[name], "nic", "switch")["bytes"].sum() for name in ("small", "small_bilevel"))
    assert small > 1.5 * bilevel  # of link time; the payload is the same
    assert took(runs["one_ring"]) > 3 * took(runs["all_reduce"])
    nics = between(runs["all_reduce"], "nic", "switch")["bytes"]
    assert nics.max() < 1.01 * nics.min()
    idle = between(runs["one_ring"], "nic", "switch")["bytes"] == 0
    assert idle.mean() == 7 / 8  # the ring leaves a node by one of its eight NICs
    sent = {name: run.frame("flows") for name, run in runs.items()}
    assert len(sent["small"]) == 16 * 15
    assert len(sent["small_bilevel"]) == 16 * (1 + 7)


def nccl_h100_measured(runs: Runs) -> None:
    """Reducing inside the nodes first moves 2 x 1/8 of the buffer over each NIC, all_to_all half of it."""
    assert took(runs["all_reduce"]) < took(runs["all_to_all"])


def gpu_cluster(runs: Runs) -> None:
    times = {name: took(run) for name, run in runs.items()}
    assert times["half_a_nic"] == pytest.approx(2 * times["one_nic"], rel=0.03)
    assert times["two_nics"] < 0.6 * times["one_nic"]
    assert times["mesh"] == pytest.approx(times["one_nic"], rel=0.01)
    for run in runs.values():  # what stays in a node keeps off its NICs
        out = between(run, "nic", "leaf")
        assert out["bytes"].max() < 1.03 * out["bytes"].mean()


def nvl72(runs: Runs) -> None:
    times = {name: took(run) for name, run in runs.items()}
    assert times["planes"] > 2 * times["rack"]
    assert times["nodes"] > 12 * times["rack"]
    assert between(runs["rack"], "nic", "switch")["bytes"].sum() == 0


def rail(runs: Runs) -> None:
    assert between(runs["aligned"], "leaf", "spine")["bytes"].sum() == 0
    assert mean(runs["aligned"], "slowdown") < 1.1
    assert mean(runs["across"]) > 1.5 * mean(runs["aligned"])
    assert took(runs["rail_only"]) == took(runs["two_levels"]) < 1.1 * took(runs["flat"])
    assert len(between(runs["rail_only"], "leaf", "spine")) == 0


def all_to_all(runs: Runs) -> None:
    sent = {name: between(run, "nic", "switch")["bytes"].sum() for name, run in runs.items()}
    assert sent["direct"] > 3 * sent["hierarchical_dedup"]  # a token crosses once, not with each of its experts
    time = {name: run.frame("moe_steps")["time_us"].mean() for name, run in runs.items()}
    assert min(time, key=time.__getitem__) == "hierarchical_dedup"
    assert max(time, key=time.__getitem__) == "bilevel"


def smile(runs: Runs) -> None:
    assert took(runs["flat_1mb"]) > 1.4 * took(runs["bilevel_1mb"])
    assert took(runs["flat_256mb"]) < took(runs["bilevel_256mb"])
    assert len(runs["flat_1mb"].frame("flows")) == 64 * 63
    assert len(runs["bilevel_1mb"].frame("flows")) == 64 * (7 + 7)
    one, two = (runs[name].frame("moe_steps")["time_us"].mean() for name in ("switch", "smile"))
    assert one > 1.1 * two


def llep(runs: Runs) -> None:
    plain, moved = (runs[name].frame("moe_steps").iloc[0] for name in ("ep", "llep"))
    assert plain["time_us"] / moved["time_us"] == pytest.approx(6.11, rel=0.15)
    assert plain["max_over_mean"] == pytest.approx(7.645, abs=0.001)
    assert moved["max_over_mean"] == pytest.approx(1, abs=0.001)
    assert moved["weight_transfers"] == 7
    assert plain["peak_memory_bytes"] > 4 * moved["peak_memory_bytes"]
    assert runs["llep"].frame("gpus")["tokens"].nunique() == 1


def measured_routing(runs: Runs) -> None:
    steps = {name: run.frame("moe_steps") for name, run in runs.items()}
    static = steps["static"]
    for name in ("least_loaded", "greedy_lpt", "bip", "sinkhorn", "capacity_drop", "rectified"):
        assert steps[name]["max_over_mean"].max() < static["max_over_mean"].min()
    assert steps["least_loaded"]["planner_us"].min() > static["time_us"].max()
    assert steps["eplb"]["time_us"].iloc[-1] < static["time_us"].iloc[-1] < steps["eplb"]["time_us"].iloc[1]
    counted = {name: set(run.frame("counters")["name"]) for name, run in runs.items() if run.rows("counters")}
    assert "token copies dropped" in counted["capacity_drop"]
    assert {"token copies rerouted", "token copies added"} <= counted["rectified"]


def eplb(runs: Runs) -> None:
    steps = {name: run.frame("moe_steps") for name, run in runs.items()}
    for phase in ("prefill", "decode"):
        before = steps[f"{phase}_before"].iloc[-1]
        for mode in ("hierarchical", "global"):
            after = steps[f"{phase}_{mode}"]
            assert after["weight_transfers"].gt(0).tolist() == [False, True, False, False]
            assert after["max_over_mean"].iloc[-1] < 1.2 < before["max_over_mean"]
            assert after["time_us"].iloc[-1] < before["time_us"] < after["time_us"].iloc[1]
    assert between(runs["prefill_before"], "leaf", "spine")["bytes"].sum() == 0  # tokens go along the rails
    assert between(runs["prefill_global"], "leaf", "spine")["bytes"].sum() > 0  # weights do not
