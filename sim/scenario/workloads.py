"""The keys of the workload kinds matrix, flows and collective, and the list of all kinds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from models.errors import nearest
from sim.scenario.arriving import PAIRS, Gaps, Uniform
from sim.scenario.demands import Demands
from sim.scenario.fields import Kinds, Section, absent, fault, key, one_of, shown, words
from sim.scenario.gates import Gate
from sim.scenario.moe import MESSAGES, Moe
from sim.scenario.quantities import Frequency, Size, Time
from sim.scenario.serving import Requests

PATTERNS = ("permutation", "tornado", "shift", "incast", "outcast", "all_to_all")
OPERATIONS = ("all_to_all", "all_reduce", "all_gather", "reduce_scatter", "broadcast")
SIZES = ("websearch", "fb_hadoop", "alistorage2019", "google_rpc2008")
_SLOWEST, _FASTEST = 1e-5, 10**12  # arrivals per second
# the key that only one pattern has
_OF_PATTERN = {"by": "shift", "senders": "incast", "receivers": "outcast"}


class Matrix(Section):
    """One batch of flows, all at once: a pattern over all hosts, or htsim's connection matrix."""

    kind: Literal["matrix"] = "matrix"
    pattern: words(*PATTERNS) | None = key(None, "who sends to whom")
    size: Size | None = key(None, "payload of each flow", gt=0)
    start: Time = key(0, "start of all flows")
    by: int | None = key(None, "shift: host i sends to host i + by")
    senders: int | None = key(None, "incast: hosts that send to host 0; absent: all others", ge=1)
    receivers: int | None = key(None, "outcast: hosts that host 0 sends to; absent: all others", ge=1)
    file: str | None = key(None, "a .cm connection matrix beside the scenario, instead of a pattern")

    @model_validator(mode="after")
    def _fits(self) -> Matrix:
        given = self.model_fields_set - {"kind"}
        if self.file is not None:
            for other in sorted(given - {"file"}):
                raise fault(f"'{other}' has no effect beside a file: the file says it", other)
            return self
        if self.pattern is None:
            raise absent("pattern", f"one of {', '.join(PATTERNS)}, or a file")
        if self.size is None:
            raise absent("size", "the payload of each flow, such as 2MB")
        for name, pattern in _OF_PATTERN.items():
            if name in given and self.pattern != pattern:
                raise fault(f"'{name}' belongs to the pattern {pattern}, not to {self.pattern}", name)
        if self.pattern == "shift" and self.by is None:
            raise absent("by", "the pattern shift sends from host i to host i + by")
        return self


class Poisson(Section):
    """Exponential gaps, over all hosts together."""

    kind: Literal["poisson"] = "poisson"
    load: float | None = key(None, "offered payload as a share of capacity", ge=1e-6, le=1e6)
    load_of: words("hosts", "bisection") = key("hosts", "the capacity: host rate x hosts, or the bisection's rate")
    rate: Frequency | None = key(None, "arrivals per second, instead of load")

    @model_validator(mode="after")
    def _one_rate(self) -> Poisson:
        if self.load is None and self.rate is None:
            raise absent("load", "poisson arrivals need a load (a share, such as 0.6) or a rate (such as 10/s)")
        if self.load is not None and self.rate is not None:
            raise fault("give either load or rate, not both", "rate")
        if self.rate is not None and not _SLOWEST <= self.rate <= _FASTEST:
            raise fault(f"a rate is from {_SLOWEST}/s to {_FASTEST:,}/s", "rate")
        if self.rate is not None and "load_of" in self.model_fields_set:
            raise fault("'load_of' has no effect beside a rate", "load_of")
        return self

    def idle(self) -> set[str]:
        return {"load_of"} if self.rate is not None else set()


class Named(Section):
    """A measured distribution that is shipped."""

    kind: Literal["named"] = "named"
    name: words(*SIZES) = key(says="its name")

    def word(self) -> str:
        return self.name


class Constant(Section):
    """All flows of one size."""

    kind: Literal["constant"] = "constant"
    size: Size = key(says="payload of each flow, at most 2^50 bytes", gt=0, le=2**50)


class Exponential(Section):
    """Exponential sizes, rounded up to whole bytes."""

    kind: Literal["exponential"] = "exponential"
    mean: Size = key(says="mean payload, at most 2^44 bytes", gt=0, le=2**44)


