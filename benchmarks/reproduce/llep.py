"""Least-loaded expert parallelism as in its paper; whole models: ``python benchmarks/reproduce/llep.py [--quick]``.

Source: arXiv 2601.17111, figures 1c, 4, 6b, 7a, 7b (vector figures, exact to about 0.5 %). One configuration,
``scenarios/llep.yaml``; the two pass counts of ``models/moe_layer.py`` and the planner's cost were fitted to the 26
speed-ups of figure 4 at once, nothing to any single one, and to none of the other figures. What the paper's layers
give here stands on the validation page: ``python -m validations llep``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.moe_runs import Result, load_one, run_loaded
from benchmarks.report import table

TOKENS = {"gpt-oss-120b": 32_768, "deepseek-v3": 16_384}
SKEWS = ("30:16", "30:4", "30:1", "50:16", "50:4", "50:1", "80:16", "80:4", "80:1", "95:16", "95:4", "95:1", "balanced")
SPEEDUP = {
    "gpt-oss-120b": (1.73, 2.09, 2.41, 2.85, 3.05, 3.48, 4.37, 4.47, 5.26, 5.19, 5.22, 6.11, 1.07),
    "deepseek-v3": (1.69, 1.76, 1.96, 2.65, 2.83, 2.77, 3.83, 3.64, 4.23, 4.59, 4.64, 5.13, 0.92),
}
# GiB, (EP, LLEP)
PEAK = {
    "gpt-oss-120b": (
        (24.49, 13.13), (28.30, 12.15), (29.13, 11.57), (35.74, 14.82), (38.46, 12.91), (39.07, 12.49), (52.63, 14.82),
        (53.72, 14.05), (53.95, 13.89), (61.07, 14.82), (61.34, 14.65), (61.38, 14.61), (14.64, 11.47),
    ),
    "deepseek-v3": (
        (47.35, 32.50), (49.49, 32.50), (50.03, 32.33), (60.40, 32.58), (61.94, 32.50), (62.32, 32.33), (80.04, 32.58),
        (80.64, 32.50), (80.81, 32.47), (89.86, 33.38), (89.98, 33.53), (90.06, 33.15), (32.03, 32.25),
    ),
}  # fmt: skip
MEMORY_BOUND = {"gpt-oss-120b": 0.15, "deepseek-v3": 0.10}  # of LLEP's peak
SHARES = (0.3, 0.5, 0.8, 0.95)  # of the ablations, on 4 hot experts
ALPHA = {
    1.0: (1.75, 2.57, 3.66, 4.19),
    1.5: (1.56, 2.16, 3.10, 3.51),
    2.0: (1.28, 1.83, 2.71, 3.09),
    2.5: (1.10, 1.58, 2.29, 2.67),
    3.0: (0.98, 1.38, 1.99, 2.32),
}
THRESHOLDS = (1.1, 1.4, 1.7, 2.0, 2.3, 2.6)
THRESHOLD = {
    0.15: (0.70, 0.69, 0.70, 1.06, 1.07, 1.07),
    0.20: (0.73, 0.74, 0.74, 0.73, 1.04, 1.04),
    0.30: (0.89, 0.88, 0.90, 0.88, 0.89, 0.90),
    0.50: (1.21, 1.22, 1.21, 1.21, 1.21, 1.22),
}
HIDDEN = {
    512: (0.80, 1.06, 1.47, 1.67),
    1024: (1.21, 1.70, 2.36, 2.69),
    2048: (1.71, 2.43, 3.54, 4.03),
    4096: (2.24, 3.36, 4.93, 5.73),
}
FULL = {("gpt-oss-20b", 8): 1.4, ("gpt-oss-20b", 16): 1.5, ("gpt-oss-20b", 32): 2.2,
        ("gpt-oss-120b", 8): 1.1, ("gpt-oss-120b", 16): 1.3, ("gpt-oss-120b", 32): 1.9}  # fmt: skip


def routing(skew: str) -> str:
    """The scenario's words for a skew of the paper: share of the tokens in %, hot experts."""
    if skew == "balanced":
        return "balanced"
    share, hot = skew.split(":")
    return f"{{kind: hot, share: {int(share) / 100}, experts: {hot}}}"


