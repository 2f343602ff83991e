"""Samples of the ranges of a sweep: Latin hypercube (McKay, Beckman and Conover 1979) or scrambled Sobol (Owen 1998).

Drawn by scipy.stats.qmc from a stream of the scenario's seed: the same seed gives the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from models.errors import InputError, Problem
from sim.rng import Streams
from sim.sweep.axes import Axis, Value

_METHODS = ("lhs", "sobol")
_DIGITS = 6  # of a drawn value: enough, and readable


class Sample(NamedTuple):
    method: str  # lhs or sobol
    size: int


def parse_sample(text: str) -> Sample:
    """``lhs:N`` or ``sobol:N``. InputError for anything else."""
    method, _, written = text.partition(":")
    problem = None
    if method not in _METHODS or not written.isdecimal() or not 1 <= int(written) <= 100_000:
        problem = f"'{text}': write lhs:N or sobol:N with N from 1 to 100000"
    elif method == "sobol" and int(written).bit_count() != 1:
        below = 1 << int(written).bit_length() - 1
        problem = f"a Sobol sample has a power of 2 points: sobol:{below} or sobol:{2 * below}"
    if problem:
        raise InputError([Problem("--sample", 0, 0, problem)])
    return Sample(method, int(written))


def draw(axes: Sequence[Axis], whole: Sequence[bool], sample: Sample, seed: int) -> list[tuple[Value, ...]]:
    """A row of values a point: ranges from the sample, lists crossed with it. ``whole``: axes of whole numbers."""
    from scipy.stats import qmc

    spans = [axis for axis in axes if axis.span]
    rng = Streams(seed).generator(f"sweep/{sample.method}")
    maker = qmc.LatinHypercube if sample.method == "lhs" else qmc.Sobol
    shares = maker(len(spans), rng=rng).random(sample.size)
    lists = [axis.values for axis in axes if not axis.span]
    rows: list[tuple[Value, ...]] = []
    for fixed in product(*lists):
        for row in shares.tolist():
            given, drawn = iter(fixed), iter(row)
            rows.append(
                tuple(
                    axis.span.at(next(drawn), is_whole, _DIGITS) if axis.span else next(given)
                    for axis, is_whole in zip(axes, whole, strict=True)
                )
            )
    return list(dict.fromkeys(rows))  # whole numbers may coincide
