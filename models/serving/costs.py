"""From a setup to the flat memory that ``models.serving.law`` reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.compute import GpuModel
from models.compute.attention import CONTEXT, GENERATION, AttentionModel
from models.errors import InputError, Problem
from models.serving import law
from models.serving.all_reduce import measured
from models.serving.communication import messages_us, row_messages, token_messages
from models.serving.dense import dense_us, head_us, share
from models.serving.experts import experts_us
from models.serving.memory import CACHE
from models.serving.profile import Profile, profile_of
from models.serving.setup import Setup
from models.serving.tables import table_of

__all__ = ["Setup", "costs_of", "sources_of"]

FINE, STRIDE, KNOTS = 512, 32, 4096  # a curve's steps of one, the steps beyond, most values beyond
_Array = NDArray[np.float64]


def costs_of(setup: Setup) -> _Array:
    """The cost memory of a setup. InputError where its kind has no numbers for the model or the GPU."""
    if setup.kind == "linear":
        each = (setup.linear_step_us, setup.prefill_token_us, setup.decode_sequence_us, setup.context_token_us)
        return np.array([law.LINEAR, *each], np.float64)
    if setup.kind == "splitwise":
        cost = table_of(setup.architecture.name, setup.chip, setup.tensor_parallel, setup.capped)
        cost[0] = law.TABLE
        return cost
    return _calibrated(setup)


def sources_of(setup: Setup) -> dict[str, str]:
    """Where each part of a calibrated cost comes from, in words."""
    chip = GpuModel(setup.gpu).gpu
    dense = "calibrated GEMMs" if _profile(setup) is None else "vLLM's layer profile"
    found = {"dense": f"{dense} of {setup.gpu}", "attention": _stands(setup.gpu, chip.calibrated, "attention")}
    if setup.architecture.moe_layers:
        found["experts"] = _stands(setup.gpu, chip.calibrated, "moe")
    if setup.communication and token_messages(setup):
        found["communication"] = _stands(setup.gpu, chip.calibrated, "collective")
    if setup.communication and measured(setup.chip, setup.tensor_parallel):
        found["all-reduce"] = f"vLLM's kernels on {setup.tensor_parallel} {setup.gpu}"
    if setup.step_us is None:
        found["overhead"] = "none: an engine that prepares an iteration while the GPU runs the one before"
    return found


def _stands(gpu: str, calibrated: Any, kind: str) -> str:
    return f"calibrated {kind} of {calibrated.get(kind, gpu)}"


def _profile(setup: Setup) -> Profile | None:
    if setup.dtype != "bf16":
        return None
    return profile_of(setup.gpu, setup.architecture.name, setup.tensor_parallel)


def _calibrated(setup: Setup) -> _Array:
    gpu = GpuModel(setup.gpu)
    profile = _profile(setup)
    words = np.zeros(law.WORDS)
    words[law.STEP] = setup.step_us or 0.0
    words[law.SEQUENCE] = setup.sequence_us
    words[law.LOCKSTEP] = setup.lockstep
    words[law.CAPTURED] = setup.captured
    words[law.LAYERS] = setup.architecture.layers
    words[law.BYTES] = CACHE[setup.cache_dtype]
    parts = [words]
    size = len(words)

    def put(word: int, section: _Array) -> None:
        nonlocal size
        words[word] = size
        parts.append(section)
        size += len(section)

    tokens = _counts(setup.most_tokens)
    put(law.DENSE, _curve(setup.most_tokens, dense_us(setup, gpu, profile, tokens)))
    rows = setup.max_sequences * (1 + setup.draft_tokens)
    sampled = _counts(rows)
    head = head_us(setup, gpu, profile, sampled)
    if setup.communication:
        head = head + messages_us(setup, row_messages(setup), sampled)
        told = token_messages(setup)
        if told:
            put(law.COMMUNICATION, _curve(setup.most_tokens, messages_us(setup, told, tokens)))
    put(law.HEAD, _curve(rows, head))
    if setup.architecture.moe_layers:
        most = setup.most_tokens * (setup.data_parallel if setup.lockstep else 1)
        put(law.EXPERTS, _curve(most, experts_us(setup, gpu, _counts(most))))
    for word, section in _attention(setup, words).items():
        put(word, section)
    return np.concatenate(parts)


def _stride(most: int) -> int:
    return STRIDE * max(1, -(-(most - FINE) // (STRIDE * KNOTS)))


def _counts(most: int) -> _Array:
    """Where a curve up to ``most`` has its values."""
    fine = min(most, FINE)
    stride = _stride(most)
    beyond = fine + stride * np.arange(1, -(-(most - fine) // stride) + 1)
    return np.concatenate([np.arange(fine + 1), beyond]).astype(np.float64)


def _curve(most: int, values: _Array) -> _Array:
    """A section of ``law``: values at ``_counts(most)``."""
    return np.concatenate([[min(most, FINE), _stride(most), len(values)], values]).astype(np.float64)


def _attention(setup: Setup, words: _Array) -> dict[int, _Array]:
    """Sections of the attention laws; the shapes of a GPU's heads into ``words``.

    Latent attention: prefill with its heads expanded, whose queries and keys have ``rope_dim`` more; decode on the low
    rank, one KV head that is read once for key and value.
    """
    model = setup.architecture
    heads, kv_heads = share(model.heads, setup.tensor_parallel), share(model.kv_heads, setup.tensor_parallel)
    shape = [float(heads), float(kv_heads), float(model.head_dim)]
    wide = [heads, heads, model.head_dim + model.rope_dim / 2] if model.kv_rank else shape
    low = [heads, 1.0, model.kv_elements / 2] if model.kv_rank else shape
    words[law.PREFILL_SHAPE : law.PREFILL_SHAPE + 3] = wide
    words[law.DECODE_SHAPE : law.DECODE_SHAPE + 3] = low
    fit = AttentionModel(GpuModel(setup.gpu).body("attention"))
    if GENERATION not in fit.parts or CONTEXT not in fit.parts:
        raise InputError([Problem("hardware", 0, 0, f"{setup.gpu} has no attention times of both phases")])
    found = {law.GENERATION: _section(fit.parts[GENERATION])}
    if fit.mixed_parts and not model.kv_rank:
        nearest = min(fit.mixed_parts, key=lambda pair: abs(np.log2(pair[1] / kv_heads)))
        found[law.MIXED] = _section(fit.mixed_parts[nearest])
    else:
        found[law.PREFILL] = _section(fit.parts[CONTEXT])
    return found


def _section(parts: tuple[Any, ...]) -> _Array:
    """Sizes of the law and of four axes, then law, axes and table."""
    numbers, table, *axes = parts
    sizes = [len(numbers), *(len(axis) for axis in axes)]
    return np.concatenate([sizes, numbers, *axes, np.ravel(table)]).astype(np.float64)
