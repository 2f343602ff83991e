"""Placements that stay from step to step: which weights must move when one follows another, and from whom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.views import ExpertView

Array = NDArray[np.int64]


def moves(view: ExpertView, before: Array, after: Array) -> Array:
    """[n, 3] (expert, from, to) for each pair of ``after`` that is not in ``before`` (both [m, 2], pairs once).

    A weight comes from a holder on the receiver's node where there is one, among equals from the one that sends least.
    """
    holders: dict[int, list[int]] = {}
    for expert, rank in before.tolist():
        holders.setdefault(expert, []).append(rank)
    node = view.node.tolist()
    sends = [0] * view.ranks
    result: list[tuple[int, int, int]] = []
    for expert, rank in after.tolist():
        have = holders[expert]
        if rank in have:
            continue
        source = min(have, key=lambda holder: (node[holder] != node[rank], sends[holder], holder))
        sends[source] += 1
        result.append((expert, source, rank))
    return np.array(result, dtype=np.int64).reshape(-1, 3)
