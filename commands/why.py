"""``why``: where the time went, of a run or of one flow, collective, layer or request; what became of a demand."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands import DONE

HELP = "tell where the time went: of a run, flow, collective, layer with experts, request; why a demand was refused"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_argument(
        "id", metavar="ID", nargs="?", help="12 or flow:12, collective:3, moe:STEP.LAYER, request:12, demand:ID"
    )
    parser.add_argument("--variant", metavar="NAME", help="the variant to look at, where there are several")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON, times in picoseconds")


def call(options: argparse.Namespace) -> int:
    from analysis.why import explain, text_of

    known = explain(Path(options.results), options.id, options.variant)
    if options.json:
        import json

        print(json.dumps(known, indent=2, ensure_ascii=False, allow_nan=False, default=_plain))
    else:
        print(text_of(known, options.results))
    return DONE


def _plain(value: object) -> object:
    """NumPy's numbers as Python's."""
    return value.item() if hasattr(value, "item") else str(value)
