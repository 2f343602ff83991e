"""The keys of requests that arrive: when, how long their prompts and answers are, and what a trace of them says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from models import units
from models.errors import nearest
from sim.scenario.arriving import Gaps
from sim.scenario.fields import Kinds, Section, fault, key, list_of, one_of, shown, words
from sim.scenario.quantities import LONGEST_MEAN, Frequency, Time

SLOWEST, FASTEST = 1e-5, 10**9  # requests per second
MOST_TOKENS = 2**24  # of one prompt or answer
FORMATS = ("plain", "azure", "mooncake", "results")
_MOST_CHANGES = 100  # of state, between two arrivals on average


def _tokens(value: object) -> object:
    """A bare number of tokens stands for a constant."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"kind": "constant", "tokens": value}
    if isinstance(value, (bool, float)):
        raise ValueError(f"a number of tokens is whole, not {shown(value)}")
    return value


def _rate(value: Any, *at: str | int) -> None:
    if not SLOWEST <= value <= FASTEST:
        raise fault(f"a rate is from {SLOWEST}/s to {FASTEST:,}/s", *at)


class Poisson(Section):
    """Exponential gaps between arrivals."""

    kind: Literal["poisson"] = "poisson"
    rate: Frequency = key(says="arrivals per second, such as 10/s")

    @model_validator(mode="after")
    def _in_range(self) -> Poisson:
        _rate(self.rate, "rate")
        return self


class Gamma(Section):
    """Gamma-distributed gaps: burstier than Poisson above a cv of 1, more regular below."""

    kind: Literal["gamma"] = "gamma"
    rate: Frequency = key(says="arrivals per second, such as 10/s")
    cv: float = key(says="standard deviation of the gaps over their mean; 1 is Poisson", ge=0.01, le=100)

    @model_validator(mode="after")
    def _in_range(self) -> Gamma:
        _rate(self.rate, "rate")
        return self


class Mmpp(Section):
    """Poisson arrivals whose rate changes: states in turn, each held for an exponential time."""

    kind: Literal["mmpp"] = "mmpp"
    rates: list_of(Frequency, "rates", least=2) = key(says="arrivals per second in each state")
    holds: list_of(Time, "times", least=2) = key(says="mean time in each state, in the same order")

    @model_validator(mode="after")
    def _states(self) -> Mmpp:
        if len(self.rates) != len(self.holds):
            raise fault(f"{len(self.rates)} rates, but {len(self.holds)} holds: a state has one of each", "holds")
        for index, rate in enumerate(self.rates):
            _rate(rate, "rates", index)
        for index, hold in enumerate(self.holds):
            if not 0 < hold <= LONGEST_MEAN:
                raise fault("a mean time in a state is above 0 and at most 80h", "holds", index)
        expected = sum(float(rate) * hold for rate, hold in zip(self.rates, self.holds, strict=True)) / 1e12
        if expected * _MOST_CHANGES < len(self.rates):
            raise fault(f"the states change more than {_MOST_CHANGES:,} times an arrival", "holds")
        return self


class ConstantTime(Section):
    """Always the same time; the bare quantity stands for it."""

    kind: Literal["constant"] = "constant"
    time: Time = key(says="the time", le=LONGEST_MEAN)

    def word(self) -> str:
        return units.show(self.time, "time")


class ExponentialTime(Section):
    """Exponential times, rounded up to ps."""

    kind: Literal["exponential"] = "exponential"
    mean: Time = key(says="mean time", gt=0, le=LONGEST_MEAN)


def _bare_time(word: str) -> dict[str, Any]:
    units.parse(word, "time")  # ValueError with the reason
    return {"kind": "constant", "time": word}


def _with_unit(value: object) -> object:
    """A bare number gets the message that a unit is due, not that a mapping is."""
    return units.parse(value, "time") if isinstance(value, (int, float)) else value


THINK = Kinds("think time", {"constant": ConstantTime, "exponential": ExponentialTime}, (), _bare_time)
Think = Annotated[one_of(THINK), BeforeValidator(_with_unit)]


