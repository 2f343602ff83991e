"""Runs of a scenario with a mixture of experts under other settings, in this process and without files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.build import World, build
from sim.dispatch.views import Batch
from sim.processes.moe import Step
from sim.progress import Progress
from sim.run import broken_laws, run_world
from sim.scenario.fabric import prepare
from sim.scenario.load import load
from solvers.expert_plan import ExpertPlan

Watch = Callable[[Batch, ExpertPlan], None]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Result:
    """What one run gave. Times in us over all layers and steps; memory in bytes."""

    world: World
    steps: list[Step]

    @property
    def time_us(self) -> float:
        """Mean time of a layer."""
        return float(np.mean([row.end - row.start for row in self.steps])) / 1e6

    def mean_us(self, field: str) -> float:
        """Mean of a phase, such as ``dispatch``."""
        return float(np.mean([getattr(row, field) for row in self.steps])) / 1e6

    @property
    def peak(self) -> int:
        """Most memory in use on a GPU."""
        return max(row.peak for row in self.steps)

    def makespan_us(self) -> float:
        return int(self.world.clock.now) / 1e6


def run(scenario: str, *sets: str) -> Result:
    """One run of ``scenarios/<scenario>.yaml`` with ``--set`` overrides; its variants are left out."""
    return run_loaded(load_one(scenario, *sets, variants=False))


def load_one(scenario: str, *sets: str, variants: bool = True) -> Any:
    """The first run of a scenario, or without ``variants`` what its file says before them."""
    loaded = load(ROOT / "scenarios" / f"{scenario}.yaml", sets if variants else ("variants={}", *sets))
    prepare(loaded)
    return loaded[0]


def run_loaded(loaded: Any, watch: Watch | None = None) -> Result:
    """``watch`` sees every batch and its plan, when it is made."""
    world = build(loaded)
    world.moe.watch = watch
    with Progress(world, True, "") as progress:
        status, reasons = run_world(world, progress)
    reasons = reasons if status != "completed" else broken_laws(world)
    if status != "completed" or reasons:
        raise RuntimeError(f"{loaded.scenario.name}: {status}: {'; '.join(reasons)}")
    return Result(world, [row for _, row in sorted(world.steps.rows.items())])
