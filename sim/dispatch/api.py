"""All that a policy imports, ours or a user's: the base of its parameters, the data it sees and what it returns.

A policy file names one policy. Its level is its folder, or ``LEVEL = "path"`` in a user's file; its name is the file's
name, or ``NAME``. It holds ``class Params(PolicyParams)`` and what its level asks for (``sim/dispatch/protocols.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models import units
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
from sim.scenario.fields import Kinds, Section, fault, key, one_of
from sim.scenario.quantities import Rate, Size, SizeOrAuto, Time, TimeOrAuto, TimeOrMeasured
from solvers.admission.plan import Plan
from solvers.admission.problem import Limits, Problem
from solvers.expert_plan import ExpertPlan, deal_evenly, deal_nearest, deal_ranges, expert_counts, native_plan

__all__ = [
    "CUT",
    "DECODE",
    "DOWN",
    "FREE",
    "GOOD",
    "HOLD",
    "HOP_WORDS",
    "LOST",
    "MARKED",
    "ON_ACK",
    "ON_NACK",
    "ON_SENT",
    "ON_TIMEOUT",
    "ON_TIMER",
    "PREFILL",
    "QUEUE",
    "RATE",
    "REJECT",
    "SENT",
    "SPEED",
    "TIME",
    "TIMER",
    "WHOLE",
    "WINDOW",
    "ControllerParams",
    "Exchange",
    "ExpertPlan",
    "Field",
    "Flow",
    "Incoming",
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
    "RouterParams",
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


_LEAST_INTERVAL = 10**6  # ps: a run would do nothing but report


class Telemetry(Section):
    """How a router hears of its replicas' loads. ``interval`` 0: it sees them as they are."""

    interval: Time = key(0, "time between two reports of a replica, 1us at least; 0: loads are seen as they are")
    delay: Time = key(0, "time that a report is under way")
    loss: float = key(0.0, "share of the reports that are lost", ge=0, le=1)

    @model_validator(mode="after")
    def _reports_exist(self) -> Telemetry:
        if 0 < self.interval < _LEAST_INTERVAL:
            least, given = (units.show(time, "time") for time in (_LEAST_INTERVAL, self.interval))
            raise fault(f"'interval' must be at least {least}, or 0 for loads as they are, not {given}", "interval")
        for name in ("delay", "loss"):
            if self.interval == 0 and getattr(self, name):
                raise fault(f"a '{name}' needs reports: set an 'interval' above 0", name)
        return self


class Predictor(Section):
    """Output lengths as the routers believe them. ``error`` 0 and ``bucket`` 0: the true ones."""

    error: float = key(0.0, "sigma of the log of predicted over true length, normally distributed", ge=0, le=10)
    bucket: int = key(0, "predictions are rounded up to multiples of this; 0: not", ge=0, le=10**6)


class Hold(Section):
    """Requests that find a long queue everywhere stay with the router."""

    queue: int = key(says="a replica takes requests while fewer than this wait at it", ge=1)


class QueueLimit(Section):
    """Early rejection by queue length."""

    kind: Literal["queue"] = "queue"
    most: int = key(says="a request is rejected if more than this wait at the replica chosen for it", ge=0)


class TargetLimit(Section):
    """Early rejection by predicted time to first token (only of requests whose class has a target for it)."""

    kind: Literal["slo"] = "slo"
    factor: float = key(1.0, "a request is rejected if its predicted TTFT is above so many times its target", gt=0)


if TYPE_CHECKING:
    Rejection = QueueLimit | TargetLimit
else:
    Rejection = one_of(Kinds("early rejection", {"queue": QueueLimit, "slo": TargetLimit}))


class RouterParams(PolicyParams):
    """What every router of requests can be told: what it knows, when it counts, whom it turns away.

    A replica's load is its last report and, on top, the router's own requests that the report does not have: from the
    decision on, from their arrival at the replica on, or never (``report``).
    """

    counted: Literal["decision", "arrival", "report"] = Field(
        "decision", description="from when a router's own requests count beside the last report"
    )
    telemetry: Telemetry = Field(Telemetry(), description="how loads are reported: interval, delay, loss")
    routers: int = Field(1, ge=1, le=10_000, description="copies of the router, dealt requests in turn")
    ties: Literal["random", "first", "rotate"] = Field("random", description="which of equal replicas is taken")
    latency: Time = Field(0, ge=0, description="time of a decision")
    network: Time = Field(0, ge=0, description="time from router to replica")
    predictor: Predictor | None = Field(None, description="predicts output lengths; absent: they are unknown")
    hold: Hold | None = Field(None, description="the router keeps requests that find a queue everywhere; absent: none")
    reject: Rejection | None = Field(None, description="early rejection; absent: none")


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


HOLD, REJECT = -1, -2  # answers of a router of requests, beside a replica's number
WHOLE, PREFILL, DECODE = 0, 1, 2  # what is asked of the replica: all of a request, or one half of it


class Incoming(NamedTuple):
    """A request that asks for its replica. Times in ps, lengths in tokens."""

    id: int  # counts the requests of a workload
    time: int  # of this decision
    prompt: int
    predicted: int = -1  # output that the router believes in; -1: unknown
    tenant: int = 0
    session: int = -1  # -1: none
    kind: int = 0  # its class
    priority: int = 0  # larger is more important
    hashes: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # of its blocks from the first on, each of the whole prefix
    ttft: int = -1  # targets; -1: none
    tpot: int = -1
    e2e: int = -1
    stage: int = WHOLE


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
