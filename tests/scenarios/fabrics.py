"""What the scenarios of networks and their workloads claim."""

from __future__ import annotations

import numpy as np
import pytest

from tests.scenarios.figures import Runs, between, mean, times, took, total


def leaf_spine(runs: Runs) -> None:
    assert took(runs["ecmp"]) > 1.02 * took(runs["ethereal"])
    assert took(runs["one_path"]) <= 1.1 * took(runs["ethereal"])
    uplinks = {name: between(run, "leaf", "spine")["bytes"] for name, run in runs.items()}
    for name in ("one_path", "ethereal"):
        assert uplinks[name].max() < 1.01 * uplinks[name].mean()
    assert uplinks["ecmp"].max() > 1.05 * uplinks["ecmp"].mean()
    assert total(runs["spray"], "reordered") > 0
    assert total(runs["ethereal"], "reordered") == total(runs["ecmp"], "reordered") == 0


def fat_tree(runs: Runs) -> None:
    assert mean(runs["hash"]) > 1.3 * mean(runs["random"])
    assert mean(runs["destination_rotation"]) <= min(map(mean, runs.values()))
    late = {name: total(run, "reordered") for name, run in runs.items()}
    assert late["hash"] == 0
    assert min(late[name] for name in late if name != "hash") > 0
    times = {tuple(run.frame("flows")["fct_us"]) for run in runs.values()}
    assert len(times) == len(runs)  # no two policies do the same


def oversubscribed(runs: Runs) -> None:
    one, two, four = (mean(runs[f"tornado_{ratio}to1"]) for ratio in (1, 2, 4))
    assert 1.5 < two / one < 2.1
    assert 1.7 < four / two < 2.1
    assert took(runs["ring_4to1"]) == pytest.approx(took(runs["ring_1to1"]), rel=0.02)


def dragonfly(runs: Runs) -> None:
    assert mean(runs["adversarial"]) > 1.2 * mean(runs["uniform"])
    uneven = {}
    for name, run in runs.items():
        use = between(run, "router", "router")["bytes"]
        uneven[name] = use.max() / use.mean()
    assert uneven["adversarial_spray"] > uneven["uniform"]


def torus(runs: Runs) -> None:
    assert mean(runs["neighbour"]) < mean(runs["tornado_spray"]) < mean(runs["tornado_ecmp"])
    assert 1.5 < mean(runs["tornado_spray"], "slowdown") < 2.2  # 2 at best in bandwidth


def star_incast(runs: Runs) -> None:
    assert total(runs["deep"], "dropped") == total(runs["deep"], "retransmitted") == 0
    dropped = {name: total(run, "dropped") for name, run in runs.items()}
    again = {name: total(run, "retransmitted") for name, run in runs.items()}
    assert again["selective_repeat"] == dropped["selective_repeat"] > 0
    assert again["go_back_n"] > dropped["go_back_n"] > dropped["selective_repeat"]
    assert mean(runs["deep"]) < mean(runs["selective_repeat"]) < mean(runs["go_back_n"])
    assert between(runs["selective_repeat"], "switch", "host")["queue_max_bytes"].max() <= 400_000


def edges(runs: Runs) -> None:
    share = {}
    for name, run in runs.items():
        out = run.frame("links").query("src == 'left' and dst in ('thin', 'thick')")
        assert len(out) == 3  # the parallel cables are kept
        share[name] = out.loc[out["dst"] == "thin", "bytes"].sum() / out["bytes"].sum()
    assert share["ecmp"] == pytest.approx(1 / 3, abs=0.1)
    assert share["wcmp"] == pytest.approx(1 / 9, abs=0.06)
    assert took(runs["ecmp"]) > 1.2 * took(runs["wcmp"])
    assert took(runs["least_queue"]) < 1.1 * took(runs["wcmp"])


def graphml(runs: Runs) -> None:
    cities = runs["ecmp"].frame("links").query("not src.str.startswith('host') and not dst.str.startswith('host')")
    assert len(cities) == 28
    carried = cities.set_index("link")["bytes"]
    assert carried["Kansas_City->Denver"] >= 3 * carried["Seattle->Sunnyvale"]
    assert runs["spray"].number("flows", "slowdown", "p99") > runs["ecmp"].number("flows", "slowdown", "p99")


def htsim(runs: Runs) -> None:
    for run in runs.values():
        flows = run.frame("flows").set_index("src")
        relayed, incast = flows.loc[["host4", "host5", "host6", "host7"]], flows.loc[["host8", "host11"]]
        for host in range(4):  # a oneshot trigger: on with the data when it has arrived
            assert relayed.loc[f"host{host + 4}", "start_us"] == flows.loc[f"host{host}", "delivered_us"]
        assert set(incast["start_us"]) == {relayed["delivered_us"].max()}  # the barrier
    last = {name: run.frame("flows")["start_us"].max() for name, run in runs.items()}
    assert last["ethereal"] < 0.7 * last["ecmp"]
    assert 160 < last["ethereal"] < 180


def websearch_load(runs: Runs) -> None:
    p50 = {name: run.number("flows", "slowdown", "p50") for name, run in runs.items()}
    assert p50["ecmp_60"] > p50["ecmp_15"]
    assert p50["ecmp_60"] > p50["spray_60"]
    assert runs["ecmp_45"].manifest["loads"] == [0.45]
    assert total(runs["ecmp_60"], "marked") > total(runs["spray_60"], "marked")
    # the same flows, only closer together
    low, high = runs["ecmp_15"].frame("flows"), runs["spray_60"].frame("flows")
    assert low[["src", "dst", "bytes"]].equals(high[["src", "dst", "bytes"]])
    assert np.allclose(low["start_us"], high["start_us"] * 4, rtol=1e-3, atol=0.01)


