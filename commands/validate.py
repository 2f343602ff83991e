"""``validate``: a scenario beside measurements: errors by size, distances, and whether the stated bands hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import DONE, INTERRUPTED, add_plugins

if TYPE_CHECKING:
    from analysis.load import Results
    from analysis.validate import Measured
    from sim.scenario.load import Loaded

HELP = "set a simulation beside measurements"
CASES = dict[str, list[str]]  # case -> names of its runs


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", nargs="?", metavar="SCENARIO", help="YAML file: what was measured, as we model it")
    parser.add_argument(
        "--against", required=True, metavar="FILE", help="measured rows as CSV, or a raw nccl-tests log"
    )
    parser.add_argument("--mapping", metavar="FILE", help="what the columns are, where the CSV does not say it itself")
    parser.add_argument(
        "--band", action="append", default=[], metavar="BAND", help="such as 'time median<10%%' (repeatable)"
    )
    parser.add_argument(
        "--hold-out", metavar="SHARE", help="such as 30%%: rows that the verdict rests on, by their hash"
    )
    parser.add_argument("--results", metavar="DIR", help="compare this results folder instead of running a scenario")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override a key")
    parser.add_argument("--seed", metavar="N", help="override the seed")
    add_plugins(parser)
    parser.add_argument("--out", metavar="DIR", help="results folder (default: results/<name>-validation)")
    parser.add_argument("--no-plots", action="store_true", help="write no pictures")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def call(options: argparse.Namespace) -> int:
    _check(options)
    from analysis.validate import read

    measured = read(options.against, options.mapping, options.band, options.hold_out)
    if options.results:
        return _tell(measured, _earlier(options.results), Path(options.results), options)
    return _run(options, measured)


def _earlier(folder: str) -> dict[str, list[Results]]:
    """The runs of a results folder by case: a variant, or the runs at several sizes of an earlier validation."""
    from analysis.load import load

    cases: dict[str, list[Results]] = {}
    for name, run in load(folder).runs().items():
        sizes = run.frame("collectives", ["bytes"])["bytes"].unique()
        cases.setdefault(name.removesuffix(f"-{sizes[0]}") if len(sizes) == 1 else name, []).append(run)
    return cases


def _check(options: argparse.Namespace) -> None:
    from models.errors import InputError, Problem

    faults = []
    if bool(options.scenario) == bool(options.results):
        faults.append("give a SCENARIO to run, or --results DIR to compare what was run; one of the two")
    given = {"--set": options.sets, "--seed": options.seed, "--plugin": options.plugin, "--out": options.out}
    if options.results and any(given.values()):
        faults.append(f"{', '.join(name for name, value in given.items() if value)}: nothing is run with --results")
    if faults:
        raise InputError([Problem("validate", 0, 0, fault) for fault in faults])


def _run(options: argparse.Namespace, measured: Measured) -> int:
    """Run what the measured rows ask for, and tell."""
    from sim.scenario.fabric import prepare

    loaded, cases = plan(options.scenario, measured, options.sets, options.seed, options.plugin)
    prepare(loaded)

    from analysis.load import load
    from sim.record import ResultFolder
    from sim.run import run_all

    out = Path(options.out) if options.out else Path("results") / f"{loaded[0].scenario.name}-validation"
    with ResultFolder(out) as partial:
        outcome = run_all(loaded, partial, options.quiet)
        if not outcome.interrupted:
            runs = load(partial).runs()
            found = {case: [runs[name] for name in names] for case, names in cases.items()}
            _tell(measured, found, partial, options)
    if outcome.interrupted:
        print(f"interrupted: no verdict; what was done is in {out}, marked", file=sys.stderr)
        return INTERRUPTED
    if not options.quiet:
        print(f"results in {out}", file=sys.stderr)
    return int(outcome.exit_code)


def plan(
    scenario: str, measured: Measured, sets: Sequence[str] = (), seed: str | None = None, plugins: Sequence[str] = ()
) -> tuple[list[Loaded], CASES]:
    """What to run: the scenario as it is; for collectives at each size that was measured, a run a size and variant."""
    from sim.scenario.fabric import prepare
    from sim.scenario.load import load

    base = load(scenario, sets, seed, plugins)
    if measured.kind.name != "collectives":
        names = [one.variant or one.scenario.name for one in base]
        return base, {name: [name] for name in names}
    prepare(base)
    operations = {one.variant: _operation(one, measured, scenario) for one in base}
    wanted = {variant: measured.sizes(*operation) for variant, operation in operations.items()}
    if not any(wanted.values()):
        raise _none_fits(operations, measured)
    runs: list[Loaded] = []
    cases: CASES = {}
    for size in sorted(set().union(*wanted.values())):
        for one in _at_size(scenario, size, (sets, seed, plugins), measured, operations):
            if size not in wanted[one.variant] or int(one.scenario.workload[0].size) != size:
                continue
            case = one.variant or one.scenario.name
            cases.setdefault(case, []).append(f"{case}-{size}")
            runs.append(replace(one, variant=f"{case}-{size}"))
    if not runs:
        raise _none_fits(operations, measured)
    return runs, cases


def _operation(one: Any, measured: Measured, scenario: str) -> tuple[str, int]:
    """Operation and ranks of a scenario that is one collective."""
    from models.errors import InputError
    from sim.scenario.fabric import make_topology

    items = one.scenario.workload
    if len(items) != 1 or items[0].kind != "collective":
        message = (
            f"{measured.file} holds collectives, each measured alone: a workload of one item, kind: collective, is due"
        )
        raise InputError([one.problem_at(("workload",), message)])
    group = items[0].group
    ranks = make_topology(one).hosts if group == "all" else len(group)
    return str(items[0].op), int(ranks)


def _at_size(
    scenario: str,
    size: int,
    rest: tuple[Any, Any, Any],
    measured: Measured,
    operations: dict[str | None, tuple[str, int]],
) -> list[Loaded]:
    """The scenario with collectives of this size; a size that it can't have is a fault of the measured row."""
    from models.errors import InputError, Problem
    from sim.scenario.load import load

    sets, seed, plugins = rest
    try:
        return load(scenario, [*sets, f"workload.0.size={size}B"], seed, plugins)
    except InputError as error:
        asked = next(one for one in operations.values() if size in measured.sizes(*one))
        file, line = measured.place(*asked, size)
        faults = [
            Problem(file, line, 1 if line else 0, f"size {size}B: {problem.message}") for problem in error.problems
        ]
        raise InputError(faults) from None


def _none_fits(operations: dict[str | None, tuple[str, int]], measured: Measured) -> Exception:
    from models.errors import InputError, Problem

    ours = ", ".join(dict.fromkeys(f"{op} of {ranks}" for op, ranks in operations.values()))
    message = f"holds {measured.what()} ranks, but the scenario has {ours}"
    return InputError([Problem(measured.file, 0, 0, message)])


def _tell(measured: Measured, cases: dict[str, list[Results]], folder: Path, options: argparse.Namespace) -> int:
    """Compare, write below ``folder``, print."""
    from analysis.validate import validate
    from models.errors import InputError, Problem

    found = validate(measured, cases)
    try:
        found.write(folder)
        if not options.no_plots:
            from analysis.validate.pictures import draw

            draw(found, folder / "plots")
    except OSError as error:
        raise InputError([Problem(str(folder), 0, 0, f"can't write here: {error.strerror}")]) from None
    print(found.text(), flush=True)
    return DONE