def run(expert: str, model: str, tokens: int, skew: str, *sets: str) -> Result:
    """One run of the scenario; ``expert`` is the dispatcher, or a mapping with its parameters."""
    buffers = "all" if expert == "static" else "batch"
    given = (f"workload.0.model={model}", f"workload.0.tokens_per_gpu={tokens}", f"workload.0.routing={routing(skew)}")
    memory = f"workload.0.memory={{experts: all, buffers: {buffers}}}"
    return run_loaded(load_one("llep", *given, memory, f"dispatch.expert={expert}", *sets, variants=False))


def shape(hidden: int) -> str:
    """The model of the ablations: 128 experts, top 4, both dimensions alike."""
    return f"{{hidden: {hidden}, expert_inner: {hidden}, experts: 128, top_k: 4}}"


def speedup(model: str, tokens: int, skew: str, parameters: str = "") -> float:
    """Time of plain expert parallelism over least-loaded."""
    policy = f"{{kind: least_loaded, {parameters}}}" if parameters else "least_loaded"
    plain, moved = run("static", model, tokens, skew), run(policy, model, tokens, skew)
    return plain.time_us / moved.time_us


def figure_4(skews: Sequence[str] = SKEWS) -> list[tuple[str, str, float, float, float, float, float, float]]:
    """(model, skew, our speed-up, published, our EP peak in GiB, published, our LLEP peak, published)."""
    rows = []
    for model, tokens in TOKENS.items():
        for skew, published, (ep, llep) in zip(SKEWS, SPEEDUP[model], PEAK[model], strict=True):
            if skew in skews:
                plain, moved = run("static", model, tokens, skew), run("least_loaded", model, tokens, skew)
                peaks = (plain.peak / 2**30, ep, moved.peak / 2**30, llep)
                rows.append((model, skew, plain.time_us / moved.time_us, published, *peaks))
    return rows


def ablations(shares: Sequence[float] = SHARES) -> Iterator[tuple[str, str, float, float]]:
    """(figure, case, published, ours) of figures 6b, 7a and 7b: 4 hot experts of 128, top 4.

    The paper gives neither dimensions nor tokens for 6b and 7a; 2,048 with 32,768 tokens (8,192 in 7a) fit.
    """
    for alpha, published in ALPHA.items():
        for share, paper in zip(SHARES, published, strict=True):
            if share in shares:
                ours = speedup(shape(2048), 32_768, _four(share), f"alpha: {alpha}")
                yield "6b", f"alpha {alpha}, {share:.0%} hot", paper, ours
    for share, published in THRESHOLD.items():
        for threshold, paper in zip(THRESHOLDS, published, strict=True):
            if shares == SHARES:
                ours = speedup(shape(2048), 8192, _four(share), f"threshold: {threshold}")
                yield "7a", f"lambda {threshold}, {share:.0%} hot", paper, ours
    for hidden, published in HIDDEN.items():
        for share, paper in zip(SHARES, published, strict=True):
            if share in shares:
                ours = speedup(shape(hidden), 32_768, _four(share))
                yield "7b", f"D = H = {hidden}, {share:.0%} hot", paper, ours


def _four(share: float) -> str:
    """The skew of four hot experts with this share of the tokens."""
    return f"{round(100 * share)}:4"


def full_part(quick: bool) -> None:
    print("## Figure 1c: whole models on 8, 16, 32 GPUs\n")
    print("The paper runs recorded mathematics prompts, which are not published; here the popularity of the experts is")
    print("log-normal with sigma 1, so that the trend can be compared and the values can't.\n")
    lines = []
    for (model, gpus), paper in FULL.items():
        nodes = gpus // 8
        fabric = f"fabric.topology={{kind: rail, nodes: {nodes}, gpus_per_node: 8, spines: 8}}"
        layers = 4 if quick else "all"  # a part of the layers has the same speed-up
        given = (
            fabric, f"workload.0.layers={layers}", "workload.0.scope=model",
            "workload.0.routing={kind: log_normal, sigma: 1.0}",
        )  # fmt: skip
        times = []
        for expert in ("static", "least_loaded"):
            names = (f"workload.0.model={model}", "workload.0.tokens_per_gpu=32768", f"dispatch.expert={expert}")
            times.append(run_loaded(load_one("llep", *names, *given, variants=False)).makespan_us())
        ours = times[0] / times[1]
        rate = [f"{32_768 * gpus / time * 1e3:.0f}" for time in times]
        lines.append((model, gpus, *rate, f"{paper:.1f}", f"{ours:.2f}"))
    table("model | GPUs | EP, K tokens/s | LLEP, K tokens/s | speed-up, paper | ours", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="four layers of each model")
    full_part(parser.parse_args().quick)


if __name__ == "__main__":
    main()
