"""The path form as a program: one variable a candidate way, one row a demand and one a link that can be overloaded.

Built from the problem's arrays at once; 50 nodes, 2,000 demands and 16,000 ways take some ten milliseconds. Left out
beforehand, since it changes no plan: ways that a link is too small for, ways that may not be taken (moves), rows of
links that all demands together can't fill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solvers.admission.covers import Reserved
from solvers.admission.problem import Ints, Problem
from solvers.programs import Floats, Program

LARGEST = 10**6  # coefficient of a link's row: solvers see one part in a million, and integers exactly


@dataclass(frozen=True)
class PathForm:
    """``way`` [columns] is the way that each variable stands for, ``demand`` [columns] its demand.

    ``link`` [rows of links] are the links of the rows that begin at ``first_link``, ``unit`` bit/s what 1 is there.
    """

    problem: Problem
    program: Program
    way: Ints
    demand: Ints
    first_link: int
    link: Ints
    unit: Ints
    reserved: Reserved
    homeless: bool  # a required demand has no way that it may take: nothing is feasible

    def plan(self, x: Floats) -> Ints:
        """[demands] the chosen way of a whole solution, -1: rejected."""
        way = np.full(self.problem.demands, -1, dtype=np.int64)
        chosen = x > 0.5
        way[self.demand[chosen]] = self.way[chosen]
        return way

    def point(self, way: Ints) -> Floats:
        """[columns] the solution that a plan stands for."""
        x: Floats = (way[self.demand] == self.way).astype(np.float64)
        return x


def path_form(problem: Problem, whole: bool = True, only: NDArray[np.bool_] | None = None) -> PathForm:
    """The program of a problem, with its weights as the objective. ``only`` [demands]: leave out the others."""
    keep = _possible(problem, only)
    way = np.flatnonzero(keep)
    demand = problem.demand_of[way]
    columns = len(way)
    taken = np.bincount(demand, minlength=problem.demands)
    homeless = bool((problem.required & (taken == 0)).any())

    # a demand with one way needs no row: its variable is at most 1 anyway
    rows_of = np.flatnonzero((taken > 1) | (problem.required & (taken > 0)))
    row_of = np.full(problem.demands, -1, dtype=np.int64)
    row_of[rows_of] = np.arange(len(rows_of))
    in_row = row_of[demand] >= 0
    parts_row = [row_of[demand][in_row]]
    parts_column = [np.flatnonzero(in_row)]
    parts_value = [np.ones(len(parts_row[0]))]
    low = [np.where(problem.required[rows_of], 1.0, -np.inf)]
    high = [np.ones(len(rows_of))]

    hops = problem.hops[way]
    column = np.repeat(np.arange(columns), hops)
    link = problem.link[np.repeat(keep, problem.hops)].astype(np.int64)
    size = problem.bandwidth[demand][column]
    reserved = Reserved(link, column, size)
    full = _can_fill(problem, demand[column], link, size)[link]
    column, link, size = column[full], link[full], size[full]
    links, row, unit, capacity = link_units(problem, link, size)
    parts_row.append(len(rows_of) + row)
    parts_column.append(column)
    parts_value.append((size // unit[row]).astype(np.float64))
    low.append(np.full(len(links), -np.inf))
    high.append(capacity)

    first_link = len(rows_of)
    rows = first_link + len(links)
    if problem.moves > 0 and (problem.current >= 0).any():
        moving = np.flatnonzero((problem.current[demand] >= 0) & (problem.current[demand] != way))
        parts_row.append(np.full(len(moving), rows))
        parts_column.append(moving)
        parts_value.append(np.ones(len(moving)))
        low.append(np.array([-np.inf]))
        high.append(np.array([float(problem.moves)]))
        rows += 1
    cells = (np.concatenate(parts_value), (np.concatenate(parts_row), np.concatenate(parts_column)))
    weight = problem.weight[demand]
    program = Program(
        cost=weight.astype(np.float64),
        matrix=csr_array(cells, shape=(rows, columns)),
        row_low=np.concatenate(low),
        row_high=np.concatenate(high),
        low=np.zeros(columns),
        high=np.ones(columns),
        whole=whole,
        unit=float(np.gcd.reduce(weight)) if columns else 1.0,
    )
    return PathForm(problem, program, way, demand, first_link, links, unit, reserved, homeless)


def most(problem: Problem) -> int:
    """What no plan exceeds, without any solving: the weights of the demands that fit somewhere alone."""
    carried = np.zeros(problem.demands, dtype=np.bool_)
    carried[problem.demand_of[_possible(problem, None)]] = True
    return int(problem.weight[carried].sum())


def _possible(problem: Problem, only: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """[ways] whether a way may be taken and every link of it is large enough for its demand alone."""
    demand = problem.demand_of
    keep = np.zeros(problem.ways, dtype=np.bool_)
    if problem.ways:
        narrowest = np.minimum.reduceat(problem.capacity[problem.link], problem.start[:-1])
        keep = narrowest >= problem.bandwidth[demand]
    if problem.moves == 0:
        current = problem.current[demand]
        keep &= (current < 0) | (current == np.arange(problem.ways))
    if only is not None:
        keep &= only[demand]
    return keep


def _can_fill(problem: Problem, demand: Ints, link: Ints, size: Ints) -> NDArray[np.bool_]:
    """[links] whether the demands that could use a link ask for more than it has, all together."""
    _, once = np.unique(demand * problem.links + link, return_index=True)
    asked = np.zeros(problem.links)
    np.add.at(asked, link[once], size[once].astype(np.float64))
    full: NDArray[np.bool_] = asked * (1 + 1e-12) > problem.capacity
    return full


def link_units(problem: Problem, link: Ints, size: Ints) -> tuple[Ints, Ints, Ints, Floats]:
    """Links with a row, the row of each cell, and of each row the bit/s that are its unit and the capacity in it.

    The unit is the greatest common divisor of the bandwidths: whole coefficients, as exact as the bandwidths. Where
    they would be too large the unit is larger and everything is rounded down, which cuts off no plan; what then passes
    though it overloads a link is up to ``covers``.
    """
    order = np.argsort(link, kind="stable")
    links, begin = np.unique(link[order], return_index=True)
    row = np.searchsorted(links, link)
    if not len(links):
        return links, row, np.ones(0, dtype=np.int64), np.ones(0)
    unit = np.gcd.reduceat(size[order], begin)
    largest = np.maximum.reduceat(size[order], begin)
    unit = np.where(largest // unit > LARGEST, -(-largest // LARGEST), unit)
    return links, row, unit, (problem.capacity[links] // unit).astype(np.float64)
