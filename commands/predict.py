"""``predict``: what kernels and collectives of given shapes take."""

from __future__ import annotations

import argparse

from commands import DONE

HELP = "kernel and collective times of a CSV of shapes"
MODELS = "gemm|moe|attention|memory|collective|all_to_all"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar=MODELS)
    parser.add_argument("--hardware", required=True, metavar="NAME|FILE", help="a preset, or a file of calibrate")
    parser.add_argument("--input", required=True, metavar="CSV", help="shapes, in the columns of the measured tables")
    parser.add_argument("-o", "--output", metavar="CSV", help="default: stdout")


def call(options: argparse.Namespace) -> int:
    from analysis.predict import predict_file

    predict_file(options.model, options.hardware, options.input, options.output)
    return DONE
