"""``timeline``: a run as a trace for Perfetto or chrome://tracing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from commands import DONE

HELP = "write a run as a trace for Perfetto or chrome://tracing"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="trace.json, or trace.json.gz")
    parser.add_argument("--variant", metavar="NAME", help="the variant to show, where there are several")
    parser.add_argument("--from", metavar="TIME", dest="begin", help="leave out what ended before (10us)")
    parser.add_argument("--to", metavar="TIME", dest="end", help="leave out what started later (2ms)")
    parser.add_argument("--limit", metavar="N", default="200000", help="events to write at most (default: 200000)")
    parser.add_argument("--links", metavar="N", default="16", help="links to show, the most used first (default: 16)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def call(options: argparse.Namespace) -> int:
    from analysis.load import load
    from analysis.timeline import FOREVER, Window, write_timeline
    from models.errors import InputError, Problem
    from models.units import parse

    problems: list[Problem] = []

    def time(name: str, text: str | None, default: int) -> int:
        try:
            return default if text is None else parse(text, "time")
        except ValueError as error:
            problems.append(Problem(name, 0, 0, str(error)))
            return default

    def number(name: str, text: str) -> int:
        if not text.isascii() or not text.isdigit():
            problems.append(Problem(name, 0, 0, f"'{text}' is not a whole number"))
            return 0
        return int(text)

    window = Window(time("--from", options.begin, 0), time("--to", options.end, FOREVER))
    limit, links = number("--limit", options.limit), number("--links", options.links)
    out = Path(options.output)
    if options.limit == "0":
        problems.append(Problem("--limit", 0, 0, "a trace without events shows nothing"))
    if not problems and window.begin >= window.end:
        problems.append(Problem("--to", 0, 0, f"{options.end} does not come after --from"))
    if not out.name.endswith((".json", ".json.gz")):
        problems.append(Problem("-o", 0, 0, f"'{out}' does not end in .json or .json.gz"))
    elif not out.parent.is_dir():
        problems.append(Problem("-o", 0, 0, f"there is no folder '{out.parent}'"))
    if problems:
        raise InputError(problems)
    written = write_timeline(load(options.results).choose(options.variant), out, window, limit, links, options.quiet)
    said = ", ".join(f"{count} {kind}" for kind, count in written.events.items()) or "nothing: the window is empty"
    print(f"{out}: {said}")
    if written.left_out:
        said = ", ".join(f"{count} {kind}" for kind, count in written.left_out.items())
        reached = f"the trace ends at {written.until / 1e6:g} us"
        print(f"left out beyond {limit} events: {said}; {reached} (--from, --to, --limit)", file=sys.stderr)
    return DONE
