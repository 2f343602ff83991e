"""Expert dispatchers on measured routing: ``python benchmarks/reproduce/routing.py [--quick] [--only PART]``.

One configuration, ``scenarios/measured_routing.yaml``, with other models and files for the other measurements. No paper
has this table; what is held are the order of the policies (``tests/validation/test_measured_routing.py``) and the best
placement of whole experts by an integer programme. Sources of the counts and traces: ``scenarios/traces/README.md``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

from benchmarks.moe_runs import ROOT, Result, load_one, run_loaded
from benchmarks.report import table
from sim.dispatch.views import Batch
from sim.scenario.fabric import prepare
from sim.scenario.load import load
from solvers.eplb import rebalance
from solvers.expert_plan import ExpertPlan
from solvers.placement_gap import whole_optimum

NAME = "measured_routing"
TRACES = ROOT / "scenarios" / "traces"
BRANCHES = 10  # of the integer programme, for each layer
GPUS = 8


class Source(NamedTuple):
    """A measurement and the batch that it is used with."""

    label: str
    model: str
    tokens: int  # a GPU
    routing: str  # but for the layers
    layers: tuple[int, ...]  # of the file

    def sets(self) -> tuple[str, ...]:
        layers = list(self.layers)
        return (
            f"workload.0.model={self.model}", f"workload.0.tokens_per_gpu={self.tokens}",
            f"workload.0.layers={len(layers)}", f"workload.0.routing={{{self.routing}, layers: {layers}}}",
        )  # fmt: skip


def _trace(tokens: int, task: str) -> Source:
    routing = f"kind: trace, file: traces/deepseek_v2_lite_{task}.csv.gz"
    return Source(f"V2-Lite, {task}, {tokens}", "deepseek-v2-lite", tokens, routing, (1, 8, 16, 24))


def _counts(label: str, model: str, rows: str, domain: str) -> Source:
    """Drift: a tenth of each expert's popularity is new in each step, so that the past is no oracle."""
    file = "kind: counts, file: traces/olmoe_mixtral_counts.csv.gz, selection: topk, drift: 0.1"
    return Source(label, model, 8192, f"{file}, model: {rows}, domain: {domain}", (0, 7, 15))


SOURCES = (
    _trace(256, "intent"),
    _trace(256, "law"),
    _trace(8192, "intent"),
    _counts("OLMoE, arXiv, 8192", "olmoe-1b-7b", "OLMoE-1B-7B-0924", "arxiv"),
    _counts("Mixtral, GitHub, 8192", "mixtral-8x7b", "Mixtral-8x7B-v0.1", "github"),
)


@dataclass
class Row:
    """One policy on one measurement: means over the layers, of the first and the last step."""

    source: Source
    policy: str
    result: Result
    plans: dict[tuple[int, int], ExpertPlan]  # by step and layer
    asked: int  # copies that the tokens chose, over all plans

    @property
    def steps(self) -> int:
        return 1 + max(step for step, _ in self.plans)

    def mean(self, name: str, step: int) -> float:
        """Of a field of the step's rows; a negative ``step`` counts from the last."""
        step %= self.steps
        rows = self.result.world.steps.rows.items()
        return float(np.mean([getattr(row, name) for (_, at, _), row in rows if at == step]))

    def time_us(self, step: int) -> float:
        return (self.mean("end", step) - self.mean("start", step)) / 1e6

    def share(self, name: str) -> float:
        """Copies ``dropped``, ``rerouted`` or ``added``, of those asked for, in all steps."""
        return sum(int(getattr(plan, name)) for plan in self.plans.values()) / self.asked

    @property
    def placement_mb(self) -> float:
        """Weights that moved, all steps, of a layer."""
        item = self.result.world.loaded.scenario.workload[0]
        moved = sum(row.transfers for row in self.result.steps) / len(self.source.layers)
        return moved * int(item.layer_memory().expert_bytes) / 1e6

    def last_plans(self) -> list[ExpertPlan]:
        return [plan for (step, _), plan in self.plans.items() if step == self.steps - 1]


def variants(source: Source, *sets: str) -> dict[str, Any]:
    """The scenario's variants for a measurement, by the name of the policy."""
    loaded = load(ROOT / "scenarios" / f"{NAME}.yaml", (*source.sets(), *sets))
    prepare(loaded)
    return {one.variant: one for one in loaded}


