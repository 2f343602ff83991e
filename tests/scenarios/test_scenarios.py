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

import pytest

import run_sim
from analysis.load import load
from analysis.tables import summary_table
from models.records import TABLES, validate
from sim.dispatch.registry import LEVELS, Registry
from tests.scenarios import admission, clusters, fabrics, serving, transport
from tests.scenarios.figures import Runs, times

FOLDER = Path(__file__).parents[2] / "scenarios"


class Entry(NamedTuple):
    """What makes a scenario small, and what it must show."""

    sets: tuple[str, ...]
    shows: Callable[[Runs], None]


ENTRIES: dict[str, Entry] = {
    "all_to_all": Entry(("fabric.topology.nodes=2", "workload.0.tokens_per_gpu=512"), clusters.all_to_all),
    "smile": Entry(("fabric.topology.nodes=8",), clusters.smile),
    "leaf_spine": Entry(("fabric.topology.leaves=4", "workload.0.size=2MB"), fabrics.leaf_spine),
    "fat_tree": Entry(("workload.0.size=400KB",), fabrics.fat_tree),
    "oversubscribed": Entry((), fabrics.oversubscribed),
    "dragonfly": Entry(("workload.0.size=1MB",), fabrics.dragonfly),
    "torus": Entry((), fabrics.torus),
    "star_incast": Entry((), fabrics.star_incast),
    "edges": Entry(("workload.0.size=2MB",), fabrics.edges),
    "graphml": Entry((), fabrics.graphml),
    "htsim": Entry((), fabrics.htsim),
    "websearch_load": Entry(("workload.0.count=150",), fabrics.websearch_load),
    "collectives": Entry(("fabric.topology.hosts_per_leaf=4",), fabrics.collectives),
    "flows_file": Entry((), fabrics.flows_file),
    "link_failure": Entry(("workload.0.size=2MB",), fabrics.link_failure),
    "failing_links": Entry((), fabrics.failing_links),
    "polarisation": Entry(("workload.0.size=2MB",), fabrics.polarisation),
    "permutation_fluid": Entry(("workload.0.size=2MB",), fabrics.permutation_fluid),
    "mixed": Entry((), fabrics.mixed),
    "own_policy": Entry((), fabrics.own_policy),
    "gpu_cluster": Entry(("workload.0.size=4MB",), clusters.gpu_cluster),
    "nvl72": Entry((), clusters.nvl72),
    "rail": Entry((), clusters.rail),
    "llep": Entry((), clusters.llep),
    "measured_routing": Entry(("workload.0.layers=1", "workload.0.routing.layers=[8]"), clusters.measured_routing),
    "eplb": Entry(("workload.0.layers=1",), clusters.eplb),
    "nccl_h100_measured": Entry(("fabric.topology.nodes=2",), clusters.nccl_h100_measured),
    "nccl_h100_cluster": Entry(("fabric.topology.nodes=2", "workload.0.size=1GiB"), clusters.nccl_h100_cluster),
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
    "serving_pd": Entry(("workload.0.count=200", "workload.1.until=6s"), serving.serving_pd),
    "serving_pd_slow": Entry(("workload.0.count=250", "workload.1.until=10s"), serving.serving_pd_slow),
    "serving_staleness": Entry(("workload.0.count=1500",), serving.serving_staleness),
    "serving_ties": Entry((), serving.serving_ties),
    "serving_late_counting": Entry((), serving.serving_late_counting),
    "serving_hot_prefix": Entry((), serving.serving_hot_prefix),
    "serving_workload_aware": Entry((), serving.serving_workload_aware),
    "serving_predictive": Entry(("workload.0.count=400",), serving.serving_predictive),
    "serving_pd_threshold": Entry(("workload.0.count=150",), serving.serving_pd_threshold),
    "serving_best_effort": Entry(("workload.0.count=1300",), serving.serving_best_effort),
    "serving_vllm_dense": Entry((), serving.serving_vllm_dense),
    "serving_vllm_moe": Entry((), serving.serving_vllm_moe),
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
        assert one.rows("flows") + one.rows("demands") + one.rows("requests") > 0
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


def test_no_policy_is_inert(results: Callable[[str], Runs], tmp_path: Path) -> None:
    """Every policy of every level gives other times or paths than all others in a shipped scenario."""
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
    routers = ", ".join(f"{name}: {{dispatch.request: {name}}}" for name in Registry().names("request"))
    words = ["--no-plots", "--set", f"variants={{{routers}}}", "--set", "workload.0.count=240"]
    assert run("serving_hot_prefix", tmp_path / "request", *words)[0] == 0
    for request, one in load(tmp_path / "request").runs().items():
        found["request"][request] = tuple(one.frame("requests")["ttft_ms"])
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
