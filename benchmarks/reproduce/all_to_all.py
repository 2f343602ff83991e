"""All2All on the simulated fabric beside measurements: ``python benchmarks/reproduce/all_to_all.py [--quick]``.

Sources: DeepEP README dd758caf (H800), nccl-tests of xxrjun/nccl-tests-cluster 455de4f8 (10 x 8 H100), UCCL da914a20
(EFA, 2 x p5). Frozen configurations: ``scenarios/all_to_all.yaml`` and ``scenarios/nccl_h100_cluster.yaml``. What
messages cost comes from ``models/comms/message_profiles.json``, which names the rows that each profile was taken from:
DeepEP's low-latency kernels, EFA and NCCL's all_to_all are read back through the fabric; the normal kernels' EP8 and
EP16 rows helped to set their rate inside a node; their EP32 and EP64 rows and NCCL's all_reduce are predictions. They
stand on the validation page (``python -m validations all_to_all``); here is the sweep over tokens and nodes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.moe_runs import ROOT, Result, load_one, run, run_loaded
from benchmarks.report import table
from models.moe_layer import token_bytes
from tests.validation.exchanges import Cluster, pairs

BOUND = 0.2
GPUS, HIDDEN = 8, 7168
POLICIES = ("direct", "bilevel", "hierarchical_dedup", "low_latency")
NODES = (1, 2, 4, 8, 16)
TOKENS = (8, 32, 128, 512, 2048, 8192)
# GPUs: (dispatch, combine), us at 128 tokens a GPU
LOW_LATENCY = {8: (77, 114), 16: (118, 195), 64: (173, 314), 128: (192, 369)}
# GPUs: GB/s at 4096 tokens a GPU, a token counted once for every node (one node: GPU) that it has experts on
NORMAL = {8: (153, 158), 16: (43, 43), 32: (58, 57), 64: (51, 50)}
# message size in KiB: GB/s of a GPU (along the rail, across rails)
EFA = {
    8: (13.8, 6.1), 16: (21.1, 8.6), 32: (35.6, 14.1), 64: (36.9, 15.6), 128: (41.6, 15.7), 256: (41.9, 15.3),
    512: (43.2, 17.9), 1024: (43.5, 19.0), 2048: (43.4, 19.9), 4096: (43.7, 20.1),
}  # fmt: skip
NCCL = {
    "all_to_all": (50.5, "dispatch.collective=direct"),
    "all_reduce": (344.9, "dispatch.collective={kind: ring, channels: 8}"),
}
EFA_MESSAGES = 64  # in a row, as a benchmark of throughput sends them


class Row(NamedTuple):
    """One measured value beside ours."""

    part: str
    what: str
    measured: float
    ours: float
    unit: str

    @property
    def error(self) -> float:
        return self.ours / self.measured - 1


def layer(policy: str, nodes: int, tokens: int, *sets: str) -> Result:
    """One layer of DeepSeek-V3 under this All2All."""
    given = (f"fabric.topology.nodes={nodes}", f"workload.0.tokens_per_gpu={tokens}")
    return run("all_to_all", f"dispatch.collective={policy}", *given, *sets)


def sent(result: Result) -> tuple[float, float]:
    """Payload of a GPU that left its node, and that stayed there: bytes of dispatch and combine together."""
    flows = result.world.flows
    ends = np.array([(flow.src // GPUS, flow.dst // GPUS, flow.bytes) for flow in flows.flow])
    payload, away = ends[:, 2] - np.array(flows.overhead), ends[:, 0] != ends[:, 1]
    ranks = result.world.topology.hosts
    return payload[away].sum() / ranks, payload[~away].sum() / ranks


def low_latency(ranks: int) -> list[Row]:
    found = layer("low_latency", ranks // GPUS, 128)
    return [
        Row("DeepEP low-latency", f"EP{ranks} {phase}", measured, found.mean_us(phase), "us")
        for phase, measured in zip(("dispatch", "combine"), LOW_LATENCY[ranks], strict=True)
    ]


def normal(ranks: int) -> list[Row]:
    """Published bandwidth counts the tokens that stay in the node (on the GPU), too: n / (n - 1) of what crosses."""
    nodes = ranks // GPUS
    found = layer("hierarchical_dedup", nodes, 4096)
    away, stays = sent(found)
    counted = stays * GPUS / (GPUS - 1) if nodes == 1 else away * nodes / (nodes - 1)
    size = {"dispatch": token_bytes(HIDDEN, "fp8"), "combine": token_bytes(HIDDEN, "bf16")}
    return [
        Row("DeepEP normal", f"EP{ranks} {phase}", measured,
            counted * size[phase] / sum(size.values()) / found.mean_us(phase) / 1e3, "GB/s")
        for phase, measured in zip(("dispatch", "combine"), NORMAL[ranks], strict=True)
    ]  # fmt: skip


def nccl(op: str) -> Row:
    """Bus bandwidth at 16 GiB."""
    measured, policy = NCCL[op]
    world = run_loaded(load_one("nccl_h100_cluster", policy, f"workload.0.op={op}", variants=False)).world
    (row,) = world.collectives.rows
    factor = (row.ranks - 1) / row.ranks * (2 if op == "all_reduce" else 1)
    return Row("NCCL, 10 x 8 H100", f"{op} 16 GiB", measured, factor * row.bytes / row.time * 1e3, "GB/s")


def efa(size: int) -> list[Row]:
    """Every GPU of two nodes sends to its own number in the other node, or to the next number there."""
    cluster, rows = Cluster(2, 450), []
    for what, shift, measured in zip(("along rails", "across rails"), (0, 1), EFA[size], strict=True):
        exchange = pairs(2, shift, size * 2**10, EFA_MESSAGES)
        us = cluster.time(exchange, "efa", launch=False)
        rows.append(Row("EFA, 2 x p5", f"{size} KiB {what}", measured, EFA_MESSAGES * size * 1.024 / us, "GB/s"))
    return rows


def measured(quick: bool) -> list[Row]:
    """DeepEP's kernels and EFA's rails; NCCL at all its sizes is a validation of its own."""
    rows = [row for ranks in (LOW_LATENCY if not quick else (8, 16)) for row in low_latency(ranks)]
    rows += [row for ranks in (NORMAL if not quick else (8, 16)) for row in normal(ranks)]
    return rows + [row for size in (EFA if not quick else (8, 1024)) for row in efa(size)]


def sweep_part(quick: bool) -> dict[tuple[int, int, str], float]:
    """us of dispatch and combine by (nodes, tokens, policy)."""
    nodes, tokens = ((2, 8), (128, 4096)) if quick else (NODES, TOKENS)
    found = {}
    print("## Dispatch and combine of one DeepSeek-V3 layer, us, by nodes and tokens a GPU\n")
    rows = []
    for count in nodes:
        for each in tokens:
            times = {}
            for policy in POLICIES:
                one = layer(policy, count, each)
                times[policy] = found[count, each, policy] = one.mean_us("dispatch") + one.mean_us("combine")
            rows.append((f"{count} x 8", f"{each:,}", *(f"{time:,.0f}" for time in times.values()),
                         min(times, key=times.__getitem__)))  # fmt: skip
    table("nodes | tokens a GPU | " + " | ".join(POLICIES) + " | least", rows)
    return found


def draw(rows: list[Row], sweep: dict[tuple[int, int, str], float]) -> None:
    """Above: the sweep, a panel a number of nodes. Below: measured (open) and simulated."""
    from analysis.plots.style import line_style, save, settings, sheet

    shown = (1, 2, 8, 16)
    page = sheet(2, 4, (2.55, 2.2), "All2All for experts: four algorithms, and measurements", POLICIES, headed=True,
                 gap=(0.6, 1.0), left=0.7, bottom=0.6)  # fmt: skip
    with settings():
        for axis, nodes in zip(page.axes[0], shown, strict=True):
            for number, policy in enumerate(POLICIES):
                times = [sweep[nodes, tokens, policy] for tokens in TOKENS]
                axis.plot(TOKENS, times, marker=".", label=policy, **line_style(number))
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_xticks(TOKENS, [f"{tokens}" for tokens in TOKENS])
            axis.set_title(f"{nodes} node{'s' if nodes > 1 else ''} of 8 H800", fontsize=9)
            axis.set_xlabel("tokens a GPU")
        page.axes[0][0].set_ylabel("dispatch and combine, us")
        _beside(page.axes[1][0], rows, "DeepEP low-latency", "us", ("dispatch", "combine"))
        _beside(page.axes[1][1], rows, "DeepEP normal", "GB/s, logical", ("dispatch", "combine"))
        _beside(page.axes[1][2], rows, "NCCL, 10 x 8 H100", "GB/s, bus bandwidth", ("GiB",))
        _beside(page.axes[1][3], rows, "EFA, 2 x p5", "GB/s of a GPU", ("along rails", "across rails"))
    page.legend()
    save(page.figure, ROOT / "docs" / "figures" / "all_to_all.png")


def _beside(axis: Any, rows: list[Row], part: str, unit: str, kinds: tuple[str, ...]) -> None:
    """Measured values as rings, ours as dots on lines, a colour a kind."""
    from analysis.plots.style import colour

    for number, kind in enumerate(kinds):
        mine = [row for row in rows if row.part == part and row.what.endswith(kind)]
        at, hue = range(len(mine)), colour(4 + number)
        axis.plot(at, [row.measured for row in mine], "o", mfc="none", color=hue, markersize=7)
        axis.plot(at, [row.ours for row in mine], ".-" if len(kinds) > 1 else ".", color=hue, label=kind)
        names = [row.what.removesuffix(kind).strip().removesuffix(" 16").removesuffix(" KiB") for row in mine]
        axis.set_xticks(at, names, rotation=45 if len(mine) > 4 else 0)
        if len(mine) == 2:
            axis.set_xlim(-0.5, 1.5)
        elif len(mine) > 4:
            axis.set_xlabel("message, KiB")
    axis.set_title(f"{part}: rings measured, dots ours", fontsize=8)
    axis.set_ylabel(unit)
    axis.set_ylim(0, None)
    if len(kinds) > 1:
        axis.legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer points, no figure")
    quick = parser.parse_args().quick
    sweep = sweep_part(quick)
    if not quick:
        draw([*measured(quick), *map(nccl, NCCL)], sweep)


if __name__ == "__main__":
    main()
