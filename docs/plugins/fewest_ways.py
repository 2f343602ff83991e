"""Of the demands of one priority, those with the fewest ways choose first, each the way that is least loaded.

Source: own, after "fail first" of Haralick and Elliott, "Increasing Tree Search Efficiency for Constraint Satisfaction
Problems", Artificial Intelligence 14, 1980: what is hardest to place is placed while there is room.
"""

import numpy as np

from sim.dispatch.api import ControllerParams, place

LEVEL = "admission"


class Params(ControllerParams):  # epoch, paths, preempt, moves, time, ... come with it
    pass


class Policy:
    def __init__(self, params, view):
        self.view = view  # read-only: topology, up [links], free [links] in bit/s, and their age

    def decide(self, problem, rng):
        """A plan: of each demand the number of its way, or -1. ``place`` makes one of an order of the demands."""
        ways = np.diff(problem.first)
        new = problem.current < 0  # those that have a way come first in their priority
        order = np.lexsort((ways, new, -problem.weight, ~problem.required))
        return place(problem, order, "least_loaded")
