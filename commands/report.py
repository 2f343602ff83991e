"""``report``: one HTML file of results, to explore and to pass on."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands import DONE

HELP = "write one HTML file of results, to explore and to pass on"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder, a sweep or a comparison")
    parser.add_argument("-o", "--out", metavar="FILE", default="report.html", help="the file (default: report.html)")
    parser.add_argument("--force", action="store_true", help="replace FILE even if it is no report")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def call(options: argparse.Namespace) -> int:
    from analysis.index import is_sweep
    from analysis.report import write_report

    results = Path(options.results)
    if is_sweep(results) and (results / "plan.json").exists():
        from sim.sweep import refresh_index

        refresh_index(results)
    path = write_report(results, options.out, force=options.force, quiet=options.quiet)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return DONE
