"""Cuts for what a solver lets pass within its tolerances: a link that is overloaded by less than it can see.

A cover of a link is a set of reservations that do not fit on it together. At most all but one of them can be made, and
the same holds with every larger reservation added (the extended cover): an exact row, whatever the bandwidths are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, vstack

from solvers.admission.problem import Ints
from solvers.programs import Floats, Program


class Reserved(NamedTuple):
    """By cell: variable ``column`` reserves ``size`` bit/s on ``link``."""

    link: Ints
    column: Ints
    size: Ints


class Cover(NamedTuple):
    """At most ``limit`` of these variables can be 1."""

    column: Ints
    limit: int


def covers(capacity: Ints, reserved: Reserved, x: Floats) -> list[Cover]:
    """One for every link that a solution overloads, in exact bit/s; empty: it fits."""
    taken = x[reserved.column] > 0.5
    load = np.zeros(len(capacity), dtype=np.int64)
    np.add.at(load, reserved.link[taken], reserved.size[taken])
    found = []
    for link in np.flatnonzero(load > capacity).tolist():
        on = reserved.link == link
        column, size, used = reserved.column[on], reserved.size[on], taken[on]
        sizes = np.sort(size[used])[::-1]
        count = int(np.searchsorted(np.cumsum(sizes), capacity[link], side="right"))  # so many of the largest fit
        # the largest of them that do not fit together, and whatever is as large as the largest of these
        chosen = np.flatnonzero(used)[np.argsort(-size[used], kind="stable")[: count + 1]]
        member = size >= sizes[0]
        member[chosen] = True
        found.append(Cover(column[member], count))
    return found


def with_covers(program: Program, found: list[Cover]) -> Program:
    """The program with a row for each cover."""
    row = np.repeat(np.arange(len(found)), [len(cover.column) for cover in found])
    column = np.concatenate([cover.column for cover in found])
    rows = csr_array((np.ones(len(row)), (row, column)), shape=(len(found), program.columns))
    return replace(
        program,
        matrix=csr_array(vstack([program.matrix, rows])),
        row_low=np.concatenate([program.row_low, np.full(len(found), -np.inf)]),
        row_high=np.concatenate([program.row_high, np.array([float(cover.limit) for cover in found])]),
    )
