"""Every shipped scenario runs, made small, and shows what its comment claims. A scenario without an entry fails."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import run_sim
from analysis.load import Results, load
from analysis.tables import summary_table
from models.records import TABLES, validate
from sim.dispatch.registry import LEVELS, Registry
from tests.scenarios import admission, transport

FOLDER = Path(__file__).parents[2] / "scenarios"
Runs = dict[str, Results]


def mean(run: Results, column: str = "fct_us") -> float:
    value = run.number("flows", column, "mean")
    assert value is not None
    return value


def took(run: Results) -> float:
    return float(run.frame("collectives")["time_us"].mean())


def total(run: Results, column: str) -> int:
    table = "flows" if column in {"retransmitted", "reordered"} else "links"
    return int(run.frame(table)[column].sum())


def between(run: Results, src: str, dst: str) -> pd.DataFrame:
    """Links from nodes whose names begin with ``src`` to such with ``dst``."""
    links = run.frame("links")
    return links[links["src"].str.startswith(src) & links["dst"].str.startswith(dst)]


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


class Entry(NamedTuple):
    """What makes a scenario small, and what it must show."""

    sets: tuple[str, ...]
    shows: Callable[[Runs], None]


ENTRIES: dict[str, Entry] = {
    "all_to_all": Entry(("fabric.topology.nodes=2", "workload.0.tokens_per_gpu=512"), all_to_all),
    "smile": Entry(("fabric.topology.nodes=8",), smile),
    "leaf_spine": Entry(("fabric.topology.leaves=4", "workload.0.size=2MB"), leaf_spine),
    "fat_tree": Entry(("workload.0.size=400KB",), fat_tree),
    "oversubscribed": Entry((), oversubscribed),
    "dragonfly": Entry(("workload.0.size=1MB",), dragonfly),
    "torus": Entry((), torus),
    "star_incast": Entry((), star_incast),
    "edges": Entry(("workload.0.size=2MB",), edges),
    "graphml": Entry((), graphml),
    "htsim": Entry((), htsim),
    "websearch_load": Entry(("workload.0.count=150",), websearch_load),
    "collectives": Entry(("fabric.topology.hosts_per_leaf=4",), collectives),
    "flows_file": Entry((), flows_file),
    "link_failure": Entry(("workload.0.size=2MB",), link_failure),
    "failing_links": Entry((), failing_links),
    "polarisation": Entry(("workload.0.size=2MB",), polarisation),
    "permutation_fluid": Entry(("workload.0.size=2MB",), permutation_fluid),
    "mixed": Entry((), mixed),
    "own_policy": Entry((), own_policy),
    "gpu_cluster": Entry(("workload.0.size=4MB",), gpu_cluster),
    "nvl72": Entry((), nvl72),
    "rail": Entry((), rail),
    "llep": Entry((), llep),
    "measured_routing": Entry(("workload.0.layers=1", "workload.0.routing.layers=[8]"), measured_routing),
    "eplb": Entry(("workload.0.layers=1",), eplb),
    "nccl_h100_measured": Entry(("fabric.topology.nodes=2",), nccl_h100_measured),
    "nccl_h100_cluster": Entry(("fabric.topology.nodes=2", "workload.0.size=1GiB"), nccl_h100_cluster),
    "sdn_admission": Entry((), admission.sdn_admission),
    "sdn_zoo": Entry((), admission.sdn_zoo),
    "controller_time": Entry((), admission.controller_time),
    "admission_all_to_all": Entry((), admission.admission_all_to_all),
    "uet_balancers": Entry((), transport.uet_balancers),
    "uet_transports": Entry((), transport.uet_transports),
    "load_balancers": Entry(("workload.0.count=150",), transport.load_balancers),
    "congestion_control": Entry((), transport.congestion_control),
    "pfc": Entry((), transport.pfc),
    "reordering": Entry((), transport.reordering),
}


def run(name: str, out: Path, *more: str) -> tuple[int, str]:
    """Exit code and standard output of a shipped scenario, made small; ``more`` wins."""
    words = [str(FOLDER / f"{name}.yaml"), "--out", str(out), "-q", *more]
    for text in ENTRIES[name].sets:
        if not any(word.startswith(text.partition("=")[0]) for word in more):
            words += ["--set", text]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = run_sim.main(words)
    return code, said.getvalue()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Runs]:
    """Runs a scenario once for all tests of this file."""
    folder = tmp_path_factory.mktemp("results")
    done: dict[str, Runs] = {}

    def get(name: str) -> Runs:
        if name not in done:
            code, said = run(name, folder / name, "--no-plots")
            assert code == 0
            assert all(variant in said for variant in load(folder / name).runs())
            done[name] = load(folder / name).runs()
        return done[name]

    return get


def test_every_scenario_has_an_entry() -> None:
    assert {path.stem for path in FOLDER.iterdir() if path.is_file()} == set(ENTRIES)
    assert all(path.suffix == ".yaml" for path in FOLDER.iterdir() if path.is_file())


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_it_runs_and_shows_what_it_claims(name: str, results: Callable[[str], Runs]) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"#   python run_sim.py scenarios/{name}.yaml\n" in text
    assert f"\nname: {name}\n" in text
    runs = results(name)
    for one in runs.values():
        assert one.status in {"completed", "saturated"}, one.summary["reasons"]
        assert one.rows("flows") + one.rows("demands") > 0
        if one.rows("flows"):
            # what an admitted demand sends ends with it
            ends = {"finished", "stopped"} if one.rows("demands") else {"finished"}
            assert set(one.frame("flows")["status"]) <= ends
        for table in TABLES:
            if one.rows(table):
                validate(table, one.frame(table))
            else:
                assert one.summary[table]["reason"]
    ENTRIES[name].shows(runs)


def times(run: Results) -> tuple[float, ...]:
    return tuple(run.frame("flows")["fct_us"])


def test_no_policy_is_inert(results: Callable[[str], Runs], tmp_path: Path) -> None:
    """Every policy of every level gives other flow times or paths of demands than all others in a shipped scenario."""
    found: dict[str, dict[str, tuple[Any, ...]]] = {level: {} for level in LEVELS}
    sources = (
        *(("packet", name) for name in ("fat_tree", "load_balancers")),
        *(("transport", name) for name in ("fat_tree", "uet_transports")),
        *(("collective", name) for name in ("collectives", "all_to_all", "nccl_h100_cluster")),
    )
    for level, name in sources:
        for one in results(name).values():
            found[level].setdefault(one.manifest["policies"][level]["kind"], times(one))
    for path in Registry().names("path"):
        out = tmp_path / path
        words = ["--no-plots", "--set", f"dispatch.path={path}", "--set", "fabric.topology.dims=[4, 4]"]
        assert run("torus", out, *words)[0] == 0
        found["path"][path] = times(load(out).runs()["permutation"])
    model = "{hidden: 512, expert_inner: 512, experts: 32, top_k: 1}"
    for expert in Registry().names("expert"):
        out = tmp_path / expert
        given = {
            "variants": "{}",
            "dispatch.expert": expert,
            "fabric.topology.nodes": 2,
            "fabric.topology.gpus_per_node": 4,
            "workload.0.model": model,
            "workload.0.steps": 3,
            "workload.0.tokens_per_gpu": 512,
            "workload.0.routing": "{kind: zipf, exponent: 1.0}",
        }
        assert run("llep", out, "--no-plots", *(w for k, v in given.items() for w in ("--set", f"{k}={v}")))[0] == 0
        found["expert"][expert] = times(load(out))
    for one in results("sdn_zoo").values():
        paths = tuple(one.frame("demands")["path"].fillna(""))
        found["admission"].setdefault(one.manifest["policies"]["admission"]["kind"], paths)
    for level in LEVELS:
        assert set(found[level]) == set(Registry().names(level))
        assert len(set(found[level].values())) == len(found[level]), level


def test_policies_leave_the_arrivals_alone(results: Callable[[str], Runs]) -> None:
    runs = results("websearch_load")
    columns = ["start_us", "src", "dst", "bytes"]
    ecmp, spray = runs["ecmp_30"].frame("flows"), runs["spray_30"].frame("flows")
    assert ecmp[columns].equals(spray[columns])
    assert not ecmp["fct_us"].equals(spray["fct_us"])


def test_pictures_are_drawn(tmp_path: Path) -> None:
    assert run("websearch_load", tmp_path / "out", "--set", "workload.0.count=40")[0] == 0
    drawn = {path.stem for path in (tmp_path / "out" / "plots").iterdir()}
    assert drawn == {"fct_cdf", "link_load", "load_curves", "series", "slowdown_by_size"}


def command(name: str, out: Path, *more: str) -> list[str]:
    script = FOLDER.parent / "run_sim.py"
    return [sys.executable, str(script), str(FOLDER / f"{name}.yaml"), "--out", str(out), "--no-plots", "-q", *more]


def test_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """Packet, fluid and ideal engine, with a policy that draws random numbers; sets must not show their order."""
    digests: list[dict[str, str]] = []
    for number in ("1", "2"):
        out = tmp_path / number
        words = command("permutation_fluid", out, "--set", "dispatch.path=ethereal", "--set", "workload.0.size=500KB")
        subprocess.run(words, check=True, env=os.environ | {"PYTHONHASHSEED": number}, capture_output=True, timeout=120)
        files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "run.json")
        digests.append({str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest() for path in files})
    assert digests[0] == digests[1]
    assert {"packet/flows.parquet", "fluid/links.parquet", "ideal/summary.json", "manifest.json"} <= set(digests[0])


def test_an_interrupted_run_is_kept_and_marked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = command("leaf_spine", out, "--set", "workload.0.size=256MB", "--set", "stop.time=1s")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        first = tmp_path / "out.partial" / "one_path"
        deadline = time.monotonic() + 60
        while not first.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "out.partial").exists()
    results = load(out)
    assert results.manifest["interrupted"] is True
    (only,) = results.runs().values()
    assert only.status == "stopped"
    assert "interrupted" in only.summary["reasons"]
    assert set(only.frame("flows")["status"]) == {"unfinished"}
    assert only.frame("links")["bytes"].sum() > 0
    assert "stopped" in summary_table(out)


def test_a_partition_stalls(tmp_path: Path) -> None:
    cut = "events=[{at: 5us, link: host1-switch0, set: down}]"
    code, said = run("star_incast", tmp_path / "out", "--no-plots", "--set", cut, "--set", "stop.stall=5ms")
    assert code == 3
    assert "stalled" in said
    for one in load(tmp_path / "out").runs().values():
        assert one.status == "stalled"
        assert any("from host1 to host0" in reason for reason in one.summary["reasons"])
        flows = one.frame("flows").set_index("src")["status"]
        assert flows["host1"] == "unfinished"
        assert set(flows.drop("host1")) == {"finished"}


def test_a_limit_before_the_end_stops(tmp_path: Path) -> None:
    code, said = run("star_incast", tmp_path / "out", "--no-plots", "--set", "stop.time=20us")
    assert code == 3
    assert "stopped" in said
    for one in load(tmp_path / "out").runs().values():
        assert one.status == "stopped"
        assert one.summary["flows"]["unfinished"] == 15
        assert one.frame("flows")["fct_us"].isna().all()
        assert one.frame("links")["utilisation"].max() <= 1


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    assert run("star_incast", out, "--no-plots")[0] == 2
    assert "holds no Spillway manifest" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.tex"]
