"""Two levels of All2All against one, beside SMILE's paper: ``python benchmarks/reproduce/smile.py [--quick]``.

Source: He et al., arXiv 2212.05191: 2.5 x the training throughput of Switch Transformer with 3.7 billion parameters, on
16 nodes of 8 A100. Frozen configuration: ``scenarios/smile.yaml``. Messages cost what EFA's do, by size (UCCL, see
``models/comms/message_profiles.json``); nothing is fitted to the paper. ``efa_size_only`` leaves the loss across rails
to the simulated fabric, which has none; ``efa`` takes the measured one, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from ruamel.yaml import YAML

from benchmarks.moe_runs import ROOT, Result, load_one, run_loaded
from benchmarks.report import table, verdict

NODES = (1, 2, 4, 8, 16, 32)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # MB that a GPU sends in all
PROFILES = {"efa_size_only": "bandwidth by size alone", "efa": "and the measured loss across rails"}
POLICIES = ("direct", "bilevel")
PUBLISHED = 2.5
TOKENS = (512, 1024, 2048, 4096, 8192, 16_384)  # of a layer on a GPU; 1536 bytes each
SCENARIO = ROOT / "scenarios" / "smile.yaml"
GPUS, NIC_SHARE = 8, 6.25e9  # of a node; bytes/s of NIC that a GPU has


class Exchange(NamedTuple):
    """One All2All. Bytes and messages of one GPU, means over all."""

    us: float
    messages: float  # to other nodes
    nic: float  # payload to other nodes
    overhead: float  # link time of those messages beyond their payload, in bytes
    inside: float  # payload to GPUs of its node

    @property
    def overhead_share(self) -> float:
        """Of the NIC's time."""
        return self.overhead / (self.nic + self.overhead) if self.nic else 0.0


