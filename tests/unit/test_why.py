"""``why``: small runs whose answers are known, and parts that add up to the picosecond."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import run_sim
from analysis.load import load
from analysis.why import explain, text_of
from models.errors import InputError

LEAF_SPINE = "{kind: leaf_spine, leaves: 4, spines: 4, hosts_per_leaf: 4}"
SLOW_LINK = f"""
fabric:
  topology: {LEAF_SPINE}
  links: {{leaf0-spine1: {{rate: 100Gbps}}}}
dispatch: {{path: ecmp}}
workload: [{{kind: matrix, pattern: all_to_all, size: 200KB}}]
variants:
  packet: {{engine: packet}}
  fluid: {{engine: fluid}}
  spray: {{dispatch.path: spray}}
  ethereal: {{dispatch.path: ethereal, engine: fluid}}
"""
RING = """
fabric: {topology: {kind: star, hosts: 4}}
dispatch: {path: ecmp, collective: ring}
gpus: {only: {"2": {slowdown: 3}}}
workload: [{kind: collective, op: all_reduce, size: 400KB, repeat: 2, gap: 20us}]
"""
LAYERS = """
engine: fluid
fabric:
  topology:
    kind: gpu_cluster
    nodes: 2
    gpus_per_node: 4
    nics_per_gpu: 1
    scale_up: {kind: nvswitch}
    fabric: {kind: star}
dispatch: {collective: bilevel, expert: static}
gpus: {kind: h200_sxm, only: {"5": {slowdown: 1.5}}}
workload:
  - kind: moe
    model: gpt-oss-120b
    tokens_per_gpu: 1024
    routing: {kind: log_normal, sigma: 0}
    layers: 2
    steps: 2
    micro_batches: 2
    scope: model
"""
INCAST = """
fabric: {topology: {kind: star, hosts: 5}}
dispatch: {path: ecmp}
workload: [{kind: matrix, pattern: incast, senders: 3, size: 100KB}]
"""

Runs = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs a scenario once and gives its folder."""
    folder, done = tmp_path_factory.mktemp("runs"), dict[str, Path]()

    def run(text: str, *options: str, code: int = 0) -> Path:
        key = text + " ".join(options)
        if key not in done:
            scenario, out = folder / f"{len(done)}.yaml", folder / f"out{len(done)}"
            scenario.write_text(f"name: case{text}")
            assert run_sim.main([str(scenario), "--out", str(out), "--no-plots", "-q", *options]) == code
            done[key] = out
        return done[key]

    return run


def total(parts: list[dict[str, Any]]) -> int:
    return sum(part["ps"] for part in parts)


@pytest.mark.parametrize("variant", ["packet", "fluid", "spray", "ethereal"])
def test_a_degraded_link_is_named_first(runs: Runs, variant: str) -> None:
    known = explain(runs(SLOW_LINK), variant=variant)
    first = known["links"][0]
    assert first["link"] in ("leaf0->spine1", "spine1->leaf0")
    assert (first["rate_gbps"], first["usual_rate_gbps"]) == (100, 400)
    assert {row["link"] for row in known["slower_links"]} == {"leaf0->spine1", "spine1->leaf0"}
    assert total(known["parts"]) == known["total_ps"]


@pytest.mark.parametrize("engine", ["packet", "fluid"])
def test_the_parts_of_every_flow_add_up(runs: Runs, engine: str) -> None:
    folder = runs(SLOW_LINK)
    flows = load(folder).variants[engine].frame("flows")
    for row in flows.iloc[::23].itertuples():
        known = explain(folder, str(row.id), engine)
        assert total(known["parts"]) == known["total_ps"] == round(row.fct_us * 1e6)
        by_name = {part["part"]: part["ps"] for part in known["parts"]}
        for part in ("queueing", "serialisation", "propagation") if engine == "packet" else ():
            assert sum(hop[f"{part}_ps"] for hop in known["hops"]) == by_name.get(part, 0)


def test_who_shared_the_queue_of_an_incast(runs: Runs) -> None:
    known = explain(runs(INCAST), "flow:2")
    assert known["bottleneck"] == "switch0->host0"
    assert {row["id"] for row in known["shared"]["flows"]} == {0, 1}
    hop = known["hops"][-1]
    assert known["shared"]["to_ps"] - known["shared"]["from_ps"] == hop["queueing_ps"] > 0


def test_sprayed_flows_are_told_by_the_links_they_can_take(runs: Runs) -> None:
    folder = runs(SLOW_LINK, "--set", "variants={}", "--set", "engine=fluid", "--set", "dispatch.path=spray")
    known = explain(folder, "flow:1")  # host0 -> host2, in leaf0
    assert known["bottleneck"] in ("host0->leaf0", "leaf0->host2")
    end = {"host0->leaf0": ("src", "host0"), "leaf0->host2": ("dst", "host2")}[known["bottleneck"]]
    assert known["shared"]["count"] == {"spreads": 14}
    assert {row[end[0]] for row in known["shared"]["flows"]} == {end[1]}


@pytest.mark.parametrize("number", [0, 1])
def test_a_critical_path_of_a_ring_is_the_collective_to_the_picosecond(runs: Runs, number: int) -> None:
    known = explain(runs(RING), f"collective:{number}")
    row = load(runs(RING)).frame("collectives").iloc[number]
    assert total(known["parts"]) == known["total_ps"] == round(row.time_us * 1e6)
    ends = np.cumsum([link["ps"] for link in known["chain"]])
    assert [link["from_ps"] for link in known["chain"]] == [0, *ends[:-1]]
    sent = [link for link in known["chain"] if link["flow"] is not None]
    assert all(total(link["parts"]) == link["ps"] for link in known["chain"])
    # a step goes to the next rank; all 6 of them, but for those before a rank that joined late
    assert len(sent) == 6 if number == 0 else 0 < len(sent) <= 6
    computed = {part["part"]: part["ps"] for part in known["parts"]}.get("compute", 0)
    assert (computed > 20_000_000) == (number == 1)  # GPU 2 computes 60 us instead of 20