class Cdf(Section):
    """A distribution from a file of points, linear between them."""

    kind: Literal["cdf"] = "cdf"
    file: str = key(says="CSV file beside the scenario: flow_size_bytes,cdf_percent")


def _bare_sizes(word: str) -> dict[str, Any]:
    if word not in SIZES:
        raise ValueError(f"unknown size distribution {shown(word)}{nearest(word, SIZES)}")
    return {"kind": "named", "name": word}


def _group(value: object) -> object:
    """'all', or a tuple of distinct ranks."""
    if value == "all":
        return value
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"the word all or a list of ranks is due, not {shown(value)}")
    if len(value) < 2:
        raise ValueError("a group has at least 2 ranks")
    seen: set[int] = set()
    for index, rank in enumerate(value):
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
            raise fault(f"a rank is a whole number from 0 on, not {shown(rank)}", index)
        if rank in seen:
            raise fault(f"rank {rank} stands in the group twice", index)
        seen.add(rank)
    return tuple(value)


ARRIVALS = Kinds("arrivals", {"poisson": Poisson, "gaps": Gaps}, ("trace",))
DISTRIBUTIONS = Kinds(
    "sizes", {"named": Named, "constant": Constant, "exponential": Exponential, "cdf": Cdf}, (), _bare_sizes
)
Group = Annotated[Literal["all"] | tuple[int, ...], BeforeValidator(_group)]


class Flows(Section):
    """Flows that arrive over time (an open loop), or a CSV file ``start,src,dst,size``."""

    kind: Literal["flows"] = "flows"
    arrivals: one_of(ARRIVALS) | None = key(None, "when flows start")
    sizes: one_of(DISTRIBUTIONS) | None = key(None, "payload of a flow: a shipped distribution's name, or a mapping")
    pairs: one_of(PAIRS) = key(Uniform(), "who sends to whom: a word, or a mapping")
    count: int | None = key(None, "flows in all", ge=1)
    until: Time | None = key(None, "no flow starts after this", gt=0)
    file: str | None = key(None, "a CSV file of flows beside the scenario, instead of all the others")
    admission: Gate | None = key(None, "each flow asks for a path of this rate before it starts; absent: none does")

    @model_validator(mode="after")
    def _fits(self) -> Flows:
        given = self.model_fields_set - {"kind", "admission"}
        if self.file is not None:
            for other in sorted(given - {"file"}):
                raise fault(f"'{other}' has no effect beside a file: the file says it", other)
            return self
        if self.arrivals is None:
            raise absent("arrivals", "such as {kind: poisson, load: 0.6}, or a file")
        if self.sizes is None:
            raise absent("sizes", f"one of {', '.join(SIZES)}, or a mapping such as {{kind: constant, size: 1MB}}")
        return self

    def idle(self) -> set[str]:
        return {"pairs"} if self.file is not None else set()


class Collective(Section):
    """A collective operation of a group of GPUs, repeated; each GPU computes for ``gap`` between rounds."""

    kind: Literal["collective"] = "collective"
    op: words(*OPERATIONS) = key(says="the operation")
    size: Size = key(says="S of nccl-tests: buffer, total output, total input or total send of a rank", gt=0)
    group: Group = key("all", "all hosts, or a list of distinct ranks")
    repeat: int = key(1, "rounds", ge=1)
    gap: Time = key(0, "time that each GPU computes between rounds")
    messages: words(*MESSAGES) = key("none", "measured cost of messages and launches, by library and machine")
    root: int = key(0, "broadcast: position in the group of the rank that sends", ge=0)
    admission: Gate | None = key(
        None, "each round asks for a path of this rate for every pair that sends, all or nothing; absent: none does"
    )

    @model_validator(mode="after")
    def _root(self) -> Collective:
        if self.op != "broadcast" and self.root != 0:
            raise fault("'root' belongs to broadcast", "root")
        return self


WORKLOADS: dict[str, type[Section]] = {
    "matrix": Matrix,
    "flows": Flows,
    "collective": Collective,
    "moe": Moe,
    "demands": Demands,
    "requests": Requests,
}
LATER_WORKLOADS = ()
Workload = one_of(Kinds("workload", WORKLOADS, LATER_WORKLOADS))
