"""All that a policy imports, ours or a user's: the base of its parameters, the data it sees and what it returns.

A policy file names one policy. Its level is its folder, or ``LEVEL = "path"`` in a user's file; its name is the file's
name, or ``NAME``. It holds ``class Params(PolicyParams)`` and what its level asks for (``sim/dispatch/protocols.py``).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sim.engine.words import (
    CUT,
    DOWN,
    FREE,
    GOOD,
    HOP_WORDS,
    LOST,
    MARKED,
    ON_ACK,
    ON_NACK,
    ON_SENT,
    ON_TIMEOUT,
    ON_TIMER,
    QUEUE,
    RATE,
    SENT,
    SPEED,
    TIME,
    TIMER,
    WINDOW,
)
from sim.scenario.quantities import Rate, Size, SizeOrAuto, Time, TimeOrAuto, TimeOrMeasured
from solvers.admission.plan import Plan
from solvers.admission.problem import Limits, Problem
from solvers.expert_plan import ExpertPlan, deal_evenly, deal_nearest, deal_ranges, expert_counts, native_plan

__all__ = [
    "CUT",
    "DOWN",
    "FREE",
    "GOOD",
    "HOP_WORDS",
    "LOST",
    "MARKED",
    "ON_ACK",
    "ON_NACK",
    "ON_SENT",
    "ON_TIMEOUT",
    "ON_TIMER",
    "QUEUE",
    "RATE",
    "SENT",
    "SPEED",
    "TIME",
    "TIMER",
    "WINDOW",
    "ControllerParams",
    "Exchange",
    "ExpertPlan",
    "Field",
    "Flow",
    "Layout",
    "Limits",
    "Message",
    "PathFacts",
    "Piece",
    "Plan",
    "PolicyParams",
    "Problem",
    "Rate",
    "RateOrAuto",
    "Size",
    "SizeOrAuto",
    "Time",
    "TimeOrAuto",
    "TimeOrMeasured",
    "congestion_control",
    "deal_evenly",
    "deal_nearest",
    "deal_ranges",
    "entropy_feedback",
    "entropy_policy",
    "expert_counts",
    "importance",
    "native_plan",
    "packet_policy",
    "periodic",
    "place",
    "switch_feedback",
]

RateOrAuto = Rate | Literal["auto"]


class PolicyParams(BaseModel):
    """Parameters of a policy: unknown keys are errors, values can't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ControllerParams(PolicyParams):
    """``time`` and ``time_per_demand`` model how long the controller thinks; with ``measured`` it is charged what the
    solver took on this machine, and two runs differ.

    The time per demand counts new and present ones. A decision begins when a demand waits and the controller is free,
    but not before ``epoch`` after the last one began; all that wait then are decided together.
    """

    epoch: Time = Field(0, description="least time between the begins of two decisions; 0: each demand at once")
    paths: int = Field(8, ge=1, le=1000, description="candidate paths of a pair: the k shortest")
    by: Literal["hops", "delay", "inverse_capacity"] = Field("hops", description="what is short")
    protection: Literal["none", "link", "node"] = Field("none", description="a second path that is disjoint")
    strict: bool = Field(False, description="priorities class by class, instead of as weights")
    preempt: bool = Field(False, description="an admitted demand makes room for one of higher priority; implies strict")
    moves: int = Field(0, ge=-1, description="admitted demands that a decision may move to other paths; -1: all")
    time: TimeOrMeasured = Field(0, description="time of a decision, or `measured`")
    time_per_demand: Time = Field(0, description="time of a decision for each demand in it")


class PathFacts(NamedTuple):
    """What a transport knows of the fabric when it starts: of the longest pair of hosts, and the slowest of its links.

    ``check`` prints them. Sizes in bytes, times in ps.
    """

    rtt: int  # unloaded: a full packet out, an ACK back, store and forward
    rate: int  # bit/s of the host's links
    bdp: int  # rate x rtt
    mtu: int  # a full packet on the wire
    payload: int  # of a full packet
    ack: int  # of an ACK on the wire
    hops: int  # links of the longest way
    buffer: int  # of a switch port; 2^62: no limit
    trims: bool  # whether switches cut what does not fit


