"""``solve``: an admission problem by itself, without a simulation; or random instances of one."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import DONE, INTERRUPTED, positive

if TYPE_CHECKING:
    from models.candidates import Candidates
    from models.demands import Demands
    from models.errors import Problem as Fault
    from models.network_files import Open
    from models.topology import Topology
    from solvers.admission.plan import Plan, Step
    from solvers.admission.problem import Limits, Problem

HELP = "decide which demands to admit and where to route them; or make random instances"
_METHODS = ("ilp", "ga", "greedy", "lp_rounding")
_CHOICES = {
    "form": ("path", "arc"),
    "solver": ("auto", "highs", "pulp", "cbc", "cpsat"),
    "path": ("shortest", "widest", "least_loaded"),
    "by": ("hops", "delay", "inverse_capacity"),
    "protection": ("none", "link", "node"),
}
_PATHS = 8  # candidates of a pair
# options that only some methods know
_ONLY = {"form": ("ilp",), "solver": ("ilp",), "nodes": ("ilp",), "generations": ("ga",), "path": ("greedy",)}


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    _admission(what.add_parser("admission", help="solve one admission problem", allow_abbrev=False))
    _instance(what.add_parser("instance", help="write a random network and its demands", allow_abbrev=False))


def _admission(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topology", required=True, metavar="FILE", help=".graphml, SNDlib .txt or .xml, .csv, .topo, scenario .yaml"
    )
    parser.add_argument("--demands", metavar="FILE", help="CSV; needless where an SNDlib file holds its own")
    parser.add_argument("--method", default="ilp", metavar="{" + ",".join(_METHODS) + "}", help="default: ilp")
    parser.add_argument("--time-limit", metavar="TIME", help="of the whole call, such as 10s (default: none)")
    parser.add_argument("--strict", action="store_true", help="priorities class by class, not as weights")
    parser.add_argument("--all", action="store_true", help="every demand must be admitted")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--nodes", type=positive, metavar="N", help="ilp: nodes of the search tree at most")
    parser.add_argument("--generations", type=positive, metavar="N", help="ga: generations at most")
    said = {"form": "ilp: variables", "solver": "ilp", "path": "greedy: which path that fits"}
    said |= {"by": "what a short path is", "protection": "a second path that is disjoint"}
    for name, valid in _CHOICES.items():
        names = "{" + ",".join(valid) + "}"
        parser.add_argument(f"--{name}", metavar=names, help=f"{said[name]} (default: {valid[0]})")
    parser.add_argument("--paths", type=positive, metavar="K", help="candidate paths of a pair (default: 8)")
    _reading(parser)
    parser.add_argument("-o", "--out", metavar="FILE", help="write the plan as JSON")
    parser.add_argument("--plots", action="store_true", help="draw the plan beside it (as `plot FILE` does)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def _reading(parser: argparse.ArgumentParser) -> None:
    """What a file of a network may leave open."""
    parser.add_argument("--rate", metavar="RATE", help="GraphML: of links without one (default: 10Gbps)")
    parser.add_argument("--delay", metavar="TIME", help="GraphML, SNDlib: without positions (default: 1ms)")
    parser.add_argument("--unit", metavar="RATE", help="SNDlib: what its numbers count (default: 1Mbps)")
    parser.add_argument("--modules", type=positive, metavar="N", help="SNDlib: modules of a bare link (default: 1)")


def _instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=positive, metavar="N", help="of a semi-random network (default: 50)")
    parser.add_argument("--degree", type=float, metavar="X", help="its mean cables of a node (default: 4)")
    parser.add_argument("--topology", metavar="FILE", help="demands on this network instead, as of `solve admission`")
    parser.add_argument("--demands", type=positive, metavar="N", help="how many (default: 2000)")
    parser.add_argument("--gravity", action="store_true", help="one a pair, by the product of their capacities")
    parser.add_argument("--load", type=float, default=1.0, metavar="X", help="bandwidth x hops of the demands over the "
                        "rates of all links (default: 1)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    _reading(parser)
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="edges.csv and demands.csv go here")


def call(options: argparse.Namespace) -> int:
    return _solve(options) if options.what == "admission" else _write_instance(options)


def _solve(options: argparse.Namespace) -> int:
    started = time.monotonic()
    problem, topology, demands, limits = _asked(options, started)

    from analysis.admission.plan_file import content, text
    from analysis.admission.plan_text import plan_text
    from analysis.admission.watched import Watched
    from analysis.predict import write_whole

    try:
        with Watched(limits.seconds, options.quiet) as bar:
            plan = _plan(problem, limits, options, bar.step)
    except KeyboardInterrupt:
        print("interrupted before there was a plan; nothing was written", file=sys.stderr)
        return INTERRUPTED
    known = content(plan, topology, demands.id, _options(options, limits))
    if options.out:
        write_whole(Path(options.out), text(known))
    print(plan_text(known), flush=True)
    if options.plots:
        from analysis.plots.plans import plot_plans

        plot_plans([Path(options.out)])
    if plan.interrupted:
        where = f"; the best plan so far is in {options.out}, marked" if options.out else "; this is the best so far"
        print(f"interrupted{where}", file=sys.stderr)
        return INTERRUPTED
    if options.out and not options.quiet:
        print(f"plan in {options.out}", file=sys.stderr)
    return DONE


def _write_instance(options: argparse.Namespace) -> int:
    from analysis.predict import write_whole
    from models import demands as demand_files
    from models.builders import edges_writer
    from models.errors import InputError, Problem
    from models.instances import load_of

    faults = _wrong_instance(options)
    made = _made(options, faults)
    if made is None or faults:
        raise InputError(faults)
    topology, demands = made
    folder = Path(options.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError([Problem(options.out, 0, 0, f"can't write here: {error.strerror}")]) from None
    if options.topology is None:
        write_whole(folder / "edges.csv", edges_writer.written(topology))
        switches = topology.nodes - topology.hosts
        print(f"{folder / 'edges.csv'}: {switches} nodes with a host each, {topology.links // 2 - switches} cables")
    demand_files.write(folder / "demands.csv", demands, topology)
    total = float(demands.bandwidth.sum()) / 1e9
    said = f"{len(demands.id):,} demands, {total:.4g} Gbps together, load {load_of(topology, demands):.4g}"
    print(f"{folder / 'demands.csv'}: {said}")
    return DONE


def _wrong_instance(options: argparse.Namespace) -> list[Fault]:
    from models.errors import Problem

    faults = []
    if options.topology is not None:
        faults += [
            Problem(f"--{name}", 0, 0, "is of a semi-random network, not of --topology")
            for name in ("nodes", "degree")
            if getattr(options, name) is not None
        ]
    if options.gravity and options.demands is not None:
        faults.append(Problem("--demands", 0, 0, "has no effect with --gravity: there is one a pair"))
    if options.seed < 0:
        faults.append(Problem("--seed", 0, 0, f"{options.seed} is negative"))
    if not 0 < options.load < math.inf:
        faults.append(Problem("--load", 0, 0, f"{options.load:g} is not above 0"))
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        faults.append(Problem(options.out, 0, 0, "is no folder"))
    for name in ("edges.csv", "demands.csv"):
        if (folder / name).exists() and (name == "demands.csv" or options.topology is None):
            faults.append(Problem(str(folder / name), 0, 0, "exists and is not replaced; choose another -o"))
    return faults


def _made(options: argparse.Namespace, faults: list[Fault]) -> tuple[Topology, Demands] | None:
    """Network and demands; None with faults. What can't be made begins its message with the option's name."""
    from models.errors import InputError, Problem
    from models.instances import gravity_demands, random_demands, semi_random

    try:
        if options.topology is not None:
            topology = _network(Path(options.topology), _left_open(options, faults))
        else:
            _left_open(options, faults)
            degree = 4.0 if options.degree is None else options.degree
            topology = semi_random(options.nodes or 50, degree, max(options.seed, 0))
        if faults:
            return None
        if options.gravity:
            return topology, gravity_demands(topology, options.seed, load=options.load)
        return topology, random_demands(topology, options.demands or 2000, options.load, options.seed)
    except InputError as error:
        faults += error.problems
    except ValueError as error:
        name = str(error).partition(" ")[0]
        place = f"--{name}" if name in ("nodes", "degree", "load", "demands") else options.topology or "solve instance"
        faults.append(Problem(place, 0, 0, str(error)))
    return None


def _plan(problem: Problem, limits: Limits, options: argparse.Namespace, watch: Callable[[Step], None]) -> Plan:
    from solvers.admission import solve

    return solve(
        problem,
        options.method,
        limits,
        form=_chosen(options, "form"),
        solver=_chosen(options, "solver"),
        path=_chosen(options, "path"),
        bound=True,
        watch=watch,
    )


def _chosen(options: argparse.Namespace, name: str) -> Any:
    return getattr(options, name) or _CHOICES[name][0]


def _options(options: argparse.Namespace, limits: Limits) -> dict[str, Any]:
    """What the plan answers to, for its file: all that the result depends on."""
    known = {"topology": Path(options.topology).name, "demands": Path(options.demands or options.topology).name}
    known |= {"strict": options.strict, "all": options.all, "seed": options.seed, "paths": options.paths or _PATHS}
    known |= {name: _chosen(options, name) for name in _CHOICES if options.method in _ONLY.get(name, _METHODS)}
    limit = {"time_limit": options.time_limit, "nodes": limits.nodes, "generations": limits.generations}
    return known | {name: value for name, value in limit.items() if value is not None}


def _asked(options: argparse.Namespace, started: float) -> tuple[Problem, Topology, Demands, Limits]:
    """The problem. InputError with the faults of options, network and demands together."""
    from models.errors import InputError

    faults = _wrong_options(options)
    seconds = _quantity(options.time_limit, "time", "--time-limit", faults)
    read = _read(options, faults)
    if read is None or faults:
        raise InputError(faults)
    topology, demands, candidates = read

    from solvers.admission.build import problem_of
    from solvers.admission.problem import Limits

    required = [True] * len(demands.id) if options.all else None
    problem = problem_of(topology, demands, candidates, required=required, strict=options.strict)
    left = None
    if seconds is not None:
        # where kernels had to be compiled first the solver still gets its share
        left = max(seconds / 1e12 - (time.monotonic() - started), seconds / 1e13)
    limits = Limits(left, options.nodes, options.generations, options.seed)
    return problem, topology, demands, limits


def _wrong_options(options: argparse.Namespace) -> list[Fault]:
    from models.errors import Problem, nearest

    faults = []
    if options.method not in _METHODS:
        faults.append(Problem("--method", 0, 0, f"no method '{options.method}'{nearest(options.method, _METHODS)}"))
    for name, valid in _CHOICES.items():
        given = getattr(options, name)
        if given is not None and given not in valid:
            faults.append(Problem(f"--{name}", 0, 0, f"there is no '{given}'{nearest(given, valid)}"))
    for name, methods in _ONLY.items():
        if getattr(options, name) is not None and options.method in _METHODS and options.method not in methods:
            faults.append(Problem(f"--{name}", 0, 0, f"is for --method {methods[0]}, not for {options.method}"))
    if options.form == "arc":
        for name in ("paths", "by", "protection"):
            if getattr(options, name) is not None:
                faults.append(Problem(f"--{name}", 0, 0, "has no effect with --form arc, which finds paths itself"))
    if options.seed < 0:
        faults.append(Problem("--seed", 0, 0, f"{options.seed} is negative"))
    return faults + _wrong_out(options)


def _wrong_out(options: argparse.Namespace) -> list[Fault]:
    from models.errors import Problem

    if options.out is None:
        return [Problem("--plots", 0, 0, "draws the plan beside its file; give -o FILE")] if options.plots else []
    path = Path(options.out)
    if path.suffix != ".json":
        return [Problem(options.out, 0, 0, "a plan is written as JSON; name a file that ends in .json")]
    if not path.parent.is_dir():
        return [Problem(options.out, 0, 0, f"there is no folder '{path.parent}'")]
    return [Problem(options.out, 0, 0, "is a folder")] if path.is_dir() else []


def _quantity(text: str | None, dimension: str, option: str, faults: list[Fault]) -> int | None:
    """The quantity, which must be above 0; None where it was not given or is a fault."""
    from models.errors import Problem
    from models.units import parse

    if text is None:
        return None
    try:
        value = parse(text, dimension)
    except ValueError as error:
        faults.append(Problem(option, 0, 0, str(error)))
        return None
    if value == 0:
        faults.append(Problem(option, 0, 0, "must be above 0"))
        return None
    return value


def _read(options: argparse.Namespace, faults: list[Fault]) -> tuple[Topology, Demands, Candidates] | None:
    """Network, demands and their ways; None with faults."""
    from models.demands import read, refuse_impossible
    from models.errors import InputError, Problem
    from models.network_files import is_sndlib, own_demands

    path, left_open = Path(options.topology), _left_open(options, faults)
    if options.demands is None and not is_sndlib(path):
        faults.append(Problem("--demands", 0, 0, f"is due: {path.name} holds no demands"))
    try:
        topology = _network(path, left_open)
        if options.demands is not None:
            demands = read(Path(options.demands), topology)
        elif is_sndlib(path):
            demands = own_demands(path, topology, left_open)
        else:
            return None
        if any(fault.file in ("--by", "--protection") for fault in faults):
            return None

        from models.candidates import Candidates

        paths = options.paths or _PATHS
        candidates = Candidates(topology, paths, _chosen(options, "by"), _chosen(options, "protection"))
        refuse_impossible(demands, candidates, topology.link_rate)
    except InputError as error:
        faults += error.problems
        return None
    return topology, demands, candidates


def _left_open(options: argparse.Namespace, faults: list[Fault]) -> Open:
    from models.errors import Problem
    from models.network_files import Open, is_sndlib

    path = Path(options.topology or "")
    graphml, sndlib = path.suffix.lower() == ".graphml", is_sndlib(path)
    for name, known in (("rate", graphml), ("delay", graphml or sndlib), ("unit", sndlib), ("modules", sndlib)):
        if getattr(options, name) is not None and not known:
            faults.append(Problem(f"--{name}", 0, 0, f"has no effect on {path.name or 'a network'} of this format"))
    given = {
        "rate": _quantity(options.rate, "rate", "--rate", faults),
        "delay": _quantity(options.delay, "time", "--delay", faults),
        "unit": _quantity(options.unit, "rate", "--unit", faults),
        "modules": options.modules,
    }
    return Open(**{name: value for name, value in given.items() if value is not None})


def _network(path: Path, left_open: Open) -> Topology:
    """The network of a file; of a scenario its fabric."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        from models.network_files import read

        return read(path, left_open)
    from models.errors import InputError, Problem
    from sim.scenario.fabric import prepare
    from sim.scenario.load import load

    first, *others = prepare(load(path))
    if any(other is not first for other in others):
        raise InputError([Problem(str(path), 0, 0, "has variants with other fabrics; give a scenario with one")])
    return first
