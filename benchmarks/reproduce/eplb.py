"""DeepSeek's EPLB per GPU and per link: ``python benchmarks/reproduce/eplb.py [--quick] [--only PART]``.

Sources: the example of deepseek-ai/EPLB's README (placement and loads, held exactly); TensorRT-LLM's tech blog 4
(DeepSeek-R1 on 32 GB200, 256 tokens a GPU, machine translation) for the imbalance before and after. Their traffic is
not published: ours is log-normal, with one sigma set so that the GPUs' imbalance before is theirs; their other three
numbers were not used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

from benchmarks.moe_runs import ROOT, Result, load_one, run_loaded
from benchmarks.report import beside, table, verdict
from models.architectures import architecture
from models.routing.popularity import LogNormal
from sim.dispatch.registry import Registry
from sim.dispatch.views import Batch, ExpertView
from sim.processes.moe import Step
from solvers.eplb import rebalance
from solvers.expert_plan import ExpertPlan, native_ranks

README_LOADS = (
    (90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86),
    (20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27),
)
README_SLOTS = (
    (5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1),
    (7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1),
)
# (before, after with 9 slots a GPU): (max - mean) / mean and standard deviation / mean, of GPUs and of slots
MEASURED = {
    "GPUs: (max - mean) / mean": (1.564, 0.109),
    "GPUs: deviation / mean": (491.6 / 1024, 52.0 / 1024),
    "slots: (max - mean) / mean": (10.948, 1.792),
}
SIGMA = 1.13  # as in the scenario
GPUS, NODES, TOKENS = 32, 4, 256
PHASES = {"prefill": (4096, "hierarchical_dedup"), "decode": (256, "low_latency")}
MODES = ("hierarchical", "global")
KINDS = {"scale-up in": ("nvswitch", "host"), "NIC in": ("nic", "host"), "leaf to spine": ("leaf", "spine")}
LAYERS = 2  # of the scenario
Links = dict[str, NDArray[np.float64]]


def readme_part(quick: bool) -> None:
    print("## The README's example: 12 experts, 16 slots, 4 groups, 2 nodes, 8 GPUs\n")
    lines = []
    for layer, (weight, slots) in enumerate(zip(README_LOADS, README_SLOTS, strict=True)):
        ours = rebalance(np.array(weight, dtype=np.float64), 16, 4, 2, 8)
        load = readme_load(layer)
        cells = " ".join(f"{value:g}" for value in load)
        lines.append((layer, verdict(ours.tolist() == list(slots)), cells, f"{load.max() / load.mean():.3f}"))
    table("layer | the same placement | copies a GPU | max/mean", lines)


def readme_load(layer: int) -> NDArray[np.float64]:
    """[8] load of each GPU of the example."""
    weight = np.array(README_LOADS[layer], dtype=np.float64)
    slots = rebalance(weight, 16, 4, 2, 8)
    load: NDArray[np.float64] = (weight / np.bincount(slots, minlength=12))[slots].reshape(8, 2).sum(axis=1)
    return load


def plans(sigma: float, drift: float, layer: int, steps: int, params: dict[str, Any] | None) -> list[ExpertPlan]:
    """Plans of each step of a layer, not simulated; ``params`` of eplb, None: plain expert parallelism."""
    arch = architecture("deepseek-v3")
    found = Registry().load("expert", "static" if params is None else "eplb")
    node = np.arange(GPUS, dtype=np.int64) // (GPUS // NODES)
    native, rng = native_ranks(arch.experts, GPUS), np.random.default_rng(1)
    view = ExpertView(GPUS, node, arch.experts, arch.top_k, arch.expert_groups, native, rng)
    policy = found.module.Policy(found.Params(**(params or {})), view)
    source = LogNormal(arch.experts, arch.top_k, 1, sigma, drift, (arch.expert_groups, arch.top_groups))
    tokens = np.full(GPUS, TOKENS, dtype=np.int64)
    result = []
    for step in range(steps):
        choices = source.choices(tokens, step, layer, np.random.default_rng([2, step, layer]))
        result.append(policy.plan(Batch(step, layer, tokens, choices)))
    return result


def imbalance(values: NDArray[np.int64]) -> float:
    """(max - mean) / mean."""
    return float(values.max() / values.mean() - 1)


def measures(found: list[ExpertPlan]) -> list[float]:
    """Those of ``MEASURED``, means over the plans."""
    loads, slots = [plan.load for plan in found], [plan.slot_load for plan in found]
    deviation = np.mean([load.std() / load.mean() for load in loads])
    return [float(np.mean([imbalance(load) for load in loads])), float(deviation),
            float(np.mean([imbalance(load) for load in slots]))]  # fmt: skip


def balance(layers: int) -> dict[str, list[float]]:
    """Measures before, and in the step after the placement with each mode: means over the layers."""
    result = {"before": measures([plans(SIGMA, 0.0, layer, 1, None)[0] for layer in range(layers)])}
    for mode in MODES:
        result[mode] = measures([plans(SIGMA, 0.0, layer, 3, {"mode": mode})[2] for layer in range(layers)])
    return result


def balance_part(quick: bool) -> None:
    print("## Balance of 32 GPUs: TensorRT-LLM's measurement beside ours\n")
    print("Theirs: DeepSeek-R1, machine translation. Ours: DeepSeek-V3's gate (4 of 8 groups), log-normal popularity")
    print(f"of sigma {SIGMA}, set by the first number alone; placed from one step of {TOKENS} tokens a GPU, seen on")
    print("another.\n")
    ours = balance(12 if quick else 58)
    lines = []
    for row, (name, (before, after)) in enumerate(MEASURED.items()):
        lines.append((name, "before", *beside(before, ours["before"][row]), ""))
        lines.append((name, "after", *beside(after, ours["global"][row]), f"{ours['hierarchical'][row]:.2f}"))
    table("measure | EPLB, 9 slots a GPU | theirs | ours, global | difference | ours, hierarchical", lines)


def interval_part(quick: bool) -> None:
    drift, steps = 0.1, 51 if quick else 201
    print("## Rebalance interval\n")
    print(f"Popularity drifts by {drift} a step (half of it is new after 140 steps); expected is the mean of the steps")
    print("since the last placement. One layer, global mode; weights are fp8.\n")
    size = architecture("deepseek-v3").expert_parameters
    lines = [("never", f"{measures(plans(SIGMA, drift, 0, steps, None)[1:])[0]:.2f}", "0")]
    for interval in (1, 10, 50) if quick else (1, 10, 50, 100):
        found = plans(SIGMA, drift, 0, steps, {"mode": "global", "interval": interval, "window": interval})[1:]
        moved = sum(len(plan.transfers) for plan in found[1:]) * size / GPUS / len(found[1:])
        lines.append((str(interval), f"{measures(found)[0]:.2f}", f"{moved / 1e6:.1f}"))
    table("steps between placements | GPUs: (max - mean) / mean | weights MB a step and GPU", lines)


def run(phase: str, mode: str, steps: int, *sets: str) -> Result:
    """The scenario in a phase; ``mode`` of eplb, or ``before`` for plain expert parallelism."""
    tokens, collective = PHASES[phase]
    expert = "static" if mode == "before" else f"{{kind: eplb, mode: {mode}}}"
    given = (f"dispatch.collective={collective}", f"dispatch.expert={expert}", f"workload.0.steps={steps}")
    return run_loaded(load_one("eplb", f"workload.0.tokens_per_gpu={tokens}", *given, *sets, variants=False))


def link_bytes(phase: str, mode: str, steps: int) -> Links:
    """By kind of ``KINDS``: MB of payload of each link, over so many steps, a layer.

    Without the messages' cost, which stands as bytes of link time.
    """
    world = run(phase, mode, steps, "workload.0.messages=none").world
    topology, totals = world.topology, world.network.link_totals(int(world.clock.now))["bytes"]
    names = [name.rstrip("0123456789.") for name in topology.node_name]
    ends = [(names[src], names[dst]) for src, dst in zip(topology.link_src, topology.link_dst, strict=True)]
    return {kind: totals[[end == pair for end in ends]] / 1e6 / LAYERS for kind, pair in KINDS.items()}


def simulated_part(quick: bool) -> None:
    print("## DeepSeek-V3 on 4 rail-wired nodes of 8 H200, 32 redundant experts\n")
    print("Prefill: 4,096 tokens a GPU, hierarchical_dedup; decode: 256, low_latency. Per layer; bytes are payload of")
    print("the busiest link and of all. `move`: the step that changes the placement. Times after it are of the second")
    print("step after it, when all GPUs are in step again.\n")
    times: list[tuple[str, ...]] = []
    drawn: dict[str, dict[str, Links]] = {}
    for phase in ("decode",) if quick else PHASES:
        first = link_bytes(phase, "before", 1)
        drawn[phase] = {"before": first}
        for mode in MODES:
            world = run(phase, mode, 4).world
            rows = {(step, layer): row for (_, step, layer), row in world.steps.rows.items()}
            if mode == MODES[0]:
                times.append((phase, "before", *_cells(rows, 0), ""))
            move = f"{_mean(rows, 1, 'end') - _mean(rows, 1, 'start'):.0f}, {_mean(rows, 1, 'weights'):.0f}"
            times.append((phase, mode, *_cells(rows, 3), move))
            second, third = link_bytes(phase, mode, 2), link_bytes(phase, mode, 3)
            drawn[phase][f"{mode}, move"] = {kind: second[kind] - first[kind] for kind in KINDS}
            drawn[phase][mode] = {kind: third[kind] - second[kind] for kind in KINDS}
    head = "phase | placement | max/mean | layer us | dispatch | experts | combine | peak GiB"
    table(f"{head} | step with the move: us, of which weights", times)
    lines = []
    for phase, steps in drawn.items():
        for name, links in steps.items():
            cells = [f"{value:.1f}" for kind in KINDS for value in (links[kind].max(), links[kind].sum())]
            lines.append((phase, name, *cells))
    table("phase | placement | " + " | ".join(f"{kind}: busiest MB | all" for kind in KINDS), lines)
    if not quick:
        draw_gpus()
        draw_links(drawn)


def _mean(rows: dict[tuple[int, int], Step], step: int, name: str) -> float:
    """Of a field, in us, over the layers of a step."""
    return float(np.mean([getattr(row, name) for (at, _), row in rows.items() if at == step])) / 1e6


def _cells(rows: dict[tuple[int, int], Step], step: int) -> list[str]:
    """Balance, times and memory of a step."""
    times = [_mean(rows, step, "end") - _mean(rows, step, "start")]
    times += [_mean(rows, step, name) for name in ("dispatch", "experts", "combine")]
    ratio = np.mean([row.max_over_mean for (at, _), row in rows.items() if at == step])
    peak = max(row.peak for (at, _), row in rows.items() if at == step) / 2**30
    return [f"{ratio:.2f}", *(f"{value:.0f}" for value in times), f"{peak:.2f}"]


def draw_gpus() -> None:
    """Copies a GPU: the README's two layers, and a layer of DeepSeek-V3 before and after."""
    from analysis.plots.style import colour, save, settings, sheet

    labels = ["before", "after, hierarchical", "after, global", "mean"]
    title = "EPLB: load of each GPU"
    page = sheet(1, 3, (3.1, 2.1), title, labels, headed=True, gap=(0.55, 0.4))
    with settings():
        for layer in range(2):
            axis, load = page.axes[0][layer], readme_load(layer)
            axis.bar(range(8), load, color=colour(1), width=0.7)
            axis.axhline(load.mean(), color="#333333", lw=1, ls=":")
            axis.set_title(f"README, layer {layer}: max/mean {load.max() / load.mean():.3f}")
            axis.set_xlabel("GPU")
        page.axes[0][0].set_ylabel("tokens")
        axis = page.axes[0][2]
        loads = [plans(SIGMA, 0.0, 0, 1, None)[0].load]
        loads += [plans(SIGMA, 0.0, 0, 3, {"mode": mode})[2].load for mode in MODES]
        for number, (load, label) in enumerate(zip(loads, labels, strict=False)):
            ratio = load / loads[0].mean()
            marks = {"marker": "o", "ms": 3, "ls": "none"}
            axis.plot(range(GPUS), ratio, color=colour(number), label=f"{label}", **marks)
        axis.axhline(1.0, color="#333333", lw=1, ls=":", label="mean")
        axis.set_ylim(bottom=0)
        axis.set_title("DeepSeek-V3, one layer, 32 GPUs")
        axis.set_xlabel("GPU")
        axis.set_ylabel("copies over mean")
    page.legend(page.axes[0, 2].get_legend_handles_labels()[0])
    save(page.figure, ROOT / "docs" / "figures" / "eplb_gpus.png")


