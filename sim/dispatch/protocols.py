"""What a policy of each level must offer, as typing.Protocol. One file holds one policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import (
    ControllerParams,
    Exchange,
    Flow,
    Incoming,
    Layout,
    Message,
    PathFacts,
    Piece,
    Plan,
    PolicyParams,
    Problem,
    RouterParams,
)
from sim.dispatch.request_view import RequestView
from sim.dispatch.views import AdmissionView, Batch, ExpertView, PathView
from solvers.expert_plan import ExpertPlan, Traffic


class PathPolicy(Protocol):
    """``Policy(params, view)`` of a file in ``path/``. Called for every batch of flows that start from one host.

    ``batch_timer`` ps: how long a host gathers flows before it asks (0: at once). ``jitter`` ps: each piece starts
    after a further uniform delay of 0..jitter. ``reroutes``: routing moves a flow of this policy off a dead path once
    tables have converged. ``on_timeout`` where the policy reacts to a retransmission timeout itself.
    """

    batch_timer: int
    jitter: int
    reroutes: bool

    def __init__(self, params: PolicyParams, view: PathView) -> None: ...

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> Sequence[Sequence[Piece]]:
        """The pieces of each flow, in order. Their bytes sum to the flow's; each path leads from its src to its dst."""
        ...


class ReactsToTimeout(Protocol):
    """A path policy that moves a piece when its retransmission timer runs out (Ethereal's failed-path timer)."""

    def on_timeout(self, flow: Flow, path: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
        """The path to go on with (the same one is a legal answer)."""
        ...


class PacketPolicy(Protocol):
    """A module in ``packet/``: ``Params``, ``pick`` (compiled, see ``sim/engine/signatures.py``), ``state``.

    ``uses_queues``: whether ``pick`` reads the candidates' queues (they are computed only then). What may be absent:
    ``uses_loads``, the same of the links' loads, which fade by ``load_alpha(params)`` every ``load_period(params)`` ps;
    ``uses_buffer``, ``state`` gets the bytes of a port's buffer as one more argument; ``learn``, with ``stamps``
    ("loads" or "queues") saying what packets gather the largest of on their way; ``tick``, called every
    ``period(params)`` ps.
    """

    uses_queues: bool

    def state(self, topology: Topology, params: PolicyParams, key: int) -> NDArray[np.int64]:
        """The policy's memory at the start. ``key`` is a 63-bit random number of this run and policy."""
        ...


class HostPolicy(Protocol):
    """A module in ``packet/`` whose hosts choose entropies, which switches hash: as above, but ``pick`` is None.

    ``spread`` chooses the entropy of a packet, ``hear`` (may be absent) is told what became of it.
    """

    uses_queues: bool

    def memory(self, topology: Topology, params: PolicyParams, window: int, key: int) -> NDArray[np.int64]:
        """What each flow's own memory begins with. ``window``: packets that a flow may have in flight at first."""
        ...


class CongestionControl(Protocol):
    """A module in ``transport/``: ``Params``, ``react`` (compiled, see ``sim/engine/signatures.py``), ``memory``.

    What may be absent: ``uses_telemetry``, ACKs bring what each link noted when the packet left it; ``uses_sent``,
    ``react`` is called for packets sent too; ``marking(params, facts)``, the kmin, kmax (bytes) and pmax that it wants
    where the scenario has no ``ecn``, or None; ``options(params, facts)``, what the transport around it does, by name
    (credit, credit_share, credit_packets, ack_every, reorder; see ``sim/network/settings.py``).
    """

    def memory(self, params: PolicyParams, facts: PathFacts) -> NDArray[np.float64]:
        """What a flow begins with: window, rate, timer, then words of its own; the same number for all facts."""
        ...


class CollectivePolicy(Protocol):
    """``Policy(params)`` of a file in ``collective/``: an algorithm for some operations.

    With ``uses_layout = True`` (absent: False) ``problem`` and ``schedule`` get the group's ``Layout`` as one more
    argument; ``problem`` also without it, where it is not known yet. With ``launches_phases = True`` (absent: False)
    what waits for a gate is a kernel of its own, which costs a launch. With ``cut_through = True`` (absent: False) a
    rank passes on data while they are still coming in; something of it waits until they are complete.
    """

    operations: frozenset[str]

    def __init__(self, params: PolicyParams) -> None: ...

    def problem(self, operation: str, ranks: int) -> str | None:
        """Why this operation can't run on so many ranks, or None."""
        ...

    def schedule(self, operation: str, ranks: int, size: int) -> tuple[list[Message], list[int]]:
        """Messages between ranks 0..ranks-1 and, per gate, how many arrivals open it."""
        ...


class CarriesTokens(Protocol):
    """A collective policy that takes the tokens of a mixture of experts to their ranks, and the results back.

    ``messages``: the message profile that its messages have unless the scenario names another. ``needs_counts``
    (absent: True): ranks tell each other first how much is coming, two small collectives.
    """

    messages: str

    def exchange(self, traffic: Traffic, layout: Layout, token_bytes: int, back: bool) -> Exchange:
        """The messages of one dispatch, or with ``back`` of its combine.

        ``traffic`` is the dispatch's in both: copies of source rank s computed on rank d, and the distinct tokens among
        them by rank and by node. ``token_bytes`` is the size of a token, or of one result. What a rank has for itself
        is no message.
        """
        ...


class ExpertPolicy(Protocol):
    """``Policy(params, view)`` of a file in ``expert/``: which rank computes which copies, layer by layer.

    ``gate``: it chooses the experts itself and gets scores; else it gets the gate's choices. What it learns from batch
    to batch it keeps in itself, by layer. It is made before a run too: InputError says why it can't work on this model
    and group. ``plan`` is asked once for each layer of a step, in order, and ``planner_us`` after each plan. ``bound``
    (absent: none) is asked by the contract kit.
    """

    gate: bool

    def __init__(self, params: PolicyParams, view: ExpertView) -> None: ...

    def plan(self, batch: Batch) -> ExpertPlan: ...

    def planner_us(self, batch: Batch) -> float:
        """Microseconds for which every rank waits for the plan of this batch."""
        ...


class AdmissionPolicy(Protocol):
    """``Policy(params, view)`` of a file in ``admission/``: which demands are admitted, on which of their ways.

    Its ``Params`` derive from ``ControllerParams``. A problem holds the new demands of a decision and those that are
    admitted already (``current``). The controller proves every plan before it takes effect; one that breaks a rule ends
    the run.
    """

    def __init__(self, params: ControllerParams, view: AdmissionView) -> None: ...

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan: ...


class PlansInParallel(Protocol):
    """An admission policy of several agents, each of which plans alone and commits to the shared state.

    An agent plans on the state as it was when it began, for as long as its decision takes; what no longer fits
    when it commits is a conflict: the demand is planned again, at most ``retries`` times, and then rejected.
    """

    agents: int
    retries: int

    def agent_of(self, demand: int, src: int, dst: int, priority: int) -> int:
        """The agent that decides about a demand: its number in order of arrival, its nodes and its priority."""
        ...


class RequestPolicy(Protocol):
    """``Policy(params, view)`` of a file in ``request/``: the replica of a request. Each copy of a router has its own.

    Its ``Params`` derive from ``RouterParams``. ``replicas`` are those that may take the request, by rising number; at
    least one. What of the protocols below a policy has, it is told or asked too.
    """

    def __init__(self, params: RouterParams, view: RequestView) -> None: ...

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        """One of ``replicas``, HOLD (it is asked again when a report or an end comes) or REJECT."""
        ...


class HearsOfDecisions(Protocol):
    def sent(self, request: Incoming, replica: int) -> None:
        """This decision took effect: neither held nor rejected."""
        ...


class HearsOfEnds(Protocol):
    def finished(self, request: int, replica: int, ttft: int, e2e: int) -> None:
        """A request of this copy has its last token; ps since it arrived at the router."""
        ...


class SplitsRequests(Protocol):
    """A policy that decides whether a prompt is computed on a prefill replica and its output on another.

    Absent: wherever there are prefill replicas. It is asked before the replica is chosen.
    """

    def splits(self, request: Incoming, rng: np.random.Generator) -> bool: ...
