"""What Python and notebooks use: ``load`` a scenario, ``run`` it, ``sweep`` over its keys. No state between calls.

Wrong input is an ``InputError`` with the texts of the command line.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.errors import InputError, Problem
from sim.check import report
from sim.record import ResultFolder
from sim.results import Results
from sim.run import run_all
from sim.scenario.fabric import prepare
from sim.scenario.load import Loaded, Text
from sim.scenario.load import load as load_scenario
from sim.scenario.show import flow, text_of

Source = str | Path | Mapping[str, Any]


class Interrupted(KeyboardInterrupt):
    """The run or the sweep was interrupted. ``results``: what it had done by then."""

    def __init__(self, results: Results | pd.DataFrame) -> None:
        super().__init__("what was done by then is in this exception's results, and in the folder out if one was given")
        self.results = results


@dataclass(frozen=True)
class Scenario:
    """A checked scenario: one run, or one for each variant."""

    runs: list[Loaded]
    source: str | Path | Text
    sets: list[str]
    seed: int | None
    plugins: list[str]

    @property
    def name(self) -> str:
        return self.runs[0].scenario.name

    @property
    def variants(self) -> list[str]:
        return [one.variant for one in self.runs if one.variant is not None]

    def text(self, variant: str | None = None) -> str:
        """The effective scenario as YAML, every default written out."""
        found = [one for one in self.runs if variant in (None, one.variant)]
        if not found:
            raise KeyError(f"no variant '{variant}'")
        return text_of(found[0].effective)

    def check(self) -> str:
        """What ``run_sim.py check`` prints: values with their origin, the topology's counts and a drawing of it."""
        return report(self.runs, [one.built[0] for one in self.runs])

    def __repr__(self) -> str:
        first, variants = self.runs[0], ", ".join(self.variants)
        words = f"{first.built[0].kind} of {first.built[0].hosts:,} hosts, engine {first.scenario.engine}"
        return f"scenario {self.name}: {words}" + (f", variants {variants}" if variants else "")


def load(
    source: Source, overrides: Mapping[str, Any] | None = None, *, seed: int | None = None, plugins: Sequence[str] = ()
) -> Scenario:
    """A scenario from a file, from YAML (text of several lines) or from a mapping, with keys set as by ``--set``.

    ``load("scenarios/leaf_spine.yaml", {"workload.0.size": "1MB"}, seed=3)``. Files that YAML or a mapping names are
    looked for in the current folder.
    """
    problems: list[Problem] = []
    sets = [f"{key}={_yaml(value, f'--set:{key}', problems)}" for key, value in (overrides or {}).items()]
    where = _source(source, problems)
    try:
        loaded = load_scenario(where, sets, seed, plugins)
        prepare(loaded)
    except InputError as error:
        known = {problem.file for problem in problems}
        problems += [problem for problem in error.problems if problem.file not in known]
    if problems:
        raise InputError(problems)
    return Scenario(loaded, where, sets, seed, list(plugins))


def run(scenario: Scenario | Source, *, out: str | Path | None = None, quiet: bool = False) -> Results:
    """Run a scenario, all its variants. ``out``: the folder that keeps the results; without, they live as long as
    the object that is returned. ``quiet``: no progress on stderr. Interrupted holds what was done until Ctrl-C."""
    loaded = (scenario if isinstance(scenario, Scenario) else load(scenario)).runs
    if out is not None:
        return _run(loaded, Path(out), quiet, temporary=False)
    above = Path(tempfile.mkdtemp(prefix="spillway-"))
    try:
        return _run(loaded, above / loaded[0].scenario.name, quiet, temporary=True)
    except Interrupted:
        raise
    except BaseException:
        shutil.rmtree(above, ignore_errors=True)
        raise


def _run(loaded: list[Loaded], folder: Path, quiet: bool, temporary: bool) -> Results:
    with ResultFolder(folder) as partial:
        outcome = run_all(loaded, partial, quiet)
    results = Results(folder, temporary=temporary)
    if outcome.interrupted:
        raise Interrupted(results)
    return results


def sweep(
    scenario: Scenario | Source,
    axes: Mapping[str, Any] | None = None,
    *,
    seeds: int = 1,
    sample: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> pd.DataFrame:
    """Run a scenario at all combinations of the axes' values; a row of figures for each cell (docs/sweep.md).

    ``axes``: key -> list of values, or a range as text, ``"0.1:0.9:5"``. ``sample``: ``"lhs:20"``, from ranges
    ``"lo:hi"``. ``out``: the folder that keeps all results, finished cells are not run again; without, only the rows
    stay. ``workers`` above 1 are processes: a script must begin them below ``if __name__ == "__main__":``.
    """
    from sim.sweep import NoPlaceError, check_folder, parse_sample, read_experiment, run_sweep

    case = scenario if isinstance(scenario, Scenario) else load(scenario)
    problems: list[Problem] = []
    texts = [f"{key}={_axis(values, key, problems)}" for key, values in (axes or {}).items()]
    for name, number in (("--seeds", seeds), ("--workers", workers)):
        if number < 1:
            problems.append(Problem(name, 0, 0, f"{number} is below 1"))
    if problems:
        raise InputError(problems)
    drawn = parse_sample(sample) if sample is not None else None
    experiment = read_experiment(case.source, texts, case.sets, case.seed, case.plugins, drawn)
    numbers = range(experiment.seed, experiment.seed + seeds)
    with tempfile.TemporaryDirectory(prefix="spillway-") as temporary:
        folder = Path(out) if out is not None else Path(temporary) / experiment.name
        check_folder(folder)
        outcome = run_sweep(experiment, numbers, folder, workers=workers, cluster=cluster, quiet=quiet)
    if outcome.no_place:
        raise NoPlaceError(outcome.no_place)
    assert outcome.index is not None
    index: pd.DataFrame = outcome.index.to_pandas()
    if outcome.interrupted:
        raise Interrupted(index)
    return index


def _axis(values: Any, key: str, problems: list[Problem]) -> str:
    """The values of an axis as ``--vary`` takes them."""
    if isinstance(values, str):
        return values
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(listed, Iterable) or isinstance(listed, Mapping):
        problems.append(Problem(f"--vary:{key}", 0, 0, "an axis is a list of values, or a range such as '0.1:0.9:5'"))
        return ""
    return ", ".join(_yaml(value, f"--vary:{key}", problems) for value in listed)


def _source(source: Source, problems: list[Problem]) -> str | Path | Text:
    if isinstance(source, Mapping):
        return Text(_yaml(source, "scenario", problems), Path.cwd(), keyed=True)
    if isinstance(source, str) and "\n" in source:
        return Text(source, Path.cwd())
    return source


def _yaml(value: Any, label: str, problems: list[Problem]) -> str:
    """A Python value as YAML on one line."""
    return flow(_plain(value, label, problems))


def _plain(value: Any, label: str, problems: list[Problem]) -> Any:
    """Only what YAML knows."""
    if isinstance(value, Mapping):
        return {
            str(key): _plain(item, f"{label}{'.' if ':' in label else ':'}{key}", problems)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{label}.{index}", problems) for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return _plain(value.item(), label, problems)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(label, 0, 0, f"{value} is no value of a scenario"))
        return None
    if value is not None and not isinstance(value, (str, int, float)):
        problems.append(Problem(label, 0, 0, f"a value of the type {type(value).__name__} is none of a scenario"))
        return None
    return value