def run(source: Source, policy: str, loaded: Any) -> Row:
    """One run of what ``load_one`` gave, or one of the ``variants``."""
    plans: dict[tuple[int, int], ExpertPlan] = {}
    tokens = [0]

    def watch(batch: Batch, plan: ExpertPlan) -> None:
        plans[batch.step, batch.layer] = plan
        tokens[0] += int(batch.tokens_per_rank.sum())

    result = run_loaded(loaded, watch)
    top_k = int(loaded.scenario.workload[0].architecture().top_k)
    return Row(source, policy, result, plans, tokens[0] * top_k)


def best_whole(row: Row) -> NDArray[np.float64]:
    """[layers] copies of the busiest GPU in the best placement of whole experts found for the last step's copies."""
    loads = [np.bincount(plan.slot_expert, weights=plan.slot_load).astype(np.int64) for plan in row.last_plans()]
    return np.array([whole_optimum(load, GPUS, BRANCHES).load for load in loads], dtype=np.float64)


def table_part(quick: bool) -> list[Row]:
    print("## One layer on 8 H200 under each dispatcher, routing as measured\n")
    print("Means over the layers, first and last of 4 steps. `less plan`: the last step without the planner's time.")
    print("`moved`: tokens and weights of the last step; `weights`: those of all 4 steps; both a layer. `gap`: the")
    print("last step's busiest GPU over that of the best placement of whole experts found for the measured choices,")
    print("without replicas (integer programme, HiGHS); below 0 where copies are split, dropped or go elsewhere.\n")
    sources = SOURCES[:1] if quick else SOURCES
    rows = [run(source, policy, one) for source in sources for policy, one in variants(source).items()]
    lines, best = [], {row.source: best_whole(row) for row in rows if row.policy == "static"}
    for row in rows:
        busiest = np.array([plan.load.max() for plan in row.last_plans()])
        gap = np.mean(busiest / best[row.source]) - 1
        last, plan = row.time_us(-1), row.mean("planner", -1) / 1e6
        shares = [f"{row.share(name):.1%}" if row.share(name) else "" for name in ("dropped", "rerouted", "added")]
        lines.append(
            (row.source.label, row.policy, *(f"{row.mean('max_over_mean', step):.3f}" for step in (0, -1)),
             f"{row.time_us(0):.0f}", f"{last:.0f}", f"{last - plan:.0f}", f"{row.mean('bytes', -1) / 1e6:.0f}",
             f"{row.placement_mb:.0f}", f"{row.result.peak / 2**30:.2f}", *shares, f"{gap:+.1%}")
        )  # fmt: skip
    table(
        "measurement, tokens a GPU | dispatcher | max/mean, first | last | layer us, first | last | less plan | "
        "moved MB | weights MB | peak GiB | dropped | rerouted | added | gap", lines,
    )  # fmt: skip
    return rows


def history_part(quick: bool) -> None:
    print("## Balancers with a memory: max/mean of layer 8 over many steps\n")
    print("V2-Lite, intent, 256 tokens a GPU; the trace repeats every 4 steps. u: step of loss-free's bias.\n")
    steps = (1, 5, 21) if quick else (1, 5, 21, 101, 401)
    source = SOURCES[0]._replace(layers=(8,))
    lines = []
    for name, expert in (
        ("static", "static"),
        ("loss-free, u = 0.001", "{kind: loss_free_bias, rate: 0.001}"),
        ("loss-free, u = 0.01", "{kind: loss_free_bias, rate: 0.01}"),
        ("bip, T = 4", "bip"),
        ("eplb, every 100 steps", "{kind: eplb, interval: 100}"),
    ):
        sets = (*source.sets(), f"dispatch.expert={expert}", f"workload.0.steps={steps[-1]}")
        row = run(source, name, load_one(NAME, *sets, variants=False))
        lines.append((name, *(f"{row.mean('max_over_mean', step - 1):.3f}" for step in steps)))
    table(" | ".join(["dispatcher", *(f"step {step}" for step in steps)]), lines)


