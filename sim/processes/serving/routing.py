"""Requests in the system, and the replicas that a router may choose from for each of them.

A request is routed whole, or in two stages: a prefill replica computes its prompt and its first token, then its KV
cache moves to a decode replica. Whole requests go to mixed replicas, or to decode ones where there are none; prefills
go to prefill replicas, or to mixed ones; decodes to decode replicas, or to mixed ones. Where a request has room only
whole, or only in two stages, it goes that way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, PREFILL, WHOLE
from sim.dispatch.router import Router
from sim.processes.serving import serving as roles
from sim.processes.serving.serving import Replica, Serving

# by stage: the roles that do it, the first one that there is
_DOES = {
    WHOLE: (roles.MIXED, roles.DECODE),
    PREFILL: (roles.PREFILL, roles.MIXED),
    DECODE: (roles.DECODE, roles.MIXED),
}


class Copy:
    """One copy of the router, and what it holds, in order: new requests, and those whose prompt is computed.

    The second ones don't wait behind the first: new ones may wait for the blocks that they occupy.
    """

    __slots__ = ("held", "router")

    def __init__(self, router: Router) -> None:
        self.router = router
        self.held: tuple[deque[Open], deque[Open]] = (deque(), deque())


class Open:
    """A request in the system. ``stage``: what is asked for, or is under way."""

    __slots__ = (
        *("copy", "moved", "number", "rank", "replica", "source", "source_rank", "stage", "target", "target_rank"),
        "there",
    )

    def __init__(self, number: int, copy: Copy, stage: int) -> None:
        self.number, self.copy, self.stage = number, copy, stage
        self.replica = -1  # where it is, or is on its way to
        self.rank = -1  # scheduler there
        self.there = False  # its scheduler has it
        self.source = -1  # the replica that prefilled it, while that keeps its KV cache
        self.source_rank = -1
        self.target = self.target_rank = -1  # where it will be decoded, if that is known while its prompt is computed
        self.moved = 0  # how often its way was changed: what was planned before is void


class Candidates:
    """The replicas that take requests now, by stage; those of one model where that is named."""

    def __init__(self, replicas: Sequence[Replica], models: Sequence[str]) -> None:
        """``models`` [pools]: names."""
        self._replicas, self._models = replicas, models
        here = {replica.role for replica in replicas}
        self.does = {stage: next((role for role in does if role in here), "") for stage, does in _DOES.items()}
        self.divided = bool(here & {roles.PREFILL, roles.DECODE})  # whether there are two stages
        self._found: dict[tuple[int, str], NDArray[np.int64]] = {}

    def changed(self) -> None:
        """Some replica's state is another."""
        self._found.clear()

    def of(self, stage: int, model: str = "") -> NDArray[np.int64]:
        """By rising number."""
        found = self._found.get((stage, model))
        if found is None:
            listed = [one.index for one in self.all_of(stage, model) if one.up]
            found = self._found[stage, model] = np.array(listed, dtype=np.int64)
        return found

    def all_of(self, stage: int, model: str = "") -> list[Replica]:
        """Whatever their state."""
        does, models = self.does[stage], self._models
        return [one for one in self._replicas if one.role == does and model in ("", models[one.pool])]


class Room:
    """Which replicas can ever take a request, by its tokens: those that it starts with, and all of them."""

    def __init__(self, serving: Serving, candidates: Candidates, models: Sequence[str]) -> None:
        """``models`` [pools]: names."""
        self._candidates = candidates
        self._tokens = [serving.schedulers.settings[replica.first].room for replica in serving.replicas]
        ends = {model: candidates.all_of(DECODE, model) for model in set(models)}
        most = {model: max((self._tokens[one.index] for one in ends[model]), default=0) for model in ends}
        self._after = [most[models[replica.pool]] for replica in serving.replicas]  # where its KV caches go
        self.surely = min(self._tokens)  # every replica takes so many

    def takes(self, replica: int, stage: int, start: int, tokens: int) -> bool:
        if stage == PREFILL:
            return start <= self._tokens[replica] and (tokens == start or tokens <= self._after[replica])
        return tokens <= self._tokens[replica]

    def able(self, stage: int, start: int, tokens: int) -> bool:
        """Whether some replica, up or not, takes it."""
        return any(self.takes(one.index, stage, start, tokens) for one in self._candidates.all_of(stage))
