"""Figures against theory as Markdown: ``python benchmarks/validate.py [--quick] [--only PART]``.

The same computations as the tests of ``tests/validation``; misses are shown as such.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.report import table, verdict
from tests.validation import agreement, growth, queueing, theorem

POLICIES = ("ecmp", "wcmp", "static", "least_loaded", "ethereal", "subflows", "spray")


def theorem_part(quick: bool) -> None:
    print("## Ethereal loads links as spraying does\n")
    print("Fluid, 256 hosts, 16 leaves. Largest difference of bytes over a fabric link between `ethereal` and `spray`;")
    print("expected 0 where sizes are multiples of the pieces, else at most k bytes a batch that crosses the link.\n")
    cases = [theorem.direct(16, 125_000), theorem.direct(12, 120_000), theorem.direct(12, 100_000)]
    for spines, size in ((16, 4_096_000), (12, 3_072_000), (12, 1_000_000)):
        cases += theorem.halving_doubling(spines, size)
    rows = [(c.name, c.spines, c.size, c.difference, c.allowed, verdict(c.holds)) for c in cases]
    table("flows | spines | bytes a flow | difference B | allowed B | verdict", rows)
    random = theorem.random_cases(200)
    held = sum(case.holds for case in random)
    exact = sum(case.allowed == 0 for case in random)
    wrong = theorem.minimal(40)
    times = theorem.ring_times(POLICIES, *((4, 4) if quick else (16, 16)))
    spread = (max(times.values()) - min(times.values())) / min(times.values())
    direct = theorem.ecmp_ratio(theorem.all_to_all(256), 5 if quick else 30)
    shift = theorem.ecmp_ratio([(host, (host + 16) % 256) for host in range(256)], 200)
    rows = [
        ("random (flows, spines): as spray", f"{held} of 200 ({exact} exactly)", "200", verdict(held == 200)),
        ("k pieces a left-over not the least, flows and spines below 40", len(wrong), "0", verdict(not wrong)),
        (
            f"ECMP over spray, direct All2All ({len(direct)} seeds)", f"{direct.mean():.4f}", "1.19 +- 0.03",
            verdict(abs(direct.mean() - 1.19) <= 0.03),
        ),
        (
            "ECMP over spray, shift by 16 (200 seeds)", f"{shift.mean():.3f}", "4.5 +- 0.15",
            verdict(abs(shift.mean() - 4.5) <= 0.15),
        ),
        (
            f"ring all_gather, {16 if quick else 256} hosts, {len(times)} policies: spread of completion",
            f"{spread:.1e}", "at most 1e-9", verdict(spread <= 1e-9),
        ),
    ]  # fmt: skip
    table("figure | measured | expected | verdict", rows)
    print("ECMP ratio: largest bytes over leaf uplinks and spine downlinks, over the same under spray.\n")


def growth_part(quick: bool) -> None:
    lengths, permutations = (growth.LENGTHS[:4], 3) if quick else (growth.LENGTHS, 10)
    print("## Growth of queues with the message length\n")
    print("Packet engine, k = 8 fat-tree, `line_rate`, unlimited buffers, random derangements, all start at 0. Longest")
    print(
        f"output queue of a switch in packets of 4160 B, mean of {permutations} permutations, by packets a message.\n"
    )
    rows = []
    for expected in growth.EXPECTED:
        wanted, tolerance = expected.slope, expected.tolerance
        means = growth.queues(expected, lengths, permutations)
        slope = growth.slope(lengths, means)
        rows.append(
            (
                expected.policy, *(f"{mean / 4160:.1f}" for mean in means), f"{slope:.3f}",
                f"{wanted:g} +- {tolerance:g}", verdict(abs(slope - wanted) <= tolerance),
            )
        )  # fmt: skip
    table(f"policy | {' | '.join(map(str, lengths))} | slope | expected | verdict", rows)


def queueing_part(quick: bool) -> None:
    print("## Single queues\n")
    print(
        "Mean waiting before the first link (packet engine) and mean time less latency (fluid, websearch sizes), with"
    )
    print("99 % batch-means intervals. Holds if theory is inside and the half-width is at most the aim.\n")
    rows = []
    names = "queue | load | flows | theory us | measured us | difference | half-width | aim | verdict"
    for kind, load, flows, width in queueing.FULL:
        number, aim = (flows // 10, 3 * width) if quick else (flows, width)
        queue = queueing.run(kind, load, number)
        mean, half = queue.measured.value / 1e6, queue.measured.half_width / 1e6
        rows.append(
            (
                kind, load, f"{number:,}", f"{queue.theory / 1e6:.4f}", f"{mean:.4f} +- {half:.4f}",
                f"{100 * (queue.measured.value / queue.theory - 1):+.2f} %", f"{100 * queue.measured.relative:.2f} %",
                f"{100 * aim:g} %", verdict(queue.holds(aim)),
            )
        )  # fmt: skip
        print(kind, load, file=sys.stderr)
    table(names, rows)


def agreement_part(quick: bool) -> None:
    print("## Packets against fluid\n")
    print("Completion of a collective over 16 hosts (4 leaves, 4 spines), unlimited buffers, fluid at rate x payload /")
    print("(payload + header). `window` is two BDP. Expected within 2 % for spray and ethereal; ecmp is reported.")
    print("All2All is `direct`, the others are all_gather. ACKs take 64 / 4160 = 1.5 % of the links.\n")
    rows = []
    for algorithm in ("direct", "ring", "halving_doubling"):
        for policy in ("spray", "ethereal", "ecmp"):
            for transport in ("line_rate", "window"):
                for message in (4_000_000,) if quick else (4_000_000, 16_000_000):
                    found = agreement.compare(algorithm, policy, transport, message)
                    word = "reported" if policy == "ecmp" else verdict(abs(found.difference) <= 0.02)
                    rows.append(
                        (
                            algorithm, policy, transport, f"{message / 1e6:g}", f"{found.packets / 1e6:.1f}",
                            f"{found.fluid / 1e6:.1f}", f"{100 * found.difference:+.2f} %", word,
                        )
                    )  # fmt: skip
    table("algorithm | path | transport | message MB | packets us | fluid us | difference | verdict", rows)


def main() -> None:
    parts: dict[str, Callable[[bool], None]] = {
        "theorem": theorem_part,
        "growth": growth_part,
        "queues": queueing_part,
        "agreement": agreement_part,
    }
    parser = argparse.ArgumentParser(description="Figures against theory, as Markdown.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and wider intervals")
    parser.add_argument("--only", choices=sorted(parts), help="one part")
    options = parser.parse_args()
    print("# Validation\n")
    print("Made by `python benchmarks/validate.py`" + (" --quick" if options.quick else "") + ".\n")
    for name, part in parts.items():
        if options.only in (None, name):
            started = perf_counter()
            part(options.quick)
            print(f"{name}: {perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
