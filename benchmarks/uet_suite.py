"""The validation suite of uet-htsim, ours beside theirs: ``python benchmarks/uet_suite.py > docs/uet_suite.md``.

Runs what ``benchmarks/uet/rows.jsonl`` lacks, keeps it there, and prints the page. ``--only TEXT``: the cases whose
name has it; ``--again``: also those that are kept; ``--kept``: run nothing; ``--write FOLDER``: write their scenarios
instead, to be run by hand.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import kept_rows
from benchmarks.report import table
from benchmarks.uet import found
from benchmarks.uet.cases import Case, cases
from benchmarks.uet.found import Found

HEAD = """# The validation suite of uet-htsim

[uet-htsim](https://github.com/ultraethernet/uet-htsim) is the packet simulator that the Ultra Ethernet Consortium
validates its transport with. Its repository has a suite of cases and the results that it gave (commit 40ccb05, August
2025). Here they are beside ours. `python benchmarks/uet_suite.py > docs/uet_suite.md` computes what
`benchmarks/uet/rows.jsonl` lacks and prints this page; `--write FOLDER` writes the cases as scenario files.

All cases: 100 Gbps and 1 us a link, 4150 B packets (4086 B payload), three-tier fat-trees of 16, 128 or 1024 hosts
(4:1 and 8:1: 32 leaves of 32 hosts, 8 or 4 spines), flows of 2 MB unless said otherwise, all at 0. A port holds 1 BDP
(43 packets; two tiers 29) and cuts what does not fit to its header; marks when a packet leaves, linear from 20 to 80 %
of the BDP; ports to hosts mark only without receiver credit. `nscc`: the sender's window; `credit`: the receiver's
grants; `both`. Entropies: 128 in permutations, else 64. An ACK after 16,384 B or an ACK a packet. Slow links: the first
links from core switches to the first aggregation switch run at 25 Gbps, with a quarter of the queue and marking
thresholds. What is compared is the end of the last flow (its last ACK at the sender), in us. Theirs is one run with one
seed; ours is the median of 5 seeds (least to most; the last column says where they are fewer), each with traffic,
hashes and marks of its own. Permutations on one path depend on how many flows collide: there the published value should
lie between the 5th and the 95th percentile of 50 seeds. The end of the first flow and the packets sent again are theirs
/ ours; CPU seconds are those of a run without load and build, of the machine as busy as it was.

The connection matrices are made here: random permutations (with 16 hosts every flow leaves its pod, since none of the
published ones is as fast as a flow that stays), and the pairs of the small cases, as in the files of csg-htsim. In
"3 to 1 with a long flow" the short flows start at 40 us: so, and not with a start at 0, both the published end of the
first flow (114 us) and the 80 packets sent again are met."""


def work(key: str) -> dict[str, Any]:
    """One run, by its key."""
    from benchmarks.uet.runs import run

    slug, seed = key.split("/")
    case = next(case for case in cases() if case.slug == slug)
    return run(case, int(seed))._asdict()


def row(one: Found) -> tuple[str, ...]:
    case, (low, high) = one.case, one.range
    word = {True: "yes", False: "**no**", None: "shown"}[one.holds]
    if case.kind == "range":
        word = f"{word} (range)"
    return (
        case.title, case.control, f"{case.tail:,.1f}", f"{one.tail:,.1f} ({low:,.1f} to {high:,.1f})",
        f"{one.deviation:+.1%}", word, f"{case.least:,.1f} / {_median(one, 'least'):,.1f}",
        f"{case.again:,} / {_median(one, 'again'):,.0f}", f"{_median(one, 'cpu'):.2f}", str(len(one.runs)),
    )  # fmt: skip


def _median(one: Found, key: str) -> float:
    return statistics.median(one.each(key).tolist())


def part(title: str, rows: list[Found]) -> None:
    print(f"## {title}\n")
    if not rows:
        print("None was run.\n")
        return
    banded = [one for one in rows if one.case.kind == "band"]
    missed = [one for one in rows if one.holds is False]
    if banded:
        worst = found.largest(rows)
        print(f"{len(rows)} rows, {len(missed)} do not hold. Deviations of the {len(banded)} that are held to a band: "
              f"median {found.median_deviation(rows):.1%} (aim: {found.MEDIAN:.0%}), largest {worst.deviation:+.1%} "
              f"({worst.case.title}, {worst.case.control}; aim: {found.BAND:.0%}).\n")  # fmt: skip
    table("case | control | published | ours | deviation | holds | first flow | sent again | CPU s | seeds",
          [row(one) for one in rows])  # fmt: skip


def explain(rows: list[Found]) -> None:
    """Every deviation above 5 %, with its reason."""
    why = found.reasons()
    off = [one for one in rows if one.holds is False or (one.case.kind != "range" and abs(one.deviation) > found.NEAR)]
    print("## Why\n")
    if not off:
        print(f"No row is off by more than {found.NEAR:.0%}.\n")
        return
    table("case | control | deviation | reason",
          [(one.case.title, one.case.control, f"{one.deviation:+.1%}", why.get(one.case.slug, "not known"))
           for one in off])  # fmt: skip


def order(rows: list[Found]) -> None:
    pairs = found.orders(rows)
    print("## Order of the load balancers\n")
    agree = sum(same for *_, same in pairs)
    print("Pairs of equal settings (control, ACKs, queue, slow links) whose published tails differ by more than 5 %: "
          f"ours have the same order in {agree} of {len(pairs)}.\n")  # fmt: skip
    table("control | better | worse | published | ours | same order",
          [(one.case.control, one.case.title, other.case.title, f"{one.case.tail:.1f} < {other.case.tail:.1f}",
            f"{one.tail:.1f}, {other.tail:.1f}", "yes" if same else "**no**")
           for one, other, same in pairs])  # fmt: skip


def compute(wanted: list[Case], again: bool, workers: int) -> None:
    turns = sorted((seed, case.slug) for case in wanted for seed in found.seeds(case))  # all cases with seed 1 first
    keys = [f"{slug}/{seed}" for seed, slug in turns]
    if again and found.ROWS.exists():
        kept = [line for line in found.ROWS.read_text(encoding="utf-8").splitlines(keepends=True)
                if not any(f'"case": "{key}"' in line for key in keys)]  # fmt: skip
        found.ROWS.write_text("".join(kept), encoding="utf-8")
    kept_rows.compute(found.ROWS, work, keys, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name (as of its file) has this")
    parser.add_argument("--again", action="store_true", help="run them anew")
    parser.add_argument("--kept", action="store_true", help="run nothing, print what is kept")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write their scenarios (seed 1) and run nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args()
    wanted = [case for case in cases() if options.only in case.slug]
    if options.write:
        from benchmarks.uet.scenario import write

        options.write.mkdir(parents=True, exist_ok=True)
        for case in wanted:
            print(write(case, 1, options.write))
        return
    if not options.kept:
        compute(wanted, options.again, options.workers)
    names = {case.slug for case in wanted}
    rows = [one for one in found.found() if one.case.slug in names]
    print(HEAD + "\n")
    part("Listed rows", [one for one in rows if one.case.listed])
    part("Further rows of the suite", [one for one in rows if not one.case.listed])
    explain(rows)
    order(rows)


if __name__ == "__main__":
    main()