@cache
def all_to_all(nodes: int, megabytes: float, policy: str, profile: str) -> Exchange:
    """One collective on its own, read from the tables of its flows."""
    sets = (f"fabric.topology.nodes={nodes}", f"workload.0.size={megabytes:g}MB", f"workload.0.messages={profile}")
    world = run_loaded(load_one("smile", *sets, f"dispatch.collective={policy}", variants=False)).world
    ends = np.array([(flow.src // GPUS, flow.dst // GPUS, flow.bytes) for flow in world.flows.flow])
    extra, away = np.array(world.flows.overhead), ends[:, 0] != ends[:, 1]
    payload, each = ends[:, 2] - extra, nodes * GPUS
    return Exchange(
        world.collectives.rows[0].time / 1e6,
        away.sum() / each,
        payload[away].sum() / each,
        extra[away].sum() / each,
        payload[~away].sum() / each,
    )


def gains(nodes: tuple[int, ...], sizes: tuple[int, ...], profile: str) -> np.ndarray:
    """[nodes, sizes] time of one level over that of two."""
    found = [[all_to_all(n, size, "direct", profile).us / all_to_all(n, size, "bilevel", profile).us for size in sizes]
             for n in nodes]  # fmt: skip
    return np.array(found)


def layer(variant: str, tokens: int, *sets: str) -> Result:
    """One layer of the paper's model as a variant of the scenario has it (``switch`` or ``smile``)."""
    changes = YAML(typ="safe").load(SCENARIO.read_text())["variants"][variant]
    given = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return run_loaded(load_one("smile", *given, f"workload.0.tokens_per_gpu={tokens}", *sets, variants=False))


def map_part(quick: bool) -> dict[str, np.ndarray]:
    nodes, sizes = ((2, 16), (1, 16, 256)) if quick else (NODES, SIZES)
    maps = {}
    for profile, words in PROFILES.items():
        found = maps[profile] = gains(nodes, sizes, profile)
        print(f"## Gain of two levels, time of `direct` over time of `bilevel`: EFA, {words} (`{profile}`)\n")
        rows = [(f"{n} x 8", *(f"{gain:.2f}" for gain in line)) for n, line in zip(nodes, found, strict=True)]
        table("nodes | " + " | ".join(f"{size} MB" for size in sizes), rows)
        if profile == "efa_size_only":
            at_16 = found[nodes.index(16)]
            print(f"16 nodes: most {at_16.max():.2f} (at least 2: {verdict(at_16.max() >= 2)}), ", end="")
            print(f"least {at_16.min():.2f} (below 1: {verdict(at_16.min() < 1)}).\n")
    return maps


def reason_part(quick: bool) -> dict[tuple[int, str], Exchange]:
    print("## Why: what one of 128 GPUs sends (16 nodes, `efa_size_only`)\n")
    rows, found = [], {}
    for size in (1, 256) if quick else (1, 4, 16, 64, 256):
        for policy in POLICIES:
            one = found[size, policy] = all_to_all(16, size, policy, "efa_size_only")
            rows.append(
                (f"{size} MB", policy, f"{one.messages:.0f}", f"{one.nic / one.messages / 1e3:,.0f} kB",
                 f"{one.nic / 1e6:.2f} MB", f"{one.overhead_share:.0%}", f"{one.inside / 1e6:.2f} MB",
                 1 if policy == "direct" else 2, f"{one.us:,.0f}")
            )  # fmt: skip
    table(
        "a GPU sends | All2All | messages to other nodes | of | over the NIC | NIC time that is overhead | "
        "over NVLink | launches | us",
        rows,
    )
    return found


def layer_part(quick: bool) -> dict[str, list[float]]:
    print("## A layer of the 3.7B model, 16 nodes: Switch Transformer's flat routing and All2All over SMILE's\n")
    curves: dict[str, list[float]] = {}
    rows = []
    for profile in PROFILES:
        curves[profile] = []
        for tokens in (512, 16_384) if quick else TOKENS:
            one, two = (layer(variant, tokens, f"workload.0.messages={profile}") for variant in ("switch", "smile"))
            gain = one.time_us / two.time_us
            curves[profile].append(gain)
            sent = tokens * 768 * 2 / 1e6
            share = (one.mean_us("dispatch") + one.mean_us("combine")) / one.time_us
            rows.append(
                (profile, f"{tokens:,}", f"{sent:.1f} MB", f"{one.time_us / 1e3:.2f}", f"{share:.0%}",
                 f"{two.time_us / 1e3:.2f}", f"{gain:.2f}", PUBLISHED)
            )  # fmt: skip
    table(
        "messages | tokens a GPU | V | flat, ms | of it All2All | SMILE, ms | layer speed-up | paper, training "
        "throughput",
        rows,
    )
    return curves


def draw(maps: dict[str, np.ndarray], reasons: dict[tuple[int, str], Exchange], curves: dict[str, list[float]]) -> None:
    """Above: the two maps. Below: what the time of an All2All is, and the speed-up of a layer."""
    from matplotlib.colors import TwoSlopeNorm

    from analysis.plots.style import colour, save, settings, sheet

    title = "One level of All2All over two, 8 A100 and 4 x 100 Gb/s EFA a node; red: two levels lose"
    page = sheet(2, 2, (4.5, 2.6), title, headed=True, gap=(0.75, 0.85), left=0.8, bottom=0.6)
    with settings():
        for axis, (profile, words) in zip(page.axes[0], PROFILES.items(), strict=True):
            _map(axis, maps[profile], TwoSlopeNorm(0, -0.5, 2.2))
            axis.set_title(f"time of flat / time of bi-level: EFA, {words}", fontsize=9)
        page.axes[0][0].set_ylabel("nodes")
        _bars(page.axes[1][0], reasons)
        axis = page.axes[1][1]
        sent = [tokens * 1.536e-3 for tokens in TOKENS]
        for number, (profile, words) in enumerate(PROFILES.items()):
            axis.plot(sent, curves[profile], "o-", color=colour(number), label=words)
        axis.axhline(PUBLISHED, color="black", linestyle="--", label="paper: training throughput, size not known")
        axis.axhline(1, color="#999999", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xticks(sent, [f"{value:.3g}" for value in sent])
        axis.set_ylim(0, None)
        axis.set_xlabel("V = tokens x hidden x 2 B, MB a GPU")
        axis.set_ylabel("speed-up")
        axis.set_title("SMILE's MoE layer over Switch's, 16 nodes", fontsize=9)
        axis.legend(loc="lower left", fontsize=8)
    save(page.figure, ROOT / "docs" / "figures" / "smile.png")


def _map(axis: Any, gain: np.ndarray, norm: Any) -> None:
    axis.grid(False)
    axis.imshow(np.log2(gain), cmap="RdBu", norm=norm, origin="lower", aspect="auto")
    for row, line in enumerate(gain):
        for column, value in enumerate(line):
            lost = value < 0.995
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8,
                      color="white" if value > 2.7 else "black",
                      weight="bold" if lost else "normal")  # fmt: skip
    axis.set_xticks(range(len(SIZES)), SIZES)
    axis.set_yticks(range(len(NODES)), NODES)
    axis.set_xlabel("V, MB a GPU")


def _bars(axis: Any, reasons: dict[tuple[int, str], Exchange]) -> None:
    """Time over that of the payload on the NIC: payload, messages' overhead, the rest (launches, NVLink, delays)."""
    from analysis.plots.style import colour

    names = []
    for place, ((size, policy), one) in enumerate(reasons.items()):
        ideal = one.nic / NIC_SHARE * 1e6
        parts = (1.0, one.overhead / one.nic, one.us / ideal - 1 - one.overhead / one.nic)
        start = 0.0
        for number, (part, word) in enumerate(zip(parts, ("payload", "messages", "launches and NVLink"), strict=True)):
            axis.bar(place + place // 2 * 0.5, part, bottom=start, color=colour(number), label="" if place else word)
            start += part
        names.append(("flat\n" if policy == "direct" else "bi-level\n") + (f"{size} MB" if place % 2 == 0 else ""))
    axis.set_xticks([place + place // 2 * 0.5 for place in range(len(names))], names, fontsize=7)
    axis.set_ylabel("time / payload on the NIC")
    axis.set_title("where the time goes, 16 nodes, bandwidth by size alone", fontsize=9)
    axis.legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer points, no figure")
    quick = parser.parse_args().quick
    maps, reasons, curves = map_part(quick), reason_part(quick), layer_part(quick)
    if not quick:
        draw(maps, reasons, curves)


if __name__ == "__main__":
    main()
