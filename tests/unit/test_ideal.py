"""A lone flow takes exactly its unloaded time; slowdown 1 means that nothing was in its way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import run_sim
from analysis.load import load
from models.ideal import pipeline_ps
from models.units import serialisation_ps

_SCENARIO = """
name: lone
engine: {engine}
fabric:
  topology: {{kind: leaf_spine, leaves: 2, spines: {spines}, hosts_per_leaf: 2,
             host_link: {{rate: 100Gbps, delay: 500ns}}, fabric_link: {{rate: {rate}, delay: 700ns}}}}
  switch: {{buffer: unlimited}}
  transport: {{kind: {transport}}}
dispatch: {{path: {path}}}
workload: [{{kind: flows, file: lone.csv}}]
"""

_LAYER = """
name: layer
engine: ideal
fabric:
  topology:
    kind: gpu_cluster
    nodes: 4
    gpus_per_node: 4
    nics_per_gpu: 2
    scale_up: {kind: nvswitch}
    fabric: {kind: leaf_spine, leaves: 4, spines: 2, hosts_per_leaf: 8, host_link: {rate: 1Gbps}}
dispatch: {path: ethereal}
workload: [{kind: moe, model: olmoe-1b-7b, tokens_per_gpu: 1, routing: {kind: log_normal, sigma: 2}}]
"""


def _slowdown(folder: Path, size: str, **values: object) -> float:
    (folder / "lone.csv").write_text(f"start,src,dst,size\n1us,host0,host2,{size}\n")
    (folder / "lone.yaml").write_text(_SCENARIO.format(**values))
    out = folder / "out"
    assert run_sim.main([str(folder / "lone.yaml"), "-q", "--no-plots", "--out", str(out)]) == 0
    slowdown = json.loads((out / "summary.json").read_text())["flows"]["slowdown"]["max"]
    return float(slowdown)


@pytest.mark.parametrize("size", ["1B", "4KiB", "4097B", "1MB"])
@pytest.mark.parametrize("rate", ["100Gbps", "50Gbps", "400Gbps"])
@pytest.mark.parametrize(("engine", "transport"), [("packet", "line_rate"), ("fluid", "window"), ("ideal", "window")])
def test_a_lone_flow_on_one_path_has_slowdown_one(
    tmp_path: Path, size: str, rate: str, engine: str, transport: str
) -> None:
    assert _slowdown(tmp_path, size, engine=engine, spines=4, rate=rate, transport=transport, path="ecmp") == 1.0


# (a short last packet may overtake the one before it on another path, so 4097B is 1 only for some draws)
@pytest.mark.parametrize("size", ["1B", "4KiB", "400KiB"])
@pytest.mark.parametrize("transport", ["line_rate", "window"])
def test_a_lone_sprayed_flow_on_equal_links_has_slowdown_one(tmp_path: Path, size: str, transport: str) -> None:
    values = {"engine": "packet", "spines": 4, "rate": "100Gbps", "path": "spray", "transport": transport}
    assert _slowdown(tmp_path, size, **values) == 1.0


def test_pieces_do_not_outrun_their_flow(tmp_path: Path) -> None:
    """Dispatched tokens weigh as their bytes, but their pieces share what the flow has alone."""
    (tmp_path / "layer.yaml").write_text(_LAYER)
    out = tmp_path / "out"
    assert run_sim.main([str(tmp_path / "layer.yaml"), "-q", "--no-plots", "--out", str(out)]) == 0
    assert load(out).frame("flows")["slowdown"].min() >= 1.0


@pytest.mark.parametrize("cap", [None, 400 * 10**9, 50 * 10**9, 30 * 10**9, 10**9 // 3])
def test_the_pipeline_is_the_recursion_packet_by_packet(cap: int | None) -> None:
    hops = [(100 * 10**9, 500_000), (40 * 10**9, 1), (400 * 10**9, 70_000)]
    size, mtu, header = 10_001, 1000, 64
    free = [0] * len(hops)
    for number, first in enumerate(range(0, size, mtu)):
        wire = min(mtu, size - first) + header
        now = 0 if cap is None else number * serialisation_ps(mtu + header, cap)
        for hop, (rate, delay) in enumerate(hops):
            free[hop] = max(now, free[hop]) + serialisation_ps(wire, rate)
            now = free[hop] + delay
    assert pipeline_ps(size, mtu, header, hops, cap) == now
