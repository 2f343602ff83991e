"""The lengths and traces that a workload of requests names, read."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from models import request_lengths, request_traces
from models.errors import InputError, Problem
from models.request_lengths import Lengths
from models.request_traces import RequestTrace
from models.units import CLOCK_END
from sim.scenario import request_arrivals as keys
from sim.scenario.serving import Requests

Beside = Callable[[str], Path]


def lengths_of(spec: Any, side: str, beside: Beside) -> Lengths:
    """``side``: prompt or output. InputError: a faulty file."""
    if isinstance(spec, keys.FromFile):
        path = beside(spec.file)
        return _listed(path, spec.column, path.stat().st_mtime_ns)
    if isinstance(spec, (keys.AzureConv, keys.AzureCode)):
        return request_lengths.shipped(spec.kind, side)
    if isinstance(spec, keys.Uniform):
        return request_lengths.Uniform(spec.low, spec.high)
    if isinstance(spec, keys.Exponential):
        return request_lengths.Exponential(spec.mean)
    if isinstance(spec, keys.Geometric):
        return request_lengths.Geometric(spec.mean)
    if isinstance(spec, keys.LogNormal):
        return request_lengths.LogNormal(spec.mean, spec.cv)
    assert isinstance(spec, keys.Constant)
    return request_lengths.Constant(spec.tokens)


@lru_cache(maxsize=8)
def _listed(path: Path, column: str, changed: int) -> request_lengths.Listed:
    return request_lengths.read(path, column)


def trace_of(item: Requests, beside: Beside) -> RequestTrace:
    """The requests of the workload's trace that are replayed. InputError: a faulty file, or nothing left of it."""
    spec = item.arrivals
    assert isinstance(spec, keys.Trace)
    path = beside(spec.file)
    trace = _trace(path, spec.format, path.stat().st_mtime_ns)
    if spec.first >= len(trace.arrival):
        text = f"holds {len(trace.arrival):,} requests; first: {spec.first:,} leaves none"
        raise InputError([Problem(str(path), 0, 0, text)])
    if float(trace.arrival[-1]) / spec.speed >= CLOCK_END:
        raise InputError([Problem(str(path), 0, 0, f"at speed {spec.speed:g} the clock would end before it does")])
    return trace.cut(spec.first, spec.count, spec.speed)


@lru_cache(maxsize=4)
def _trace(path: Path, form: str, changed: int) -> RequestTrace:
    return request_traces.read(path, form)


def hash_tokens_of(item: Requests, trace: RequestTrace | None) -> int:
    """Tokens that one prefix hash covers: as given, as the trace's format says, or a block of every pool's engine."""
    if item.hash_tokens != "auto":
        return item.hash_tokens
    if trace is not None and trace.hash_tokens is not None:
        return trace.hash_tokens
    return math.lcm(*(pool.engine.block_tokens for pool in item.pool_list()))
