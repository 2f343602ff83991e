"""``calibrate``: a cost model fitted to own measurements."""

from __future__ import annotations

import argparse

from commands import DONE
from commands.predict import MODELS

HELP = "fit a cost model to measurements"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar=MODELS)
    parser.add_argument("--input", required=True, metavar="CSV", help="measured rows, or a raw nccl-tests log")
    parser.add_argument("-o", "--output", required=True, metavar="FITTED", help="what predict --hardware takes")
    parser.add_argument("--system", metavar="NAME", help="the GPU: picks its rows, or names rows without a name")


def call(options: argparse.Namespace) -> int:
    from analysis.calibrate.common import calibrate_file

    print(calibrate_file(options.model, options.input, options.output, options.system))
    return DONE
