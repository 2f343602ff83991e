"""Ethereal: single paths with the least splitting that loads every path as evenly as packet spraying does.

Source: Addanki, Goyal, Marinos, Schmid, "Ethereal: Divide and Conquer Network Load Balancing in Large-Scale
Distributed Training", arXiv 2407.00550v2, and the authors' simulator code. No host knows of another's flows.

A host gathers flows for ``batch_timer``; flows inside one leaf do not wait. The flows to one destination leaf are a
batch: its flows and its live paths are shuffled, whole flows are dealt over the paths round robin, and each left-over
is cut (``solvers/splitting.py``). Every piece starts after a further uniform delay of 0..``jitter``. The authors'
shuffle of the leaves only orders the starts, which the jitter does here.

Unequal sizes, which the authors exclude: flows whose sizes differ by at most a byte count as equal (chunks of a
collective that its ranks do not divide); each such group, largest first, is a batch of its own, dealt on from the path
after the last. A lone flow is therefore cut into as many pieces as there are paths.

Failed paths: a piece whose retransmission timer runs out marks (destination leaf, path) failed at its source host for
``failed_path_timeout`` and goes on over a random live path, one without any fabric link of the old where there is one.
If all paths are marked, all are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.dispatch.api import Field, Flow, Piece, PolicyParams, Time
from sim.dispatch.path._equal_cost import EqualCost, Path
from sim.dispatch.views import PathView
from solvers.splitting import equal_groups, split


class Params(PolicyParams):
    batch_timer: Time = Field(default=100_000, description="How long a host gathers flows before it assigns them.")
    jitter: Time = Field(default=50_000, description="Each piece starts after a further uniform delay up to this.")
    failed_path_timeout: Time = Field(default=10**11, description="How long a path that timed out is not used.")


class Policy:
    reroutes = True  # once tables have converged; before that a timeout moves a piece

    def __init__(self, params: Params, view: PathView) -> None:
        self.batch_timer = params.batch_timer
        self.jitter = params.jitter
        self._timeout = params.failed_path_timeout
        self._view = view
        self._paths = EqualCost(view)
        # (source host, batch of destinations) -> path without its hosts' links -> until when it is not used, ps
        self._failed: dict[tuple[int, int], dict[Path, int]] = {}

    def at_once(self, flow: Flow) -> bool:
        """Whether a flow need not wait for the batch timer: both hosts hang on one leaf."""
        self._paths.refresh()
        return self._paths.local(flow.src, flow.dst)

    def _live(self, src: int, dst: int) -> list[int]:
        """Numbers of the paths that are not marked failed; all if all are."""
        ways = self._paths.ways(src, dst)
        every = list(range(len(ways)))
        marks = self._failed.get((src, self._paths.batch(src, dst)))
        if not marks:
            return every
        now = self._view.now
        for way in [way for way, until in marks.items() if until <= now]:
            del marks[way]
        return [number for number in every if ways[number] not in marks] or every

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        self._paths.refresh()
        result: list[list[Piece]] = [[] for _ in flows]
        batches: dict[tuple[int, int], list[int]] = {}
        for at, flow in enumerate(flows):
            batches.setdefault((flow.src, self._paths.batch(flow.src, flow.dst)), []).append(at)
        for batch in batches.values():
            self._assign_batch(flows, batch, result, rng)
        return result

    def _assign_batch(
        self, flows: Sequence[Flow], batch: list[int], result: list[list[Piece]], rng: np.random.Generator
    ) -> None:
        """Fill ``result`` for the flows at positions ``batch``: one source, one destination leaf."""
        src = flows[batch[0]].src
        live = self._live(src, flows[batch[0]].dst)
        if len(live) < 2:
            for at in batch:
                path = self._paths.paths(src, flows[at].dst, live) if live else [()]
                result[at] = [Piece(flows[at].bytes, path[0])]
            return
        live = [live[number] for number in rng.permutation(len(live)).tolist()]
        if len(batch) > 1:
            batch = [batch[number] for number in rng.permutation(len(batch)).tolist()]
        sizes = [flows[at].bytes for at in batch]
        slot = 0
        for positions in equal_groups(sizes):
            plan, slot = split([sizes[position] for position in positions], len(live), slot)
            for position, parts in zip(positions, plan, strict=True):
                dst = flows[batch[position]].dst
                paths = self._paths.paths(src, dst, [live[number] for _, number in parts])
                result[batch[position]] = [Piece(part[0], path) for part, path in zip(parts, paths, strict=True)]

    def on_timeout(self, flow: Flow, path: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
        """Mark the path failed and give a random live one; the same if there is no other."""
        self._paths.refresh()
        between = self._paths.between
        marks = self._failed.setdefault((flow.src, self._paths.batch(flow.src, flow.dst)), {})
        marks[between(path)] = self._view.now + self._timeout
        live = self._paths.paths(flow.src, flow.dst, self._live(flow.src, flow.dst))
        others = [other for other in live if other != path]
        fabric = set(between(path))
        apart = [other for other in others if fabric.isdisjoint(between(other))]
        choices = apart or others
        return choices[int(rng.integers(len(choices)))] if choices else path
