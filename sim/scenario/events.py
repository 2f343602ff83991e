"""The events of a scenario: what goes wrong on the network and with replicas, for how long, and how often.

``for`` is a word of Python, so the model is made by a call; ``lasts`` is the same value under another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, create_model, model_validator

from models import units
from models.topology import Topology
from sim.scenario.fields import Section, absent, fault, key, words
from sim.scenario.quantities import Quantity, Time

MOST_REPEATS = 10_000  # of one event
_PERCENT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*\Z")
_TARGETS = ("link", "switch", "host", "replica")


@dataclass(frozen=True)
class _Slower(Quantity):
    """A rate, or a percentage of the rate that the topology gives, held as a fraction."""

    def parse(self, value: object) -> object:
        match = _PERCENT.match(value) if isinstance(value, str) else None
        if match is not None:
            return Fraction(match.group(1)) / 100
        try:
            return units.parse(value, "rate")
        except ValueError as error:
            raise ValueError(f"{error}, or a percentage such as 25%") from None

    def show(self, value: object) -> object:
        if isinstance(value, Fraction):
            percent = value * 100
            return f"{percent.numerator if percent.denominator == 1 else float(percent)}%"
        return units.show(value, "rate") if isinstance(value, int) else value


_SLOWER = _Slower("rate or percentage")
SlowerRate = Annotated[
    int | Fraction, _SLOWER, BeforeValidator(_SLOWER.parse), PlainSerializer(_SLOWER.show, when_used="json")
]


class Occurrence(NamedTuple):
    """One time that an event happens. ``until`` ps: when it ends by itself; None: it does not."""

    at: int
    until: int | None


class EventKeys(Section):
    """All keys of an event but ``for``."""

    at: Time = key(says="when")
    link: str | None = key(None, "name of a link (both directions, or one)")
    switch: str | None = key(None, "name of a switch (all its links)")
    host: str | None = key(None, "name of a host (all its links, and replicas that have a GPU there)")
    replica: int | None = key(
        None, "number of a replica, counted from 0 through all workloads of requests; it loses what it holds", ge=0
    )
    set: words("down", "up", "degrade", "loss") = key(
        says="what happens; up ends all that was set for this link, switch or host"
    )
    rate: SlowerRate | None = key(None, "degrade: what is left of the rate, such as 25% or 100Gbps")
    loss: float | None = key(None, "loss: probability that a packet is lost on the link", gt=0, le=1)
    every: Time | None = key(None, "it happens again and again with this period (flapping); needs `for`", gt=0)
    until: Time | None = key(None, "no repetition begins from then on; absent: up to stop.time")

    @property
    def lasts(self) -> int | None:
        """ps after which it ends by itself: the key ``for``."""
        value: int | None = getattr(self, "for")
        return value

    @property
    def target(self) -> str:
        """Which of link, switch, host and replica it is about."""
        return next(name for name in _TARGETS if getattr(self, name) is not None)

    def repeats(self, end: int | None) -> int:
        """How often it happens before ``end`` ps, the scenario's stop.time."""
        limits = [limit for limit in (self.until, end) if limit is not None]
        if self.every is None or not limits:
            return 1
        return max(1, -(-(min(limits) - self.at) // self.every))

    def occurrences(self, end: int | None) -> Iterator[Occurrence]:
        """In order of time; ``end`` ps is the scenario's stop.time."""
        for number in range(self.repeats(end)):
            at = self.at + number * (self.every or 0)
            yield Occurrence(at, None if self.lasts is None else at + self.lasts)

    @model_validator(mode="after")
    def _one_target(self) -> EventKeys:
        given = [name for name in _TARGETS if getattr(self, name) is not None]
        if not given:
            raise absent("link", "an event is about a link, a switch, a host or a replica")
        if len(given) > 1:
            raise fault(f"give either {given[0]} or {given[1]}, not both", given[1])
        return self

    @model_validator(mode="after")
    def _own_keys(self) -> EventKeys:
        if self.replica is not None and self.set not in ("down", "up"):
            raise fault(f"a replica goes down or up; set: {self.set} is for links", "set")
        for name, what in (("rate", "degrade"), ("loss", "loss")):
            if self.set == what and getattr(self, name) is None:
                raise absent(name, f"set: {what} needs it")
            if self.set != what and getattr(self, name) is not None:
                raise fault(f"'{name}' belongs to set: {what}", name)
        if self.rate == 0:
            raise fault("nothing is left of the rate; that is set: down", "rate")
        if isinstance(self.rate, Fraction) and self.rate >= 1:
            raise fault("a degraded link has less than 100% of its rate", "rate")
        return self

    @model_validator(mode="after")
    def _times(self) -> EventKeys:
        for name in ("for", "every", "until"):
            if self.set == "up" and getattr(self, name) is not None:
                raise fault(f"'{name}' has no place beside set: up, which only ends what was set before", name)
        if self.every is not None and self.lasts is None:
            raise absent("for", "an event that repeats says how long it lasts each time")
        if self.every is not None and self.lasts is not None and self.lasts >= self.every:
            raise fault("it must end before it happens again: 'for' is below 'every'", "for")
        if self.until is not None and self.every is None:
            raise fault("'until' belongs to an event that repeats; 'for' says how long one lasts", "until")
        if self.until is not None and self.until <= self.at:
            raise fault("'until' must be after 'at'", "until")
        return self


def links_of(event: EventKeys, topology: Topology) -> tuple[int, ...]:
    """The directed links that it is about. KeyError where the name is unknown."""
    if event.link is not None:
        return topology.find_links(event.link)
    node = topology.node_index[str(event.switch or event.host)]
    return tuple(np.flatnonzero((topology.link_src == node) | (topology.link_dst == node)).tolist())


Event: Any = create_model(
    "Event",
    __base__=EventKeys,
    __doc__="""What happens to a link, a switch, a host or a replica.

    Packets queued or in flight on what goes down are lost. Routing tables follow a link that goes down or comes up
    after `fabric.convergence_delay`, and take a cable out as a whole where one direction is down; they don't know of
    degraded or lossy links. Where several events hold one link, down wins, then the least rate, and losses add up as
    1 - (1-a)(1-b).""",
    **{"for": (Time | None, key(None, "it ends by itself after this; absent: it lasts", gt=0))},
)
