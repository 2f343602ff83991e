"""The keys of the workload ``demands``: when demands arrive, what they ask for, how long they stay."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from models import units
from sim.scenario.arriving import PAIRS, Gaps, Uniform
from sim.scenario.fields import Kinds, Section, absent, fault, key, list_of, one_of, shown, words
from sim.scenario.quantities import LONGEST_MEAN, Frequency, Rate, Time

_SLOWEST, _FASTEST = 1e-5, 10**12  # arrivals per second
MOST_PRIORITY = 10**9
MOST_RATE = 2**50  # bit/s; sums over thousands of demands stay exact


class Poisson(Section):
    """Exponential gaps between demands, over all pairs together."""

    kind: Literal["poisson"] = "poisson"
    load: float | None = key(
        None,
        "mean bandwidth x hold x arrivals per second x hops of the shortest path between switches, as a share of the "
        "rate of all links between switches",
        ge=1e-6,
        le=1e6,
    )
    rate: Frequency | None = key(None, "arrivals per second, instead of load")

    @model_validator(mode="after")
    def _one_rate(self) -> Poisson:
        if self.load is None and self.rate is None:
            raise absent("rate", "poisson arrivals need a rate (such as 10/s) or a load (a share, such as 0.8)")
        if self.load is not None and self.rate is not None:
            raise fault("give either load or rate, not both", "rate")
        if self.rate is not None and not _SLOWEST <= self.rate <= _FASTEST:
            raise fault(f"a rate is from {_SLOWEST}/s to {_FASTEST:,}/s", "rate")
        return self


class ConstantRate(Section):
    """All demands ask for the same; the bare quantity stands for it."""

    kind: Literal["constant"] = "constant"
    rate: Rate = key(says="bandwidth of each demand", gt=0, le=MOST_RATE)

    def word(self) -> str:
        return units.show(self.rate, "rate")


class UniformRate(Section):
    """Any bandwidth from low to high, equally likely."""

    kind: Literal["uniform"] = "uniform"
    low: Rate = key(says="least bandwidth", gt=0, le=MOST_RATE)
    high: Rate = key(says="most bandwidth", gt=0, le=MOST_RATE)

    @model_validator(mode="after")
    def _order(self) -> UniformRate:
        if self.low > self.high:
            raise fault("low is above high", "low")
        return self


class ChoiceRate(Section):
    """One of a few bandwidths, equally likely."""

    kind: Literal["choice"] = "choice"
    of: list_of(Rate, "bandwidths", least=1) = key(says="the bandwidths")

    @model_validator(mode="after")
    def _positive(self) -> ChoiceRate:
        for index, rate in enumerate(self.of):
            if not 0 < rate <= MOST_RATE:
                raise fault("a bandwidth is above 0 and at most 2^50 bit/s", "of", index)
        return self


class ExponentialRate(Section):
    """Exponential bandwidths, rounded up to whole bits per second."""

    kind: Literal["exponential"] = "exponential"
    mean: Rate = key(says="mean bandwidth", gt=0, le=2**44)


class ConstantHold(Section):
    """All demands stay equally long; the bare quantity stands for it."""

    kind: Literal["constant"] = "constant"
    time: Time = key(says="time that each demand stays", gt=0)

    def word(self) -> str:
        return units.show(self.time, "time")


class ExponentialHold(Section):
    """Exponential times, rounded up to ps."""

    kind: Literal["exponential"] = "exponential"
    mean: Time = key(says="mean time that a demand stays", gt=0, le=LONGEST_MEAN)


def _bare(dimension: str, name: str) -> Any:
    def check(word: str) -> dict[str, Any]:
        units.parse(word, dimension)  # ValueError with the reason
        return {"kind": "constant", name: word}

    return check


def _with_unit(dimension: str) -> Any:
    """A bare number gets the message that a unit is due, not that a mapping is."""

    def check(value: object) -> object:
        return units.parse(value, dimension) if isinstance(value, (int, float)) else value

    return BeforeValidator(check)


def _priorities(value: object) -> object:
    """Distinct priorities in a tuple, or their shares in a mapping."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("the list of priorities needs at least 1 entry")
        for index, priority in enumerate(value):
            if isinstance(priority, bool) or not isinstance(priority, int) or not 1 <= priority <= MOST_PRIORITY:
                raise fault(f"a priority is a whole number from 1 to {MOST_PRIORITY}, not {shown(priority)}", index)
            if priority in value[:index]:
                raise fault(f"priority {priority} stands in the list twice", index)
        return tuple(value)
    if not isinstance(value, dict):
        raise ValueError(f"a list of priorities, or a mapping of them to shares, is due, not {shown(value)}")
    for name, share in value.items():
        if not (name.isascii() and name.isdigit() and 1 <= int(name) <= MOST_PRIORITY and str(int(name)) == name):
            raise fault(f"a priority is a whole number from 1 to {MOST_PRIORITY}, not {shown(name)}", name)
        if isinstance(share, bool) or not isinstance(share, (int, float)) or share <= 0:
            raise fault(f"a share is a number above 0, not {shown(share)}", name)
    if abs(sum(value.values()) - 1.0) > 1e-9:
        raise ValueError(f"the shares of the priorities sum to {sum(value.values()):g}, not to 1")
    return {name: float(share) for name, share in value.items()}