class Closed(Section):
    """A closed loop: so many users, each with one request (or session) under way, or thinking."""

    kind: Literal["closed"] = "closed"
    concurrency: int = key(says="users", ge=1, le=10**6)
    think: Think = key(
        ConstantTime.model_validate({"time": "0s"}), "time from the end of a request (or session) to the user's next"
    )


class Trace(Section):
    """Requests from a file, each with its arrival and lengths; turns of a session come at their times, too.

    Prefix hashes are whole numbers joined by ``|``; equal ones stand for equal prompts up to and with their tokens.
    """

    kind: Literal["trace"] = "trace"
    file: str = key(says="CSV, JSON lines or Parquet beside the scenario (CSV and JSON also as .gz)")
    format: words("auto", *FORMATS) = key(
        "auto",
        "plain: arrival_s,prompt_tokens,output_tokens[,session,tenant,class,prefix_hashes], sorted; azure, mooncake: "
        "as published; results: the table requests of a run; auto: by its columns",
    )
    speed: float = key(1.0, "factor on the rate of arrivals: all times are divided by it", gt=0, le=1e6)
    first: int = key(0, "requests of the file that are left out; then the clock starts with the next one", ge=0)
    count: int | None = key(None, "requests taken from there; absent: all", ge=1)


ARRIVALS = Kinds(
    "request arrivals",
    {"poisson": Poisson, "gamma": Gamma, "mmpp": Mmpp, "closed": Closed, "gaps": Gaps, "trace": Trace},
)


class Constant(Section):
    """Always the same; the bare number stands for it."""

    kind: Literal["constant"] = "constant"
    tokens: int = key(says="tokens", ge=1, le=MOST_TOKENS)


class Uniform(Section):
    """Any number from low to high, equally likely."""

    kind: Literal["uniform"] = "uniform"
    low: int = key(says="least tokens", ge=1, le=MOST_TOKENS)
    high: int = key(says="most tokens", ge=1, le=MOST_TOKENS)

    @model_validator(mode="after")
    def _order(self) -> Uniform:
        if self.low > self.high:
            raise fault("low is above high", "low")
        return self


class Exponential(Section):
    """Exponential lengths, rounded up."""

    kind: Literal["exponential"] = "exponential"
    mean: float = key(says="mean before rounding", gt=0, le=MOST_TOKENS / 64)


class Geometric(Section):
    """Geometric lengths from 1 on: an end-of-sequence token with the same probability after each."""

    kind: Literal["geometric"] = "geometric"
    mean: float = key(says="mean", ge=1, le=MOST_TOKENS / 64)


class LogNormal(Section):
    """Log-normal lengths, rounded, at least 1."""

    kind: Literal["log_normal"] = "log_normal"
    mean: float = key(says="mean", ge=1, le=MOST_TOKENS / 64)
    cv: float = key(says="standard deviation over mean", gt=0, le=100)


class FromFile(Section):
    """Rows of a table, equally likely; prompt and output of the same file are drawn together, row by row."""

    kind: Literal["file"] = "file"
    file: str = key(says="CSV file (or .csv.gz) beside the scenario")
    column: str = key(says="name of the column with numbers of tokens")


class AzureConv(Section):
    """Lengths of Azure's conversation trace of 2023 (19,366 requests); prompt and output are drawn together."""

    kind: Literal["azure_conv"] = "azure_conv"

    def word(self) -> str:
        return self.kind


class AzureCode(Section):
    """Lengths of Azure's code trace of 2023 (8,819 requests); prompt and output are drawn together."""

    kind: Literal["azure_code"] = "azure_code"

    def word(self) -> str:
        return self.kind


def _bare_lengths(word: str) -> dict[str, Any]:
    named = ("azure_conv", "azure_code")
    if word not in named:
        raise ValueError(f"a number of tokens, a word or a mapping is due, not {shown(word)}{nearest(word, named)}")
    return {"kind": word}


LENGTHS = Kinds(
    "lengths",
    {
        "constant": Constant,
        "uniform": Uniform,
        "exponential": Exponential,
        "geometric": Geometric,
        "log_normal": LogNormal,
        "file": FromFile,
        "azure_conv": AzureConv,
        "azure_code": AzureCode,
    },
    (),
    _bare_lengths,
)
Lengths = Annotated[one_of(LENGTHS), BeforeValidator(_tokens)]