def draw_links(drawn: dict[str, dict[str, Links]]) -> None:
    """Payload of each link, links sorted by it: a row a phase, a column a kind of link."""
    from analysis.plots.style import colour, save, settings, sheet

    labels = ["before", "after, hierarchical", "after, global"]
    title = "EPLB: payload of each link in one layer, links sorted by it"
    page = sheet(len(drawn), 3, (3.1, 1.9), title, labels, headed=True, gap=(0.55, 0.65))
    with settings():
        for row, (phase, steps) in enumerate(drawn.items()):
            for column, kind in enumerate(KINDS):
                axis = page.axes[row][column]
                for number, (label, name) in enumerate(zip(labels, ("before", *MODES), strict=True)):
                    values = np.sort(steps[name][kind])[::-1]
                    axis.plot(values, color=colour(number), marker=".", ms=4, lw=1, label=label)
                idle = not any(steps[name][kind].any() for name in ("before", *MODES))
                axis.set_ylim(0, 1 if idle else None)
                axis.set_title(f"{phase}: {kind}{', none' if idle else ''}")
            page.axes[row][0].set_ylabel("MB")
        for axis in page.axes[-1]:
            axis.set_xlabel("link")
    page.legend()
    save(page.figure, ROOT / "docs" / "figures" / "eplb_links.png")


PARTS = {"readme": readme_part, "balance": balance_part, "interval": interval_part, "simulated": simulated_part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer layers and steps, no figure")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.only in (None, name):
            part(options.quick)


if __name__ == "__main__":
    main()
