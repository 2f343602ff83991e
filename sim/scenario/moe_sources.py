"""The routing source that a workload of the kind ``moe`` describes; its files are read here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.routing import formulas, measured, popularity
from models.routing.source import Source
from sim.scenario import moe


def source_of(item: moe.Moe, ranks: int, beside: Callable[[str], Path], key: int) -> Source:
    """``ranks`` share the experts; ``key`` is a 63-bit random number. InputError: faulty files or impossible skew."""
    arch = item.architecture()
    experts, top_k, spec = arch.experts, arch.top_k, item.routing
    groups = (arch.expert_groups, arch.top_groups)
    if isinstance(spec, moe.Hot):
        return formulas.Hot(experts, top_k, spec.share, experts // ranks if spec.experts == "local" else spec.experts)
    if isinstance(spec, moe.Zipf):
        return popularity.Zipf(experts, top_k, key, spec.exponent, spec.drift, groups)
    if isinstance(spec, moe.LogNormal):
        return popularity.LogNormal(experts, top_k, key, spec.sigma, spec.drift, groups)
    if isinstance(spec, moe.Dirichlet):
        return popularity.Dirichlet(experts, top_k, key, spec.concentration, spec.drift, groups)
    if isinstance(spec, moe.Counts):
        file = beside(spec.file)
        return measured.Counts.read(
            file, experts, top_k, spec.layers, model=spec.model, selection=spec.selection, domain=spec.domain,
            drift=spec.drift, key=key,
        )  # fmt: skip
    if isinstance(spec, moe.Trace):
        return measured.Trace.read(beside(spec.file), experts, top_k, spec.layers)
    return formulas.Balanced(experts, top_k)
