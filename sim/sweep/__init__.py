"""Sweeps: a scenario over axes and seeds, as cells that run anywhere and appear whole.

``axes.py`` what is varied, ``experiment.py`` the points that result, ``cells.py`` their names, ``worker.py`` runs one
cell, ``executors.py`` chooses who does, ``folder.py`` keeps what is finished, ``index.py`` makes one table of it, and
``run.py`` drives. Results do not depend on who ran a cell, or on how often the sweep was stopped. For comparisons,
``held.py`` says what cells have in common, and ``perturb.py`` changes every key of a scenario alone.
"""

from sim.sweep.axes import Axis, parse_axes, parse_axis
from sim.sweep.cells import Cell, Point
from sim.sweep.executors import Executor, open_executor
from sim.sweep.experiment import Experiment, read_experiment
from sim.sweep.folder import Failure, check_folder
from sim.sweep.index import refresh_index, write_index
from sim.sweep.run import NoPlaceError, Outcome, run_cells, run_sweep
from sim.sweep.sample import Sample, parse_sample

__all__ = [
    "Axis",
    "Cell",
    "Executor",
    "Experiment",
    "Failure",
    "NoPlaceError",
    "Outcome",
    "Point",
    "Sample",
    "check_folder",
    "open_executor",
    "parse_axes",
    "parse_axis",
    "parse_sample",
    "read_experiment",
    "refresh_index",
    "run_cells",
    "run_sweep",
    "write_index",
]
