"""What a workload of requests asks for, before anything runs: arrivals, lengths, classes, sessions, or a trace."""

from __future__ import annotations

from typing import Any

from models.units import PS_PER_SECOND
from sim.processes import arrivals as plain
from sim.processes.serving.arrivals import Asked, Closed, Sessions
from sim.processes.serving.content import Content, Kind, Popular, Prefix, Think
from sim.processes.serving.gaps import GammaGaps, MmppGaps
from sim.rng import Streams
from sim.scenario import request_arrivals as keys
from sim.scenario.arriving import Gaps
from sim.scenario.load import Loaded
from sim.scenario.serving import Requests
from sim.scenario.serving_inputs import hash_tokens_of, lengths_of, trace_of


def asked_of(item: Requests, index: int, loaded: Loaded, streams: Streams) -> Asked:
    """The workload number ``index``. InputError: a faulty file."""
    spec: Any = item.arrivals
    trace = trace_of(item, loaded.beside) if isinstance(spec, keys.Trace) else None
    hash_tokens = hash_tokens_of(item, trace)

    def rng(name: str) -> Any:
        # arrivals/0, classes/0, lengths/0/chat/prompt
        first, _, rest = name.partition("/")
        return streams.generator(f"{first}/{index}/{rest}" if rest else f"{first}/{index}")

    tenants = None
    if item.tenants is not None:
        tenants = Popular(item.tenants.count, item.tenants.exponent, rng("tenants"))
    prefix = None
    if item.prefix is not None:
        popular = Popular(item.prefix.groups, item.prefix.exponent, rng("prefixes"))
        prefix = Prefix(item.prefix.tokens, item.prefix.groups, popular)
    content = Content(
        _kinds(item, loaded), rng, tenants=tenants, prefix=prefix, hash_tokens=hash_tokens, limit=item.prompt_limit
    )
    closed = None
    if isinstance(spec, keys.Closed):
        closed = Closed(spec.concurrency, _think(spec.think))
    sessions = None
    if item.sessions is not None:
        sessions = Sessions(lengths_of(item.sessions.turns, "", loaded.beside), _think(item.sessions.think))
    return Asked(
        content, _gaps(spec, rng), closed, trace, sessions, item.count, item.until,
        rng=rng("arrivals"), pauses=rng("arrivals/users"), endless=not item.ends(), total=_total(item, trace),
        hash_tokens=hash_tokens, load=_rate(spec),
    )  # fmt: skip


def _kinds(item: Requests, loaded: Loaded) -> list[Kind]:
    """The classes; one of the name ``all`` where there are none."""

    def lengths(one: Any, side: str) -> Any:
        spec = getattr(one, side) or getattr(item, side)
        return None if spec is None else lengths_of(spec, side, loaded.beside)

    sources = item.classes or (item,)
    return [
        Kind(name, share, lengths(one, "prompt"), lengths(one, "output"), priority)
        for one, share, (name, _, priority) in zip(sources, item.shares(), item.class_targets(), strict=True)
    ]


def _think(spec: Any) -> Think:
    exponential = isinstance(spec, keys.ExponentialTime)
    return Think(spec.mean if exponential else spec.time, exponential)


def _gaps(spec: Any, rng: Any) -> plain.Gaps | None:
    """None where a trace or users say when requests come."""
    if isinstance(spec, Gaps):
        return plain.EqualGaps(spec.gap) if spec.gap is not None else plain.ListedGaps(spec.gaps)
    if isinstance(spec, keys.Poisson):
        return plain.PoissonGaps(float(PS_PER_SECOND / spec.rate))
    if isinstance(spec, keys.Gamma):
        return GammaGaps(float(PS_PER_SECOND / spec.rate), spec.cv)
    if isinstance(spec, keys.Mmpp):
        return MmppGaps([float(rate / PS_PER_SECOND) for rate in spec.rates], spec.holds, rng("arrivals/states"))
    return None


def _total(item: Requests, trace: Any) -> int | None:
    """Requests in all, where it is known before they come."""
    if item.until is not None or item.sessions is not None:
        return None
    if trace is not None:
        return len(trace.arrival)
    listed = getattr(item.arrivals, "gaps", None)
    return item.count if listed is None else min(len(listed), item.count or len(listed))


def _rate(spec: Any) -> float | None:
    if isinstance(spec, (keys.Poisson, keys.Gamma)):
        return float(spec.rate)
    if isinstance(spec, keys.Mmpp):
        offered = sum(float(rate) * hold for rate, hold in zip(spec.rates, spec.holds, strict=True))
        return offered / sum(spec.holds)
    return None
