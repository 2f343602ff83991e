"""What a policy may see of the world: read-only, every changing number with its age."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from sim.dispatch.api import Piece
from solvers.expert_plan import expert_counts


class PathView:
    """The view of a path policy.

    ``routes`` are the equal-cost paths that the tables know now; it is another object after every convergence.
    ``loads`` [links] are the outstanding payload bytes of the pieces that dispatch has put on each link (pieces without
    a fixed path are not in it); they are ``load_age`` ps old. ``key`` is a 63-bit random number of the stream
    ``dispatch/path``, for hashing.
    """

    __slots__ = ("_edge", "_load", "_now", "key", "load_age", "loads", "routes", "topology")

    def __init__(self, topology: Topology, routes: Routes, key: int, now: Callable[[], int]) -> None:
        self.topology = topology
        self.routes = routes
        self.key = key
        self.load_age = 0
        self._now = now
        self._edge: list[int] = topology.edge_of_host.tolist()
        # one memory under two faces: quick to update from Python, an array for kernels
        self._load = array("q", bytes(8 * topology.links))
        self.loads: NDArray[np.int64] = np.frombuffer(self._load, dtype=np.int64)
        self.loads.flags.writeable = False

    @property
    def now(self) -> int:
        """ps"""
        return self._now()

    def edge(self, host: int) -> int:
        """The node that the host hangs on: its edge switch."""
        return self._edge[host]

    def load(self, link: int) -> int:
        """Outstanding payload bytes on a link."""
        return self._load[link]

    def added(self, pieces: Iterable[Piece]) -> None:
        """For the keeper of the flows: these pieces have started."""
        load = self._load
        for size, path in pieces:
            if path is not None:
                for link in path:
                    load[link] += size

    def removed(self, pieces: Iterable[Piece]) -> None:
        """For the keeper of the flows: these pieces have ended or left their path."""
        load = self._load
        for size, path in pieces:
            if path is not None:
                for link in path:
                    load[link] -= size


class AdmissionView:
    """The view of an admission policy: the network as the controller knows it when a decision begins.

    ``up`` [links] is what it has heard of, ``free`` [links] the bit/s that are not reserved (0 on links that are down);
    both are ``age`` ps old. What the policy decides about comes as a ``Problem`` with each decision.
    """

    __slots__ = ("_now", "age", "free", "topology", "up")

    def __init__(self, topology: Topology, now: Callable[[], int]) -> None:
        self.topology = topology
        self.up: NDArray[np.bool_] = np.ones(topology.links, dtype=np.bool_)
        self.free: NDArray[np.int64] = topology.link_rate.copy()
        self.age = 0
        self._now = now

    @property
    def now(self) -> int:
        """ps"""
        return self._now()


@dataclass(frozen=True)
class ExpertView:
    """The view of an expert policy: the group of ranks that share the experts of a layer. Nothing of it changes.

    ``native`` [N] is the rank that holds each expert from the start: consecutive blocks of N / P. ``rng`` is the
    policy's own generator. Loads come with each batch, and are those of that batch.
    """

    ranks: int  # P
    node: NDArray[np.int64]  # [P] scale-up domain of each rank, from 0
    experts: int  # N
    top_k: int  # K
    groups: int  # expert groups of the model (consecutive experts); 1 if it has none
    native: NDArray[np.int64]  # [N]
    rng: np.random.Generator

    @property
    def nodes(self) -> int:
        return int(self.node.max()) + 1


@dataclass(frozen=True)
class Batch:
    """What the tokens of one step ask of one layer with experts (both from 0); tokens are numbered rank-major.

    Either ``choices`` [T, K], or for a policy with ``gate`` the ``scores`` [T, N] of which it chooses: above 0, each
    row summing to 1.
    """

    step: int
    layer: int
    tokens_per_rank: NDArray[np.int64]  # [P]
    choices: NDArray[np.int32] | None
    scores: NDArray[np.float32] | None = None
    _counts: list[NDArray[np.int64]] = field(default_factory=list, repr=False, compare=False)

    def counts(self, experts: int) -> NDArray[np.int64]:
        """[P, N] copies of each rank for each expert, of the ``choices``. ValueError if there are none."""
        if self.choices is None:
            raise ValueError("a batch of scores has no choices yet")
        if not self._counts:
            self._counts.append(expert_counts(self.choices, self.tokens_per_rank, experts))
        return self._counts[0]
