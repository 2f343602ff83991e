"""Checks of a path policy: it is asked for the paths of flows and batches on small fabrics, while links go down."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from models.paths import Routes
from models.topology import Topology
from sim.dispatch import api
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.kit.worlds import World, path_worlds
from sim.dispatch.registry import Policy
from sim.dispatch.views import PathView

_SEED, _KEY = 20_407, 0x1234_5678_9ABC
_SHAPE = "answers: a list of pieces for each flow, each of some bytes and a tuple of links or None"
_BYTES = "bytes: the pieces sum exactly to the flow"
_PATHS = "paths: from source to destination over existing links, no node twice"
_DOWN = "paths: no link that tables believe to be down"
_APART = "unreachable destination: an empty path or None, no exception"
_SAME = "same seed, same answer"
_GLOBAL = "no draw from global generators"
_VIEW = "view and flows left as they were"
_TIMEOUT = "on_timeout: a path from source to destination"
_CHECKS = (_SHAPE, _BYTES, _PATHS, _DOWN, _APART, _VIEW, _GLOBAL, _SAME)

Answers = list[tuple[api.Flow, Any]]


def check_path(report: Report, policy: Policy) -> None:
    """All checks of the level, on every fabric."""
    shared = GlobalRandomness()
    if not report.run("Policy(params, view): batch_timer, jitter, reroutes", lambda: _attribute_faults(policy)):
        return
    faults: dict[str, list[str]] = {what: [] for what in (*_CHECKS, _TIMEOUT)}
    flows = pieces = 0
    spent = 0.0
    reacts = hasattr(policy.module.Policy, "on_timeout")
    for world in path_worlds():
        trials = []
        for _ in range(2):
            trial = _Trial(policy, world, faults)
            try:
                trial.run(reacts)
            except Exception as error:  # the policy's code
                faults[trial.doing].append(f"{world.name}: {report.explain(error)}")
                break
            trials.append(trial)
        if len(trials) == 2:
            if trials[0].answers != trials[1].answers:
                faults[_SAME].append(f"{world.name}: a fresh policy with the same seed answered otherwise")
            flows += len(trials[0].answers)
            pieces += sum(len(own) for _, own in trials[0].answers if isinstance(own, Sequence))
            spent += trials[1].seconds
    faults[_GLOBAL] += shared.faults()
    for what in _CHECKS + ((_TIMEOUT,) if reacts else ()):
        report.check(what, faults[what])
    report.note("fabrics", ", ".join(world.name for world in path_worlds()))
    if flows:
        took = 1e6 * spent / flows
        report.note("flows", f"{flows}, in {pieces / flows:.2f} pieces each, {took:.1f} us a flow (small fabrics)")
    if not reacts:
        report.note("on_timeout", "not there: a flow keeps its path until routing has converged")


def _attribute_faults(policy: Policy) -> Iterator[str]:
    world = path_worlds()[0]
    instance = policy.module.Policy(policy.Params(), _view(world, Routes(world.topology)))
    for name in ("batch_timer", "jitter"):
        value = getattr(instance, name, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"'{name}' must be an integer of ps, 0 or more; it is {value!r}"
    if not isinstance(getattr(instance, "reroutes", None), bool):
        yield "'reroutes' must be True or False"


def _view(world: World, routes: Routes) -> PathView:
    return PathView(world.topology, routes, _KEY, lambda: 0)


def batches(topology: Topology, unreachable: int | None = None) -> Iterator[list[tuple[int, int, int]]]:
    """Lists of (src, dst, bytes), each of one source, as hosts ask: single flows, equal ones, mixed and tiny ones."""
    draw = np.random.Generator(np.random.PCG64(7))
    hosts = topology.hosts
    others = [[dst for dst in range(hosts) if dst != src] for src in range(hosts)]
    for _ in range(24):
        src = int(draw.integers(hosts))
        yield [(src, int(draw.choice(others[src])), int(draw.integers(1, 10**7)))]
    for src in (0, hosts // 2, hosts - 1):
        yield [(src, dst, 120_000) for dst in others[src]]
        yield [(src, dst, 1000 + position) for position, dst in enumerate(others[src])]
        yield [(src, dst, 1) for dst in others[src]]
        yield [(src, others[src][0], 10**9)] * 3
    if unreachable is not None:
        yield [(0, unreachable, 5000)]


class _Trial:
    """One fresh policy on one fabric. Faults are added to ``faults`` by check; ``answers`` are kept to be compared."""

    def __init__(self, policy: Policy, world: World, faults: dict[str, list[str]]) -> None:
        self.world, self.faults = world, faults
        self.doing = _SHAPE
        self.routes = Routes(world.topology, world.up(late=False))
        self.view = _view(world, self.routes)
        self.before = _frozen(self.view, self.routes)
        self.rng = np.random.default_rng(_SEED)
        self.policy = policy.module.Policy(policy.Params(), self.view)
        self.answers: Answers = []
        self.seconds = 0.0

    def fault(self, what: str, text: str) -> None:
        self.faults[what].append(f"{self.world.name}: {text}")

    def run(self, reacts: bool) -> None:
        alone = 5 if self.world.name == "an unreachable host" else None
        for late in (False, True) if self.world.later else (False,):
            if late:  # tables have converged
                self.routes = self.view.routes = Routes(self.world.topology, self.world.up(late=True))
                self.before = _frozen(self.view, self.routes)
            for batch in batches(self.world.topology, alone):
                self._ask(batch)
                if reacts:
                    self._time_out()

    def _ask(self, batch: list[tuple[int, int, int]]) -> None:
        first = len(self.answers)
        flows = [api.Flow(first + at, src, dst, size, 0) for at, (src, dst, size) in enumerate(batch)]
        given, loads = list(flows), self.view.loads.tobytes()
        apart = [flow for flow in flows if not self.routes.count(flow.src, flow.dst)]
        self.doing = _APART if apart else _SHAPE
        start = time.perf_counter()
        result = self.policy.assign(flows, self.rng)
        self.seconds += time.perf_counter() - start
        self._look_at_view(loads)
        if flows != given:
            self.fault(_VIEW, "the list of flows was changed")
        if not isinstance(result, Sequence) or len(result) != len(flows):
            self.fault(_SHAPE, f"assign gave {_short(result)} for {len(flows)} flows")
            result = []
        for flow, pieces in zip(given, result, strict=False):
            self.answers.append((flow, pieces))
            if self._well_formed(flow, pieces):
                self._check(flow, pieces)
        self.doing = _SHAPE

    def _look_at_view(self, loads: bytes) -> None:
        if self.view.loads.tobytes() != loads:
            self.fault(_VIEW, "the loads of the view were changed; they are the keeper's")
        changed = [name for name, value in _frozen(self.view, self.routes).items() if self.before[name] != value]
        if changed:
            self.fault(_VIEW, f"{', '.join(changed)} changed")
            self.before = _frozen(self.view, self.routes)

    def _well_formed(self, flow: api.Flow, pieces: Any) -> bool:
        if not isinstance(pieces, Sequence) or not pieces:
            self.fault(_SHAPE, f"flow {flow.id} has {_short(pieces)} instead of its pieces")
            return False
        for piece in pieces:
            if not isinstance(piece, api.Piece):
                self.fault(_SHAPE, f"{_short(piece)} is no Piece")
                return False
            if not isinstance(piece.bytes, (int, np.integer)) or isinstance(piece.bytes, bool) or piece.bytes < 1:
                self.fault(_SHAPE, f"a piece of {piece.bytes!r} bytes")
                return False
            if piece.path is None and len(pieces) > 1:
                self.fault(_SHAPE, "a piece without a path beside others; give each a path")
                return False
            if piece.path is not None and not _is_path(piece.path):
                self.fault(_SHAPE, f"the path {_short(piece.path)} is no tuple of link numbers")
                return False
        return True

    def _check(self, flow: api.Flow, pieces: Sequence[api.Piece]) -> None:
        total = sum(piece.bytes for piece in pieces)
        if total != flow.bytes:
            self.fault(_BYTES, f"the pieces of a flow of {flow.bytes} B have {total} B")
        reachable = self.routes.count(flow.src, flow.dst) > 0
        for piece in pieces:
            if piece.path is None:
                continue
            if not reachable:
                if piece.path != ():
                    self.fault(_APART, f"a path {piece.path} where none leads to the destination")
                continue
            wrong = path_fault(self.world.topology, flow.src, flow.dst, piece.path)
            if wrong:
                self.fault(_PATHS, wrong)
            elif not self.routes.up[list(piece.path)].all():
                dead = [link for link in piece.path if not self.routes.up[link]]
                self.fault(_DOWN, f"{self.world.topology.link_name[dead[0]]} is down")
        # the next batch sees these under way, as in a run
        self.view.added([piece for piece in pieces if piece.path and not _beyond(self.world.topology, piece.path)])

    def _time_out(self) -> None:
        """The last flow's first piece lost its packets: where does it go on?"""
        if not self.answers:
            return
        flow, pieces = self.answers[-1]
        if not isinstance(pieces, Sequence) or not pieces or not isinstance(pieces[0], api.Piece) or not pieces[0].path:
            return
        self.doing = _TIMEOUT
        path = self.policy.on_timeout(flow, pieces[0].path, self.rng)
        self.doing = _SHAPE
        self.answers.append((flow, path))
        if not _is_path(path):
            self.fault(_TIMEOUT, f"{_short(path)} is no tuple of link numbers")
            return
        wrong = path_fault(self.world.topology, flow.src, flow.dst, path)
        if wrong:
            self.fault(_TIMEOUT, wrong)