def tasks() -> dict[str, NDArray[np.int64]]:
    """By task: [26, 64] tokens of DeepSeek-V2-Lite for each expert of each layer."""
    found = {}
    for task in ("intent", "law", "summary"):
        with (TRACES / f"deepseek_v2_lite_{task}_counts.csv").open(encoding="utf-8") as file:
            found[task] = np.array([row[1:] for row in list(csv.reader(file))[1:]], dtype=np.int64)
    return found


def placed(expected: NDArray[np.int64], seen: NDArray[np.int64], extra: int) -> float:
    """max/mean over 8 GPUs of the load ``seen`` [N], placed by EPLB for ``expected`` [N]; replicas share evenly."""
    expert = rebalance(expected.astype(np.float64), len(seen) + extra * GPUS, 1, 1, GPUS)
    share = (seen / np.bincount(expert, minlength=len(seen)))[expert]
    load = share.reshape(GPUS, -1).sum(axis=1)
    return float(load.max() / load.mean())


def shift_part(quick: bool) -> None:
    print("## EPLB placed for one task and used on another: max/mean over 8 GPUs, mean of 26 layers\n")
    print("DeepSeek-V2-Lite; counts of whole tasks, one replica slot a GPU; computed from the counts, not simulated.\n")
    counts = tasks()
    lines = []
    for used, seen in counts.items():
        native = np.mean([load.reshape(GPUS, -1).sum(axis=1).max() / load.sum() * GPUS for load in seen])
        cells = [
            f"{np.mean([placed(a, b, 1) for a, b in zip(expected, seen, strict=True)]):.3f}"
            for expected in counts.values()
        ]
        lines.append((used, f"{native:.3f}", *cells))
    table(" | ".join(["used on", "native", *(f"placed for {task}" for task in counts)]), lines)


def draw(rows: Sequence[Row]) -> None:
    """Above max/mean, below the layer's time over static's: first step open, last step filled."""
    from analysis.plots.style import colour, save, settings, sheet

    labels = ["first step", "last step", "last step, planner free"]
    sources = list(dict.fromkeys(row.source for row in rows))
    title = "Measured routing, 8 H200: balance and time of a layer by dispatcher"
    page = sheet(2, len(sources), (2.15, 2.0), title, labels, headed=True, sharex="col", bottom=1.15, gap=(0.5, 0.25))
    with settings():
        for column, source in enumerate(sources):
            mine = [row for row in rows if row.source == source]
            at = list(range(len(mine)))
            plain = next(row for row in mine if row.policy == "static").time_us(0)
            above, below = page.axes[0][column], page.axes[1][column]
            hue = [colour(0), colour(1)]
            above.plot(
                at, [row.mean("max_over_mean", 0) for row in mine], "o", mfc="none", color=hue[0], label=labels[0]
            )
            above.plot(at, [row.mean("max_over_mean", -1) for row in mine], "o", ms=4, color=hue[0], label=labels[1])
            free = [(row.time_us(-1) - row.mean("planner", -1) / 1e6) / plain for row in mine]
            below.axhline(1.0, color="#999999", lw=0.8)
            below.plot(at, [row.time_us(0) / plain for row in mine], "o", mfc="none", color=hue[0])
            below.plot(at, [row.time_us(-1) / plain for row in mine], "o", ms=4, color=hue[0])
            below.plot(at, free, "_", ms=9, mew=1.8, color=hue[1], label=labels[2])
            above.set_ylim(0.95)
            below.set_yscale("log")
            ticks = [0.5, 0.7, 1, 2, 4, 8]
            below.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            below.minorticks_off()
            above.set_title(source.label)
            below.set_xticks(at, [row.policy for row in mine], rotation=90)
        page.axes[0][0].set_ylabel("busiest GPU over mean")
        page.axes[1][0].set_ylabel("layer time over static")
    handles = [*page.axes[0, 0].get_legend_handles_labels()[0], *page.axes[1, 0].get_legend_handles_labels()[0]]
    page.legend(handles)
    save(page.figure, ROOT / "docs" / "figures" / "routing.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer measurements and steps, no figure")
    parser.add_argument("--only", choices=("table", "history", "shift"), help="one part")
    options = parser.parse_args()
    if options.only in (None, "table"):
        rows = table_part(options.quick)
        if not options.quick:
            draw(rows)
    if options.only in (None, "history"):
        history_part(options.quick)
    if options.only in (None, "shift"):
        shift_part(options.quick)


if __name__ == "__main__":
    main()
