"""``timeline``: valid traces whose events nest, within the window and the limit."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import run_sim
from analysis.load import load

SCENARIO = """name: timeline
engine: fluid
fabric:
  topology: {kind: gpu_cluster, nodes: 2, gpus_per_node: 2, nics_per_gpu: 1, scale_up: {kind: nvswitch}, fabric: star}
dispatch: {collective: direct}
gpus: {kind: h200_sxm}
workload:
  - {kind: moe, model: olmoe-1b-7b, tokens_per_gpu: 512, routing: {kind: log_normal, sigma: 1}, layers: 2, steps: 2}
  - {kind: collective, op: all_reduce, size: 1MB, repeat: 4, gap: 10us}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timeline")
    (folder / "scenario.yaml").write_text(SCENARIO.replace("fabric: star", "fabric: {kind: star}"))
    assert run_sim.main([str(folder / "scenario.yaml"), "--out", str(folder / "out"), "--no-plots", "-q"]) == 0
    return folder / "out"


def trace(results: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    assert run_sim.main(["timeline", str(results), "-o", str(out), "-q", *options]) == 0
    content = json.loads(gzip.decompress(out.read_bytes()) if out.suffix == ".gz" else out.read_text())
    assert content["displayTimeUnit"] == "ns"
    events: list[dict[str, Any]] = content["traceEvents"]
    return events


def span(event: dict[str, Any]) -> tuple[int, int]:
    start = round(event["ts"] * 1e6)
    return start, start + round(event["dur"] * 1e6)


def test_every_event_is_whole_and_named(results: Path, tmp_path: Path) -> None:
    events = trace(results, tmp_path / "trace.json")
    run, named = load(results), set[tuple[int, int]]()
    kinds = defaultdict(int)
    for event in events:
        assert {"name", "ph", "pid", "tid"} <= set(event)
        if event["ph"] == "M":
            named.add((event["pid"], event["tid"]))
            continue
        assert event["ph"] in "XC"
        assert event["ts"] >= 0
        assert event["pid"] < 10 or (event["pid"], event["tid"]) in named
        kinds[event.get("cat", "counter")] += 1
    assert kinds["flow"] == run.rows("flows")
    assert kinds["kernel"] == run.rows("kernels")
    assert (kinds["collective"], kinds["moe"]) == (4, 4)
    assert kinds["counter"] > 0
    layers = {event["name"]: event for event in events if event.get("cat") == "moe"}
    steps = run.frame("moe_steps")
    assert layers["moe:1.1"]["dur"] == pytest.approx(steps["time_us"].iloc[-1])


def test_events_of_a_thread_do_not_overlap(results: Path, tmp_path: Path) -> None:
    lanes = defaultdict(list)
    for event in trace(results, tmp_path / "trace.json.gz"):
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append(span(event))
    assert len(lanes) > 8
    for spans in lanes.values():
        assert all(start >= end for (_, end), (start, _) in pairwise(spans))


def test_the_window_and_the_limit_hold(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin, end = 50 * 10**6, 120 * 10**6
    inside = [e for e in trace(results, tmp_path / "a.json", "--from", "50us", "--to", "120us") if e["ph"] == "X"]
    assert all(span(event)[0] < end and span(event)[1] >= begin for event in inside)
    whole = [e for e in trace(results, tmp_path / "b.json") if e["ph"] == "X"]
    assert [e for e in whole if span(e)[0] < end and span(e)[1] >= begin] == inside
    capsys.readouterr()
    few = [e for e in trace(results, tmp_path / "c.json", "--limit", "20") if e["ph"] != "M"]
    assert len(few) == 20
    assert "left out beyond 20 events" in capsys.readouterr().err
    assert max(e["ts"] for e in few) <= min(e["ts"] for e in whole if e not in few)


def test_the_same_bytes_each_time(results: Path, tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        trace(results, tmp_path / name)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_unfinished_flows_only_begin(tmp_path: Path) -> None:
    scenario = tmp_path / "stopped.yaml"
    scenario.write_text(SCENARIO.replace("fabric: star", "fabric: {kind: star}"))
    options = ["--set", "stop.time=100us", "--out", str(tmp_path / "out"), "--no-plots", "-q"]
    assert run_sim.main([str(scenario), *options]) == 3
    begun = [e for e in trace(tmp_path / "out", tmp_path / "a.json") if e["ph"] == "B" and e["cat"] == "flow"]
    assert len(begun) == (load(tmp_path / "out").frame("flows")["status"] == "unfinished").sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "trace.txt"], "-o: 'trace.txt' does not end in .json or .json.gz"),
        (["-o", "nowhere/trace.json"], "there is no folder 'nowhere'"),
        (["-o", "a.json", "--from", "10"], "--from: the bare number 10 has no unit"),
        (["-o", "a.json", "--from", "2us", "--to", "1us"], "--to: 1us does not come after --from"),
        (["-o", "a.json", "--limit", "-3"], "--limit"),
        (["-o", "a.json", "--variant", "x"], "no 'x'"),
    ],
)
def test_wrong_options(
    results: Path,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_sim.main(["timeline", str(results), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_hosts_of_a_users_own_fabric_keep_their_names(tmp_path: Path) -> None:
    scenario = tmp_path / "own.yaml"
    link = "rate: 100Gbps, delay: 1us"
    scenario.write_text(
        f"""name: own
fabric: {{topology: {{kind: edges, links: [{{src: alice, dst: mid, {link}}}, {{src: bob, dst: mid, {link}}}]}}}}
workload: [{{kind: collective, op: all_reduce, size: 1KB, repeat: 2, gap: 10us}}]
"""
    )
    assert run_sim.main([str(scenario), "--out", str(tmp_path / "out"), "--no-plots", "-q"]) == 0
    events = trace(tmp_path / "out", tmp_path / "trace.json")
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    computing = {names[event["pid"]] for event in events if event.get("cat") == "kernel"}
    assert computing == {"alice", "bob"} <= set(names.values())