class Flow(NamedTuple):
    """One transfer that asks for its path. ``id`` counts the flows of a run in order of their start."""

    id: int
    src: int  # host
    dst: int  # host
    bytes: int  # payload
    start: int  # ps


class Piece(NamedTuple):
    """A part of a flow and the way it takes: directed link indices from source to destination, or None.

    None means all equal-cost paths: in the packet engines a packet policy chooses at every switch (``follow_path``: a
    random path per packet), in fluid the bytes are split evenly over the paths.
    """

    bytes: int
    path: tuple[int, ...] | None


class Message(NamedTuple):
    """One message of a collective: sent when ``waits_for`` is open, counts down ``opens`` when it has arrived.

    A gate belongs to the rank that waits at it. -1: no gate (sent at once; nothing waits). A message of 0 bytes is a
    signal: nothing is sent, it counts down ``opens`` in the instant in which ``waits_for`` opens.
    """

    src: int  # rank
    dst: int  # rank
    bytes: int
    waits_for: int = -1
    opens: int = -1


class Layout(NamedTuple):
    """Where the ranks of a group are, by rank. Nodes count from 0 without gaps."""

    node: NDArray[np.int64]  # [ranks] the scale-up domain that the rank is in
    rail: NDArray[np.int64]  # [ranks] the index of its NIC in that domain; two ranks may share one

    def kinds(self, src: NDArray[np.int64], dst: NDArray[np.int64]) -> NDArray[np.int64]:
        """[rows] of pairs of ranks: 0 in one node, 1 from node to node on one rail, 2 from rail to rail."""
        across = 1 + (self.rail[src] != self.rail[dst]).astype(np.int64)
        return np.where(self.node[src] == self.node[dst], 0, across)


class Exchange(NamedTuple):
    """The messages that carry tokens to the ranks of their experts, or results back; a row is a flow, as in Message.

    ``units``: network messages that the flow stands for (1 a peer where a buffer is sent, one a token where each copy
    is a write of its own); 0 in a signal, which has 0 bytes.
    """

    src: NDArray[np.int64]  # [rows] rank
    dst: NDArray[np.int64]
    bytes: NDArray[np.int64]
    units: NDArray[np.int64]
    waits_for: NDArray[np.int64]
    opens: NDArray[np.int64]
    counts: list[int]  # of each gate, the arrivals that open it


def packet_policy(function: Any) -> Any:
    """Compiles a packet policy's ``pick``. All signatures are in ``sim/engine/signatures.py``."""
    return _compiled("PICK", function)


def switch_feedback(function: Any) -> Any:
    """Compiles a packet policy's ``learn``."""
    return _compiled("LEARN", function)


def periodic(function: Any) -> Any:
    """Compiles a packet policy's ``tick``."""
    return _compiled("TICK", function)


def entropy_policy(function: Any) -> Any:
    """Compiles a packet policy's ``spread``: hosts choose their packets' entropies."""
    return _compiled("SPREAD", function)


def entropy_feedback(function: Any) -> Any:
    """Compiles a packet policy's ``hear``."""
    return _compiled("HEAR", function)


def congestion_control(function: Any) -> Any:
    """Compiles a congestion control's ``react``."""
    return _compiled("REACT", function)


def _compiled(signature: str, function: Any) -> Any:
    from sim.engine import signatures

    return signatures.compiled(getattr(signatures, signature), function)


def importance(problem: Problem) -> NDArray[np.int64]:
    """The demands, most important first: required ones, then by falling priority; of one priority those that have a way
    already, then those that ask for least. An admission policy with an order of its own keeps to the first three."""
    from solvers.admission import decode

    return decode.importance(problem)


def place(problem: Problem, order: NDArray[np.int64], path: str = "shortest") -> Plan:
    """A plan by placing the demands in an order [demands], each on the way that ``path`` names: shortest, widest,
    least_loaded. It keeps all rules: what is required, what may move, and who makes room for whom."""
    from solvers.admission import greedy

    return greedy.placed(problem, order, path)