def test_a_straggler_is_the_first_gpu(runs: Runs) -> None:
    first, second, *_ = explain(runs(LAYERS))["gpus"]
    assert first["gpu"] == 5
    assert first["pace"] == pytest.approx(1.5, rel=1e-6)
    assert second["pace"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("layer", ["moe:0.0", "moe:0.1", "moe:1.0", "moe:1.1"])
def test_the_critical_path_of_a_layer_adds_up(runs: Runs, layer: str) -> None:
    known = explain(runs(LAYERS), layer)
    rows = load(runs(LAYERS)).frame("moe_steps").set_index(["step", "layer"])
    took = rows.loc[(known["step"], known["layer"]), "time_us"]
    assert total(known["parts"]) == sum(link["ps"] for link in known["chain"]) == round(took * 1e6)
    parts = {part["part"] for part in known["parts"]}
    assert {"experts", "serialisation", "propagation"} <= parts
    assert "idle" not in parts
    assert known["slowest"][0]["host"] == "host5"


def test_kernels_are_the_busy_time_of_their_gpu(runs: Runs) -> None:
    run = load(runs(LAYERS))
    kernels = run.frame("kernels")
    assert list(kernels["start_us"]) == sorted(kernels["start_us"])
    busy = kernels.groupby("gpu")["duration_us"].sum().to_numpy()
    np.testing.assert_allclose(busy, run.frame("gpus")["busy_us"].to_numpy())
    assert set(kernels["job"]) == {"moe:0.0", "moe:0.1", "moe:1.0", "moe:1.1"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("flow:999", "flow:0 to flow:239"),
        ("flw:3", "did you mean 'flow'?"),
        ("request:3", "this run has no requests"),
        ("moe:1", "moe:STEP.LAYER"),
        ("moe:0.0", "no layers with experts"),
        ("collective:0", "no collectives"),
        ("1.5", "a flow is written flow:1"),
        ("twelve", "is no ID"),
        ("", "is no ID"),
    ],
)
def test_wrong_ids(runs: Runs, asked: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain(runs(SLOW_LINK), asked, "fluid")


def test_variants_side_by_side_and_one_by_one(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs(SLOW_LINK)
    known = explain(folder)
    assert list(known["variants"]) == ["packet", "fluid", "spray", "ethereal"]
    for wrong, message in (((folder, "3"), "--variant: packet, fluid, "), ((folder, "3", "fluit"), "'fluid'")):
        with pytest.raises(InputError, match=message):
            explain(*wrong)
    assert run_sim.main(["why", str(folder), "7", "--variant", "fluid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == explain(folder / "fluid", "7")


def test_results_without_the_table(runs: Runs, tmp_path: Path) -> None:
    off = runs(INCAST, "--set", "telemetry.flow_times=false")
    with pytest.raises(InputError, match=r"telemetry\.flow_times: true"):
        explain(off)
    old = tmp_path / "old"
    shutil.copytree(off, old)
    summary = json.loads((old / "summary.json").read_text())
    del summary["flow_times"]
    (old / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="earlier version"):
        explain(old, "0")


@pytest.mark.parametrize(("table", "asked"), [("hops", None), ("hops", "2"), ("flow_times", "2"), ("flows", "2")])
def test_damaged_tables_are_named(runs: Runs, tmp_path: Path, table: str, asked: str | None) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(runs(INCAST), folder)
    (folder / f"{table}.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=rf"{table}\.parquet: can't be read"):
        explain(folder, asked)
    (folder / f"{table}.parquet").unlink()
    with pytest.raises(InputError, match=rf"{table}\.parquet: (is missing|can't be read)"):
        explain(folder, asked)


def test_unfinished_work_is_told_as_such(runs: Runs) -> None:
    folder = runs(RING, "--set", "stop.time=10us", code=3)
    assert "stop.time" in text_of(explain(folder), folder)
    for asked in ("collective:0", str(load(folder).rows("flows") - 1)):
        known = explain(folder, asked)
        assert known["status"] == "unfinished"
        assert "unfinished" in text_of(known, folder)


def test_a_flow_that_was_not_sent_has_no_path(runs: Runs) -> None:
    cut = ("fabric.convergence_delay=0us", "workload.0.start=1us", "events=[{at: 0us, link: host1-switch0, set: down}]")
    folder = runs(INCAST, *(word for value in cut for word in ("--set", value)), code=3)
    rejected = load(folder).frame("flows").query("status == 'rejected'")
    known = explain(folder, str(rejected["id"].iloc[0]))
    assert known["path"] is None
    assert "path none" in text_of(known, folder)


def test_answers_fit_the_terminal(runs: Runs) -> None:
    for text, ids in (
        (SLOW_LINK, [None]),
        (RING, [None, "5", "collective:0", "collective:1"]),
        (LAYERS, [None, "100", "moe:1.1"]),
        (INCAST, [None, "0", "2"]),
    ):
        for asked in ids:
            lines = text_of(explain(runs(text), asked), runs(text)).split("\n")
            assert max(map(len, lines)) <= 100, max(lines, key=len)