def path_fault(topology: Topology, src: int, dst: int, path: tuple[int, ...]) -> str | None:
    """Why links don't lead from one host to the other without a loop, or None."""
    names = topology.node_name
    way = f"{names[src]} to {names[dst]}"
    if not path:
        return f"no links from {way}, though there are paths"
    if _beyond(topology, path):
        return f"{path} has links that are not there; links are 0..{topology.links - 1}"
    nodes = [int(topology.link_src[path[0]]), *(int(topology.link_dst[link]) for link in path)]
    if (nodes[0], nodes[-1]) != (src, dst):
        return f"a path from {names[nodes[0]]} to {names[nodes[-1]]} for a flow from {way}"
    if any(int(topology.link_dst[a]) != int(topology.link_src[b]) for a, b in pairwise(path)):
        return f"from {way}: {', '.join(topology.link_name[link] for link in path)} do not follow each other"
    if len(set(nodes)) < len(nodes):
        return f"from {way} by way of a node twice: {'>'.join(names[node] for node in nodes)}"
    if topology.nodes > topology.hosts and any(node < topology.hosts for node in nodes[1:-1]):
        return f"from {way} through another host: {'>'.join(names[node] for node in nodes)}"
    return None


def _is_path(path: Any) -> bool:
    return isinstance(path, tuple) and all(
        isinstance(link, (int, np.integer)) and not isinstance(link, bool) for link in path
    )


def _beyond(topology: Topology, path: Sequence[int]) -> bool:
    return any(not 0 <= link < topology.links for link in path)


def _frozen(view: PathView, routes: Routes) -> dict[str, object]:
    """What a policy sees, in a form that can be compared."""
    topology = view.topology
    arrays = {name: getattr(topology, name).tobytes() for name in ("link_src", "link_dst", "link_rate", "link_delay")}
    own = {"view.routes": view.routes is routes, "view.key": view.key, "view.load_age": view.load_age}
    names = (tuple(topology.node_name), tuple(topology.cable_name))
    return {f"topology.{name}": value for name, value in arrays.items()} | own | {
        "names of the topology": names, "routes.up": routes.up.tobytes(), "topology.tier": topology.tier.tobytes(),
    }  # fmt: skip


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
