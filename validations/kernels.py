"""Kernel times of the calibrated models against measured rows that their fits had not seen."""

from __future__ import annotations

from validations import _held_out
from validations._row import Found

TITLE = "Kernels: GEMM, attention, experts"
KIND = "measured"
SOURCE = "the measured tables in `models/measured` (sources and licences in its notices), rows held out of the fit"
ABOUT = """\
Each line is a GPU: the median (and the 90th percentile) of |predicted / measured - 1| over rows that the fit had not
seen, 15 % of the shapes drawn at random, or a whole block: the largest quarter of the sizes, a family of shapes.
Aims: 2.5 % and 9 % at random, 12 % in the median for a block. [Calibration](calibration.md) says how the fits are
made and sets them beside a roofline and an interpolation, by size.
"""
AIMS = {"random": (0.025, 0.09), "block": (0.12, None)}  # median, 90th percentile
FIGURES = ("calibration_gemm.png", "calibration_attention.png", "calibration_moe.png")


def run(quick: bool) -> Found:
    return Found(_held_out.rows(("gemm", "attention", "moe")[: 1 if quick else 3], AIMS))
