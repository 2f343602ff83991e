"""``compare``: which of several policies is better, by how much and how sure: the decision certificate."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from commands import DONE, FAILED, add_cells, add_scenario, idle_workers, tell_failures

if TYPE_CHECKING:
    from analysis.compare import Findings, Rule, Runs, Study
    from analysis.compare import Point as Place
    from sim.sweep import Executor, Experiment, Failure, Point

HELP = "decide between variants, or values of a key, on as many seeds as it takes"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_scenario(parser)
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=VALUES",
        help="a,b,c or lo:hi:n or lo:hi:n:log. Without variants the first one gives the arms; others are swept",
    )
    parser.add_argument("--variants", metavar="A,B", help="the arms, of the scenario's variants (default: all)")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="such as flows.fct_us.p99 (repeatable; the first one decides)",
    )
    parser.add_argument(
        "--precision", metavar="SHARE", help="relative difference to be found, 80 %% power (default: 2%%)"
    )
    parser.add_argument("--confidence", metavar="SHARE", help="of all intervals together (default: 95%%)")
    parser.add_argument("--interval", choices=("t", "bootstrap"), default="t", help="kind of interval (default: t)")
    parser.add_argument("--seeds", metavar="N", help="exactly N seeds, whatever the precision")
    parser.add_argument("--most", metavar="N", help="seeds at most (default: 200)")
    parser.add_argument(
        "--inert", action="store_true", help="instead: change every key alone, list those without effect"
    )
    add_cells(parser, "results/<name>-compare")


def call(options: argparse.Namespace) -> int:
    from analysis.compare import compare, inert_keys, parse
    from analysis.compare.certificate import text, write
    from sim.sweep import NoPlaceError, check_folder, open_executor, read_experiment

    (rule, workers), metrics, experiment = _all_of(
        lambda: _numbers(options),
        lambda: parse(options.metric),
        lambda: read_experiment(options.scenario, options.vary, options.sets, options.seed, options.plugin),
    )
    if options.inert:
        return _inert(options, experiment, workers)
    plan = _plan(experiment, options.variants)
    out = Path(options.out) if options.out else Path("results") / f"{experiment.name}-compare"
    check_folder(out)
    study = _study(experiment, plan, metrics, rule)
    try:
        with open_executor(workers, options.cluster) as executor:
            found = compare(study, _runs(experiment, plan, out, executor, workers, options.quiet))
    except _CellsFailedError as error:
        return _failed(error.failures, out)
    except NoPlaceError as error:
        print(f"the comparison ended: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("finished cells are kept, and the same command goes on from there", file=sys.stderr)
        raise
    inert = inert_keys(found)
    print(text(found, inert), end="", flush=True)
    try:
        written = write(found, out, inert)
        _index(experiment, plan, found, out)
    except OSError as error:
        print(f"the certificate can't be written: {out}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    if not options.quiet:
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return DONE


def _all_of(*parts: Callable[[], Any]) -> list[Any]:
    """What each part gives, or one InputError with the problems of all of them."""
    from models.errors import InputError

    found, problems = [], []
    for part in parts:
        try:
            found.append(part())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found


def _numbers(options: argparse.Namespace) -> tuple[Rule, int]:
    """The rule and the workers, or everything that is wrong with their options."""
    from analysis.compare import Rule
    from models.errors import InputError, Problem

    problems: list[Problem] = []

    def whole(name: str, least: int, default: int | None) -> int | None:
        given = getattr(options, name)
        if given is None:
            return default
        if given.isdecimal() and least <= int(given) <= 100_000:
            return int(given)
        problems.append(Problem(f"--{name}", 0, 0, f"'{given}' is no whole number from {least} to 100000"))
        return default

    def share(name: str, default: float) -> float:
        given = getattr(options, name)
        if given is None:
            return default
        try:
            value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
        except ValueError:
            value = float("nan")
        if 0 < value < 1:
            return value
        problems.append(Problem(f"--{name}", 0, 0, f"'{given}' is no share between 0 and 1, such as 2% or 0.02"))
        return default

    standard = Rule()
    precision, confidence = share("precision", standard.precision), share("confidence", standard.confidence)
    exactly, most = whole("seeds", 1, None), whole("most", 2, standard.most)
    for name in ("precision", "most"):
        if options.seeds is not None and getattr(options, name) is not None:
            problems.append(Problem(f"--{name}", 0, 0, "has no effect beside --seeds, which fixes their number"))
    problems += idle_workers(options)
    if problems:
        raise InputError(problems)
    rule = Rule(precision, confidence, most=most or standard.most, exactly=exactly, method=options.interval)
    return rule, options.workers or os.cpu_count() or 1


class _Plan(NamedTuple):
    """``cells``: (arm, number of the place) -> the sweep's point."""

    arms_by: str
    arms: tuple[str, ...]
    places: tuple[Place, ...]
    cells: dict[tuple[str, int], Point]