def collectives(runs: Runs) -> None:
    small = {name: took(run) for name, run in runs.items() if name.endswith("kb")}
    large = {name: took(run) for name, run in runs.items() if name.endswith("mb")}
    assert min(small, key=small.__getitem__) == "direct_32kb"
    assert small["ring_32kb"] > 2.5 * small["halving_32kb"]
    assert large["ring_32mb"] < large["trees_32mb"]
    counts = {name: run.rows("flows") for name, run in runs.items()}
    ranks = int(runs["ring_32kb"].frame("collectives")["ranks"].iloc[0])
    assert counts["ring_32kb"] == counts["direct_32kb"] == 2 * ranks * (ranks - 1)
    assert counts["halving_32kb"] == 2 * ranks * int(np.log2(ranks))
    assert all(run.number("collectives", "busbw_gbytes", "max") <= 50 for run in runs.values())


def flows_file(runs: Runs) -> None:
    # worked out by hand in the scenario's comment; 2 ns are the two links' delays
    expected = [2000.002, 2000.002, 1400.002, 800.002]
    by_hand = runs["fluid"].frame("flows").sort_values("id")["end_us"].tolist()
    assert by_hand == pytest.approx(expected, abs=1e-4)
    packets = runs["packets"].frame("flows").sort_values("id")["end_us"].tolist()
    assert packets == pytest.approx(expected, rel=0.03)
    alone = runs["ideal"].frame("flows")["fct_us"].tolist()
    assert alone == pytest.approx([800.002, 800.002, 400.002, 400.002], abs=1e-3)


def link_failure(runs: Runs) -> None:
    worst = {name: run.number("flows", "fct_us", "max") for name, run in runs.items()}
    assert worst["healthy"] < 1000 < worst["ecmp_known"] < 2000  # one timeout of 1 ms
    assert 1000 < worst["ethereal"] < 2500
    assert min(worst["ecmp"], worst["spray"]) > 2 * max(worst["ecmp_known"], worst["ethereal"])
    dropped = {name: total(run, "dropped") for name, run in runs.items()}
    assert dropped["healthy"] == 0
    assert all(count > 0 for name, count in dropped.items() if name != "healthy")
    assert total(runs["ecmp"], "retransmitted") >= dropped["ecmp"]

    hit = {name: int(run.frame("failures")["flows_hit"].iloc[0]) for name, run in runs.items() if name != "healthy"}
    assert hit["ecmp"] == hit["ecmp_known"] < min(hit["ethereal"], hit["spray"])  # few flows lose all, or all lose some


def failing_links(runs: Runs) -> None:
    worst = {name: run.number("flows", "fct_us", "max") for name, run in runs.items()}
    assert worst["healthy"] < worst["slow_spray"] < worst["slow"] < 1000 < min(worst["cut"], worst["lossy"])
    assert worst["flapping"] == worst["cut"]  # tables have moved the flows before the second flap
    told = {name: run.frame("failures") for name, run in runs.items()}
    assert len(told["flapping"]) == 4
    lossless = {name for name, table in told.items() if table["packets_lost"].sum() == 0}
    assert lossless == {"healthy", "slow", "slow_spray"}
    assert all((table["flows_lost"] == 0).all() for table in told.values())
    rerouted = {name for name, table in told.items() if table["flows_rerouted"].sum()}
    assert rerouted == {"cut", "flapping", "spine"}
    assert told["slow"]["inflation"].iloc[0] > told["slow_spray"]["inflation"].iloc[0] > 1


def polarisation(runs: Runs) -> None:
    used = {name: between(run, "agg", "core")["bytes"] > 0 for name, run in runs.items()}
    assert used["own_seeds"].mean() > 0.9
    assert used["same_seed"].mean() <= 0.5
    assert took(runs["same_seed"]) > 1.4 * took(runs["own_seeds"])


def permutation_fluid(runs: Runs) -> None:
    assert 1 <= mean(runs["packet"]) / mean(runs["fluid"]) < 1.15
    assert mean(runs["ideal"]) < mean(runs["fluid"])
    assert mean(runs["ideal"], "slowdown") == pytest.approx(1)
    assert (runs["packet"].frame("flows")["path"] == runs["fluid"].frame("flows")["path"]).all()


def mixed(runs: Runs) -> None:
    assert took(runs["ecmp"]) > 1.2 * took(runs["job_alone"])
    alone = runs["requests_alone"].frame("flows")
    columns = ["start_us", "src", "dst", "bytes"]
    for name in ("ecmp", "ethereal"):
        both = runs[name].frame("flows")
        wanted = set(map(tuple, alone[columns].to_numpy()))
        assert wanted <= set(map(tuple, both[columns].to_numpy()))
        assert len(both) == len(alone) + runs["job_alone"].rows("flows")


def own_policy(runs: Runs) -> None:
    assert min(total(runs[name], "reordered") for name in ("sticky", "random")) > 0
    assert times(runs["sticky"]) != times(runs["random"])
    assert mean(runs["two_choices"]) < mean(runs["ecmp"])
    assert any("two_choices" in name for name in runs["ecmp"].manifest["inputs"])
