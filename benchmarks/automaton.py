"""How fast the learning automaton follows a load that moves: ``python benchmarks/automaton.py [--seeds 10]``.

Four hosts of one leaf send 60 Gb/s to four of another, over two spines with links of 100 Gb/s. A host at each spine
sends to the second leaf too, 80 Gb/s: for 10 ms the one at spine 0, then that at spine 1, then the first one again.
So one path has room for all, the other for a third. The share that takes the better path, by the bytes on the first
leaf's uplinks, is sampled every 50 us. Time to adapt: from a move until that share, over the 500 us that follow, is at
least 70 %; only of moves before which it was as high.
Prints a table and draws docs/figures/automaton.png.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import table

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "automaton.png"
POLICIES: dict[str, Any] = {
    "L_R-I, flows": {"kind": "stochastic_automaton", "rule": "reward_inaction"},
    "L_R-P, flows": {"kind": "stochastic_automaton", "rule": "reward_penalty"},
    "L_R-I, packets": {"kind": "stochastic_automaton", "rule": "reward_inaction", "gap": "0ns"},
    "L_R-P, packets": {"kind": "stochastic_automaton", "rule": "reward_penalty", "gap": "0ns"},
    "L_R-I, no floor": {"kind": "stochastic_automaton", "rule": "reward_inaction", "floor": 0},
    "conga": "conga",
    "random": "random",
}
PAIRS, LOAD, SIZE = 4, 60e9, 64_000  # pairs of hosts, bit/s of all, bytes a flow
OTHERS, BURST = 80e9, 125_000  # bit/s of a spine's host, bytes a flow
PHASE_MS, PHASES = 10, 3
STEP_US, SPAN = 50, 10  # between samples, samples in a mean
ENOUGH = 0.7


def scenario(policy: Any, seed: int) -> dict[str, Any]:
    """The scenario, as a file would hold it."""
    link = {"rate": "100Gbps", "delay": "1us"}
    cables = [{"src": f"leaf{leaf}", "dst": f"spine{spine}"} for leaf in range(2) for spine in range(2)]
    cables += [{"src": f"{side}{i}", "dst": f"leaf{leaf}"} for leaf, side in enumerate("ab") for i in range(PAIRS)]
    cables += [{"src": f"c{spine}", "dst": f"spine{spine}"} for spine in range(2)]
    gap = BURST * 8 / OTHERS * 1e9
    count = round(PHASE_MS * 1e6 / gap)
    rest = round(PHASE_MS * 1e6 - (count - 1) * gap)
    phase = [f"{rest}ns"] + [f"{round(gap)}ns"] * (count - 1)
    pause = f"{PHASE_MS * 10**6 + rest}ns"
    gaps = {0: [*phase, pause, *phase[1:]], 1: [pause, *phase[1:]]}
    return {
        "name": "automaton",
        "seed": seed,
        "fabric": {
            "topology": {"kind": "edges", "links": [cable | link for cable in cables]},
            "transport": {"kind": "dctcp"},
        },
        "dispatch": {"path": "spray", "packet": policy},
        "workload": [
            *(
                {
                    "kind": "flows", "arrivals": {"kind": "poisson", "rate": f"{LOAD / PAIRS / 8 / SIZE:.0f}/s"},
                    "sizes": {"kind": "constant", "size": f"{SIZE}B"},
                    "pairs": {"kind": "fixed", "src": f"a{i}", "dst": f"b{i}"}, "until": f"{PHASE_MS * PHASES}ms",
                }
                for i in range(PAIRS)
            ),
            *(
                {
                    "kind": "flows", "arrivals": {"kind": "gaps", "gaps": gaps[spine]},
                    "sizes": {"kind": "constant", "size": f"{BURST}B"},
                    "pairs": {"kind": "fixed", "src": f"c{spine}", "dst": "b0"},
                }
                for spine in range(2)
            ),
        ],
        "telemetry": {"interval": f"{STEP_US}us", "flow_times": False},
        "stop": {"time": f"{PHASE_MS * PHASES}ms"},
    }  # fmt: skip


class Outcome(NamedTuple):
    better: NDArray[np.float64]  # [samples] share of the better path, the mean of the last ones
    settled: list[float]  # that share in the second half of each phase
    adapted_us: list[float]  # from each move on; infinite: never; nan: it had not been on the better path before
    mean_us: float  # completion time of the flows between the leaves
    tail_us: float
    reordered: float  # share of data packets


def run(policy: Any, seed: int) -> Outcome:
    from sim.api import load
    from sim.api import run as run_scenario

    results = run_scenario(load(scenario(policy, seed)), quiet=True)
    series = results.frame("link_series").pivot_table(index="time_us", columns="link", values="utilisation")
    up = [series[f"leaf0->spine{spine}"].to_numpy() for spine in range(2)]
    phase = ((series.index.to_numpy() - 1) // (PHASE_MS * 1000)).astype(int)
    good = np.where(phase % 2 == 0, up[1], up[0])
    window = np.ones(SPAN)
    better = np.convolve(good, window)[: len(good)] / np.maximum(np.convolve(up[0] + up[1], window)[: len(good)], 1e-9)
    per = PHASE_MS * 1000 // STEP_US
    settled = [float(good[n * per + per // 2 : (n + 1) * per].sum() /
                     (up[0] + up[1])[n * per + per // 2 : (n + 1) * per].sum()) for n in range(PHASES)]  # fmt: skip
    adapted = []
    for number in range(1, PHASES):
        if better[number * per - 1] < ENOUGH:
            adapted.append(float("nan"))
            continue
        late = np.flatnonzero(better[number * per + SPAN - 1 : (number + 1) * per] >= ENOUGH)
        adapted.append(float(late[0]) * STEP_US if len(late) else float("inf"))
    flows = results.frame("flows", ["src", "fct_us", "reordered", "bytes"])
    flows = flows[flows["src"].str.startswith("a")].dropna(subset=["fct_us"])
    packets = np.ceil(flows["bytes"] / 4096).sum()
    return Outcome(
        better, settled, adapted, float(flows["fct_us"].mean()), float(flows["fct_us"].quantile(0.99)),
        float(flows["reordered"].sum() / packets),
    )  # fmt: skip


def draw(found: dict[str, list[Outcome]], target: Path) -> None:
    """Share of the better path over time, mean of the seeds."""
    from analysis.plots.style import line_style, save, settings

    with settings():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4), layout="constrained")
        axis = figure.subplots()
        for number, (name, outcomes) in enumerate(found.items()):
            mean = np.mean([one.better for one in outcomes], axis=0)
            axis.plot((np.arange(len(mean)) + 1) * STEP_US / 1000, 100 * mean, label=name, **line_style(number))
        for number in range(1, PHASES):
            axis.axvline(number * PHASE_MS, color="#777777", linewidth=0.8)
        axis.set(xlabel="time in ms (grey: the load moves to the other spine)", ylim=(0, 102), xlim=(0, None))
        axis.set_ylabel("bytes on the better path, %")
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        save(figure, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {}
    lines = []
    for name, policy in POLICIES.items():
        began = time.process_time()
        outcomes = found[name] = [run(policy, seed) for seed in range(1, options.seeds + 1)]
        took = time.process_time() - began
        times = np.array([one.adapted_us for one in outcomes])
        reached = times[np.isfinite(times)] / 1000
        shares = np.array([one.settled for one in outcomes])
        span = f"{np.median(reached):.2f} ({reached.min():.2f} to {reached.max():.2f})" if len(reached) else "-"
        lines.append((
            name, f"{shares.mean():.0%} ({shares.min():.0%} to {shares.max():.0%})",
            f"{len(reached)} of {np.sum(~np.isnan(times))}", span, f"{np.mean([one.mean_us for one in outcomes]):.1f}",
            f"{np.mean([one.tail_us for one in outcomes]):.0f}", f"{np.mean([one.reordered for one in outcomes]):.1%}",
            f"{took / options.seeds:.1f}",
        ))  # fmt: skip
    table(
        "policy | better path, settled | followed | time to adapt, ms | FCT mean us | p99 us | reordered | CPU s a run",
        lines,
    )
    draw(found, FIGURE)


if __name__ == "__main__":
    main()
