"""The limits of one decision, and its seed."""

from __future__ import annotations

import numpy as np

from models.units import PS_PER_SECOND
from sim.dispatch.api import Limits


def limits_of(
    rng: np.random.Generator,
    time_limit: int | None = None,
    *,
    nodes: int | None = None,
    generations: int | None = None,
) -> Limits:
    """``time_limit`` in ps. The seed is one draw a decision, whatever the solver makes of it."""
    seconds = None if time_limit is None else time_limit / PS_PER_SECOND
    return Limits(seconds, nodes, generations, int(rng.integers(2**31)))
