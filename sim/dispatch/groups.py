"""Groups of ranks: where they are in a topology, and what a collective policy says to them.

A policy with ``uses_layout = True`` is told the group's layout; any other is asked without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.topology import Topology
from sim.dispatch.api import Layout, Message


def layout_of(topology: Topology, hosts: Sequence[int]) -> Layout:
    """The layout of a group; rank i is ``hosts[i]``. Its nodes are numbered in the order of the topology's domains."""
    members = np.asarray(hosts, dtype=np.int64)
    node = np.unique(topology.domain[members], return_inverse=True)[1]
    return Layout(node.astype(np.int64), topology.rail[members].astype(np.int64))


def problem_of(policy: Any, operation: str, ranks: int, layout: Layout | None = None) -> str | None:
    """Why the policy can't do this operation on this group, or None. Without a layout: as far as can be said."""
    if layout is not None and getattr(policy, "uses_layout", False):
        return policy.problem(operation, ranks, layout)  # type: ignore[no-any-return]
    return policy.problem(operation, ranks)  # type: ignore[no-any-return]


def schedule_of(policy: Any, operation: str, ranks: int, size: int, layout: Layout) -> tuple[list[Message], list[int]]:
    """The policy's schedule of the operation."""
    if getattr(policy, "uses_layout", False):
        return policy.schedule(operation, ranks, size, layout)  # type: ignore[no-any-return]
    return policy.schedule(operation, ranks, size)  # type: ignore[no-any-return]
