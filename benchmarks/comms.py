"""Evaluations of the communication models per CPU second, from compiled loops: ``python -m benchmarks.comms``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from models.calibrated import fitted
from models.comms.all_to_all import KERNELS, AllToAllModel
from models.comms.all_to_all_law import all_to_all_array
from models.comms.collective import COLLECTIVES, CollectiveModel, collective_array

ROWS = 10**6


def _rate(call: Callable[..., Any], *arguments: Any) -> float:
    """Million rows per CPU second, best of five."""
    call(*arguments)
    best = np.inf
    for _ in range(5):
        begin = time.process_time()
        call(*arguments)
        best = min(best, time.process_time() - begin)
    return ROWS / best / 1e6


def collective_speed(generator: np.random.Generator) -> str:
    """Random sizes, data type and GPUs inside the range of H100, in a node."""
    section = CollectiveModel(fitted("h100_sxm", "collective")).sections["alltoall", "node"]
    ranks = generator.choice([2.0, 4.0, 8.0], ROWS)
    size = 2.0 ** generator.uniform(9, 34, ROWS)
    kind = COLLECTIVES.index("alltoall")
    rest = (section.law, section.layout, section.curves["half"], section.start, kind)
    rate = _rate(collective_array, *rest, ranks, np.ones(ROWS), size, np.empty(ROWS))
    return f"collective: {rate:.1f} M scalar evaluations per CPU second"


def all_to_all_speed(generator: np.random.Generator, shape: int | None) -> str:
    """Random tokens of DeepEP's normal combine on H100, of one measured shape, or of shapes that are not measured."""
    section = AllToAllModel(fitted("h100_sxm", "all_to_all")).sections["deepep_normal", "combine", "node"]
    hidden, topk, experts = (7168.0, 8.0, 256.0) if shape else (5000.0, 7.0, 200.0)
    columns = [8.0, 1.0, hidden, 2.0, topk, experts, 20.0]
    rows = np.column_stack([np.broadcast_to(columns, (ROWS, 7)), generator.integers(1, 1 << 17, ROWS)])
    rest = (section.law, section.layout, section.curves, section.sm_knots, section.start)
    rate = _rate(all_to_all_array, *rest, KERNELS.index("deepep_normal"), np.ascontiguousarray(rows), np.empty(ROWS))
    what = "a measured shape" if shape else "a shape between measured ones"
    return f"all_to_all, {what}: {rate:.1f} M scalar evaluations per CPU second"


def main() -> None:
    generator = np.random.default_rng(1)
    print(collective_speed(generator))
    print(all_to_all_speed(generator, 1))
    print(all_to_all_speed(generator, None))


if __name__ == "__main__":
    main()