ARRIVALS = Kinds("demand arrivals", {"poisson": Poisson, "gaps": Gaps}, ("trace",))
BANDWIDTHS = Kinds(
    "bandwidth",
    {"constant": ConstantRate, "uniform": UniformRate, "choice": ChoiceRate, "exponential": ExponentialRate},
    (),
    _bare("rate", "rate"),
)
HOLDS = Kinds("hold", {"constant": ConstantHold, "exponential": ExponentialHold}, (), _bare("time", "time"))
Bandwidth = Annotated[one_of(BANDWIDTHS), _with_unit("rate")]
Hold = Annotated[one_of(HOLDS), _with_unit("time")]
Priorities = Annotated[tuple[int, ...] | dict[str, float], BeforeValidator(_priorities)]
# what a file says itself
_OF_FILE = ("arrivals", "hold", "bandwidth", "priorities", "pairs", "delay_bound", "count", "until")


class Demands(Section):
    """Demands for bandwidth between two hosts that arrive over time, ask the admission policy, stay and leave.

    Or a CSV file ``id,src,dst,bandwidth,priority[,delay_bound,arrival,hold]``.
    """

    kind: Literal["demands"] = "demands"
    arrivals: one_of(ARRIVALS) | None = key(None, "when demands arrive")
    hold: Hold | None = key(None, "how long one stays, from its admission; absent: until stop.time")
    bandwidth: Bandwidth | None = key(None, "what one asks for; packets count with their headers")
    priorities: Priorities = key(
        (1,), 'larger is more important: a list, equally likely, or shares such as {"3": 0.2, "1": 0.8}'
    )
    pairs: one_of(PAIRS) = key(Uniform(), "between whom: a word, or a mapping")
    delay_bound: Time | None = key(None, "propagation delay of a path at most", gt=0)
    patience: Time | None = key(None, "a demand gives up after this without an answer; absent: never", gt=0)
    full: words("reject", "hold") = key("reject", "where there is no room: refused, or waiting for some")
    count: int | None = key(None, "demands in all", ge=1)
    until: Time | None = key(None, "no demand arrives after this", gt=0)
    traffic: bool = key(True, "whether an admitted demand sends at its bandwidth; false: only the controller's books")
    share: float = key(1.0, "fluid: its weight at a bottleneck, beside flows of weight 1", gt=0, le=1e9)
    file: str | None = key(None, "a CSV file of demands beside the scenario, instead of drawn ones")

    @model_validator(mode="after")
    def _fits(self) -> Demands:
        given = self.model_fields_set - {"kind"}
        if "share" in given and not self.traffic:
            raise fault("'share' has no effect without traffic", "share")
        if self.file is not None:
            for other in sorted(given & set(_OF_FILE)):
                raise fault(f"'{other}' has no effect beside a file: the file says it", other)
            return self
        if self.arrivals is None:
            raise absent("arrivals", "such as {kind: poisson, rate: 10/s}, or a file")
        if self.bandwidth is None:
            raise absent("bandwidth", "such as 100Mbps, or a mapping such as {kind: exponential, mean: 100Mbps}")
        if isinstance(self.arrivals, Poisson) and self.arrivals.load is not None and self.hold is None:
            raise fault("a load needs a hold: demands that never leave fill every network", "arrivals")
        return self

    def idle(self) -> set[str]:
        return ({"pairs", "priorities"} if self.file is not None else set()) | (set() if self.traffic else {"share"})

    def shares(self) -> list[tuple[int, float]]:
        """(priority, share), the shares summing to 1."""
        if isinstance(self.priorities, dict):
            return [(int(name), share) for name, share in self.priorities.items()]
        return [(priority, 1.0 / len(self.priorities)) for priority in self.priorities]
