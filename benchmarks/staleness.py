"""The staleness map: p99 TTFT over the age of telemetry and the number of routers, for five policies.

``python benchmarks/staleness.py [--quick] [--out FOLDER] > docs/staleness.md`` sweeps
``scenarios/serving_staleness.yaml`` (finished cells of FOLDER are not run again), prints the page and draws
``docs/figures/staleness.png``. Every cell has the same arrivals. An interval of T between two reports means that what
a router knows is T/2 old on average.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SCENARIO = ROOT / "scenarios" / "serving_staleness.yaml"
POLICIES = ("round_robin", "least_requests", "least_tokens", "power_of_two", "kv_cost")
INTERVALS = ("0s", "100ms", "300ms", "1s", "3s", "10s")
ROUTERS = (1, 4, 16)
KIND, INTERVAL, COPIES = "dispatch.request.kind", "dispatch.request.telemetry.interval", "dispatch.request.routers"
FIGURE = "requests.ttft_ms.p99"
SEEDS = 3


def sweep(quick: bool, out: Path | None) -> pd.DataFrame:
    """A row a policy, interval and number of routers: the mean over seeds of the p99 TTFT in ms."""
    from sim import api
    from sim.scenario.load import Text

    # the base without its variants: each cell is one of them
    text = SCENARIO.read_text().split("variants:")[0]
    axes = {KIND: list(POLICIES), INTERVAL: list(INTERVALS), COPIES: list(ROUTERS)}
    case = api.load(text, {"workload.0.count": 1000} if quick else {})
    assert isinstance(case.source, (str, Path, Text))
    found = api.sweep(case, axes, seeds=1 if quick else SEEDS, workers=2, out=out, quiet=False)
    found = found.groupby([KIND, INTERVAL, COPIES], as_index=False)[FIGURE].mean()
    found[INTERVAL] = found[INTERVAL].map(dict(zip(sorted(found[INTERVAL].unique()), INTERVALS, strict=True)))
    return found


def page(found: pd.DataFrame) -> str:
    lines = [
        "# Stale telemetry",
        "",
        "Made by `python benchmarks/staleness.py > docs/staleness.md`. Sixteen replicas of llama-3.1-8b on A100s, 100",
        "requests a second with the lengths of the Azure conversation trace (`scenarios/serving_staleness.yaml`).",
        "Replicas report their load every interval; each copy of the router also counts what it has sent since. Mean",
        f"of the p99 TTFT over {SEEDS} seeds, in ms.",
        "",
        "![p99 TTFT over the interval of reports](figures/staleness.png)",
        "",
    ]
    for copies in ROUTERS:
        lines += [f"## {copies} {'copy' if copies == 1 else 'copies'} of the router", ""]
        lines += ["| policy | " + " | ".join(INTERVALS) + " |", "|---|" + "---:|" * len(INTERVALS)]
        for policy in POLICIES:
            values = [_value(found, policy, interval, copies) for interval in INTERVALS]
            lines.append(f"| {policy} | " + " | ".join(f"{value:,.0f}" for value in values) + " |")
        lines.append("")
    return "\n".join([*lines, "## What it says", "", *verdict(found)])


def _value(found: pd.DataFrame, policy: str, interval: str, copies: int) -> float:
    row = found[(found[KIND] == policy) & (found[INTERVAL] == interval) & (found[COPIES] == copies)]
    return float(row[FIGURE].iloc[0])


def verdict(found: pd.DataFrame) -> list[str]:
    """How much worse than with fresh loads, by policy, with most copies."""
    most = ROUTERS[-1]
    lines = [
        "A single copy that counts its own decisions and hears of every end loses little by old reports. Several",
        "copies that see the same report send to the same replicas until the next one: the herd. p99 TTFT with",
        f"reports every 3 s and {most} copies, over that with fresh loads:",
        "",
    ]
    for policy in POLICIES:
        ratio = _value(found, policy, "3s", most) / _value(found, policy, "0s", most)
        lines.append(f"- `{policy}`: {ratio:.1f} times")
    return [
        *lines,
        "",
        "`round_robin` needs no load, but its copies do not know of each other. `kv_cost` herds as `least_requests`",
        "does.",
    ]


def draw(found: pd.DataFrame, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(ROUTERS), figsize=(11, 3.6), sharey=True, layout="constrained")
    for ax, copies in zip(axes, ROUTERS, strict=True):
        for policy in POLICIES:
            values = [_value(found, policy, interval, copies) / 1e3 for interval in INTERVALS]
            ax.plot(range(len(INTERVALS)), values, marker="o", ms=4, label=policy)
        ax.set_xticks(range(len(INTERVALS)), INTERVALS)
        ax.set_title(f"{copies} {'copy' if copies == 1 else 'copies'} of the router", fontsize=10)
        ax.set_xlabel("interval of load reports")
        ax.set_yscale("log")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("p99 TTFT (s)")
    axes[-1].legend(fontsize=8)
    fig.savefig(target, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="1,000 requests, one seed; draw nothing")
    parser.add_argument("--out", type=Path, help="folder that keeps the runs")
    options = parser.parse_args()
    found = sweep(options.quick, options.out)
    if not options.quick:
        draw(found, ROOT / "docs" / "figures" / "staleness.png")
    print(page(found))


if __name__ == "__main__":
    main()
