"""Times of collectives and of expert All2All from the calibrated laws against rows that their fits had not seen."""

from __future__ import annotations

from validations import _held_out
from validations._row import Found

TITLE = "Communication laws: NCCL, DeepEP, TensorRT-LLM"
KIND = "measured"
SOURCE = "the measured tables in `models/measured` (sources and licences in its notices), rows held out of the fit"
ABOUT = """\
What `predict collective` and `predict all_to_all` answer without a simulation: median and 90th percentile of the
error over rows that the fit had not seen. Aims: 8 % and 25 % at random, 12 % in the median for a block. What misses:
the L40S, whose GPUs talk over PCIe and the host; the RTX PRO 6000, whose PCIe was measured on two dates, 1.9 times
faster on the second, so that one answer misses both; DeepEP's normal kernels on eight nodes, which take three times
their four-node time for no reason that a wire would give; and fits that lack a length or a number of GPUs that nothing
else tells. [Calibration](calibration.md#communication) has the errors by size, beside an alpha-beta law and an
interpolation.
"""
AIMS = {"random": (0.08, 0.25), "block": (0.12, None)}  # median, 90th percentile
FIGURES = ("calibration_collective.png", "calibration_all_to_all.png", "calibration_point_to_point.png")


def run(quick: bool) -> Found:
    kinds = ("collective", "all_to_all", "point_to_point")
    return Found(_held_out.rows(kinds[: 1 if quick else 3], AIMS))