def _plan(experiment: Experiment, wanted: str | None) -> _Plan:
    """Arms are the variants if there are two or more, else the first axis; the other axes span the places."""
    from analysis.compare import Point as Place
    from models.errors import InputError, Problem

    variants = _variants(experiment, wanted)
    points = [point for variant in variants for point in experiment.points if point.variant == variant]
    keys = [axis.key for axis in experiment.axes]
    by_variant = len(variants) > 1
    if not by_variant and (not keys or len(experiment.axes[0].values) < 2):
        what = f"--vary {keys[0]} has one value" if keys else "there are no two variants and no --vary"
        message = f"{what}; compare needs two arms, such as --vary dispatch.path=ecmp,ethereal"
        raise InputError([Problem("compare", 0, 0, message)])
    swept = keys if by_variant else keys[1:]
    places: dict[tuple[str, ...], Place] = {}
    cells: dict[tuple[str, int], Point] = {}
    for point in points:
        values = tuple(point.values[key] for key in swept)
        label = values[0] if len(swept) == 1 else ", ".join(f"{k}={v}" for k, v in zip(swept, values, strict=True))
        at = point.numbers[swept[0]] if len(swept) == 1 else None
        places.setdefault(values, Place(label, dict(zip(swept, values, strict=True)), at))
        cells[_arm(point, None if by_variant else keys[0]), list(places).index(values)] = point
    arms = tuple(dict.fromkeys(arm for arm, _ in cells))
    return _Plan("variant" if by_variant else keys[0], arms, tuple(places.values()), cells)


def _arm(point: Point, key: str | None) -> str:
    """The variant, or the value of ``key``; a number says little alone."""
    if key is None:
        return str(point.variant)
    value = point.values[key]
    return value if point.numbers[key] is None else f"{key.rsplit('.', 1)[-1]}={value}"


def _variants(experiment: Experiment, wanted: str | None) -> list[str | None]:
    """The variants asked for, in the order in which they are named."""
    from models.errors import InputError, Problem, nearest

    there = list(dict.fromkeys(point.variant for point in experiment.points))
    if wanted is None:
        return there
    known = [str(name) for name in there if name is not None]
    names = wanted.split(",")
    problems = [
        Problem("--variants", 0, 0, f"no variant '{name}'{nearest(name, known)}") for name in names if name not in known
    ]
    problems += [Problem("--variants", 0, 0, f"'{n}' is named twice") for n in sorted(set(names)) if names.count(n) > 1]
    if problems:
        raise InputError(problems)
    return list(names)


def _study(experiment: Experiment, plan: _Plan, metrics: Sequence[Any], rule: Rule) -> Study:
    from analysis.compare import Study
    from sim.sweep.held import held

    return Study(
        name=experiment.name,
        arms=plan.arms,
        points=plan.places,
        metrics=tuple(metrics),
        rule=rule,
        seed=experiment.seed,
        arms_by=plan.arms_by,
        held=held(experiment.cells(list(plan.cells.values()))),
    )


def _inert(options: argparse.Namespace, experiment: Experiment, workers: int) -> int:
    """Every key changed alone, on one seed."""
    from analysis.compare.perturbed import Perturbed, perturbed, text
    from models.errors import InputError, Problem
    from sim.sweep import Failure, check_folder, run_cells
    from sim.sweep.cells import load_cell
    from sim.sweep.perturb import perturbations

    used = [name for name in ("vary", "metric", "precision", "confidence", "seeds", "most") if getattr(options, name)]
    if used:
        raise InputError([Problem(f"--{name}", 0, 0, "has no effect beside --inert") for name in used])
    out = Path(options.out) if options.out else Path("results") / f"{experiment.name}-inert"
    check_folder(out)
    variant = _variants(experiment, options.variants)[0]
    base = next(cell for cell in experiment.cells() if cell.point.variant == variant)
    found = list(perturbations(experiment, load_cell(base), variant))
    cells = [base, *(cell for *_, cell in found if cell is not None)]
    results = run_cells(cells, out, workers=workers, cluster=options.cluster, quiet=options.quiet)
    if isinstance(results[0], Failure):
        return _failed([results[0]], out)
    changed = iter(results[1:])
    rows = []
    for key, was, cell in found:
        if cell is None:
            rows.append(Perturbed(key, was, "", (), "not tried: no other value fits alone"))
            continue
        result, tried = next(changed), cell.point.values[key]
        if isinstance(result, Failure):
            rows.append(Perturbed(key, was, "", (), f"not tried: {tried} fails, {result.reason}"))
        else:
            rows.append(perturbed(key, was, tried, Path(str(results[0])), result))
    print(text(rows))
    return DONE


class _CellsFailedError(RuntimeError):
    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(f"{len(failures)} cells failed")
        self.failures = failures


def _runs(experiment: Experiment, plan: _Plan, out: Path, executor: Executor, workers: int, quiet: bool) -> Runs:
    """What runs more seeds: cells of a sweep, which a restart finds again."""
    from analysis.compare import Cell
    from sim.sweep import Failure, run_cells

    def runs(cells: Sequence[Cell], purpose: str) -> Sequence[Path]:
        if not quiet:
            print(purpose, file=sys.stderr)
        wanted = [experiment.cells([plan.cells[cell.arm, cell.point]], [cell.seed])[0] for cell in cells]
        found = run_cells(wanted, out, workers=workers, quiet=quiet, executor=executor)
        failures = [one for one in found if isinstance(one, Failure)]
        if failures:
            raise _CellsFailedError(failures)
        return [one for one in found if isinstance(one, Path)]

    return runs


def _index(experiment: Experiment, plan: _Plan, found: Findings, out: Path) -> None:
    """The runs as a sweep's index, so that ``plot`` draws them."""
    from sim.sweep import write_index
    from sim.sweep.index import write_plan

    cells = [
        cell
        for (_, place), point in plan.cells.items()
        for cell in experiment.cells([point], found.study.seeds(found.seeds[place]))
    ]
    write_plan(out, experiment.name, experiment.axes, cells)
    write_index(out)


def _failed(failures: Sequence[Failure], out: Path) -> int:
    tell_failures(failures, out)
    print("nothing is decided; finished cells are kept, and the same command goes on from there", file=sys.stderr)
    return FAILED
