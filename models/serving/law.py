"""What one iteration of a replica takes, in microseconds, for compiled callers.

A replica's ``ranks`` schedulers step together: row r of ``totals`` holds what rank r computes in this iteration
(columns ``TOKENS`` .. ``DRAFTED``; an idle rank's row is 0), ``chunks[r, i]`` its prefill chunks (new tokens, tokens
before them). ``cost`` is one flat memory that ``models.serving.costs`` makes; its first word tells the law.

CALIBRATED: curves by number of tokens (dense layers, experts, communication) and of sampled rows (output head), and
attention by the shape of the batch. The first chunk shares a kernel with the decodes; each further one adds its time
beyond a launch. Decodes of unequal length take a share (``SPREAD``; beside a chunk, where none is split, ``TAIL`` over
their number) of what the longest length would cost them all beyond the mean. Up to ``CAPTURED`` tokens are padded to
the batches that CUDA graphs were captured for. Ranks that share experts (``LOCKSTEP``) are padded to the largest of
them while that one is captured; an idle one runs one token.

LINEAR: ``step + prefill_token x prompt tokens + decode_sequence x decodes + context_token x their context`` of the rank
that takes longest.

TABLE: whole iterations as measured (``models.serving.tables``), the slowest rank's.
"""

from __future__ import annotations

import math
from typing import Any

from models.compute.attention import attention_us, mixed_us
from models.jit import njit
from models.serving.tables import table_us

# columns of totals
TOKENS = 0  # all tokens computed
SEQUENCES = 1  # rows that sample a token
DECODES = 2  # sequences in decode
CONTEXT = 3  # sum of the decodes' KV lengths, the new token included
LONGEST = 4  # the largest of them
PREFILLS = 5  # chunks
SWAPPED = 6  # KV blocks moved to or from the host; their time is the scheduler's own
DRAFTED = 7  # draft tokens verified; they are in TOKENS too
TOTALS = 8

CALIBRATED, LINEAR, TABLE = 0, 1, 2
PART_DENSE, PART_ATTENTION, PART_EXPERTS, PART_COMMUNICATION, PART_HEAD, PART_OVERHEAD = range(6)
PARTS = 6

# words of a calibrated cost: numbers, then where each section begins (0: there is none)
STEP, SEQUENCE, LOCKSTEP, CAPTURED, LAYERS, BYTES = 1, 2, 3, 4, 5, 6
PREFILL_SHAPE, DECODE_SHAPE = 7, 10  # heads, KV heads, head width
DENSE, EXPERTS, COMMUNICATION, HEAD = 13, 14, 15, 16  # curves
MIXED, PREFILL, GENERATION = 17, 18, 19  # attention
WORDS = 20

#: What a spread batch takes of the way from the time at the mean length to that at the longest: the middle of what
#: vLLM's attention showed on an RTX PRO 6000 and an RTX 4090, 16 to 256 decodes alone, 2 to 128 beside a chunk
#: (LLMServingSim @ 0d3de681, skew_fit.csv of llama-3.1-8b, qwen3-30b-a3b and qwen3-32b, MIT).
SPREAD, TAIL = 0.04, 3.0


@njit("f8(f8, f8)", inline=True)
def padded(tokens: Any, captured: Any) -> Any:
    """The captured batch that holds ``tokens`` (vLLM: 1, 2, 4, multiples of 8 to 256, then of 16); beyond: itself."""
    if tokens > captured or tokens <= 0.0:
        return tokens
    if tokens <= 2.0:
        return tokens
    if tokens <= 4.0:
        return 4.0
    unit = 8.0 if tokens <= 256.0 else 16.0
    return math.ceil(tokens / unit) * unit


@njit("f8(f8[::1], i8, f8)", internal=True)
def _curve(cost: Any, at: Any, x: Any) -> Any:
    """The curve at ``at``: fine, stride, count, a value for each of 0..fine, then one a stride; beyond: through 0."""
    if at == 0:
        return 0.0
    fine, stride, count = cost[at], cost[at + 1], int(cost[at + 2])
    first = at + 3
    place = x if x <= fine else fine + (x - fine) / stride
    last = count - 1
    if place >= last:
        end = fine + (last - fine) * stride if last > fine else float(last)
        return cost[first + last] * (x / end)
    low = int(place)
    return cost[first + low] + (place - low) * (cost[first + low + 1] - cost[first + low])


@njit("f8(f8[::1], i8, f8, f8, f8, f8)", internal=True)
def _mixed_at(cost: Any, at: Any, new: Any, past: Any, decodes: Any, kv: Any) -> Any:
    """The mixed law of the section at ``at``: sizes of law and axes, law, axes, table."""
    size, a, b, c, d = int(cost[at]), int(cost[at + 1]), int(cost[at + 2]), int(cost[at + 3]), int(cost[at + 4])
    law = at + 5
    first = law + size
    second, third, fourth = first + a, first + a + b, first + a + b + c
    table = fourth + d
    return mixed_us(
        cost[law:first],
        cost[table : table + a * b * c * d].reshape((a, b, c, d)),
        cost[first:second],
        cost[second:third],
        cost[third:fourth],
        cost[fourth:table],
        new,
        past,
        decodes,
        kv,
        cost[PREFILL_SHAPE],
        cost[PREFILL_SHAPE + 1],
        cost[PREFILL_SHAPE + 2],
        cost[BYTES],
    )


@njit("f8(f8[::1], i8, i8, f8, f8, f8, i8)", internal=True)
def _separate_at(cost: Any, at: Any, phase: Any, batch: Any, new: Any, kv: Any, shape: Any) -> Any:
    """The law of one phase alone, of the section at ``at``, for heads as at ``shape``."""
    size, a, b, c, d = int(cost[at]), int(cost[at + 1]), int(cost[at + 2]), int(cost[at + 3]), int(cost[at + 4])
    law = at + 5
    first = law + size
    second, third, fourth = first + a, first + a + b, first + a + b + c
    table = fourth + d
    return attention_us(
        cost[law:first],
        cost[table : table + a * b * c * d].reshape((a, b, c, d)),
        cost[first:second],
        cost[second:third],
        cost[third:fourth],
        cost[fourth:table],
        phase,
        batch,
        new,
        kv,
        cost[shape],
        cost[shape + 1],
        cost[shape + 2],
        cost[BYTES],
    )


@njit("f8(f8[::1], f8, f8, f8)", internal=True)
def _decodes_us(cost: Any, decodes: Any, mean: Any, longest: Any) -> Any:
    """Decodes without a chunk, one layer."""
    at = int(cost[GENERATION])
    even = _separate_at(cost, at, 1, decodes, 1.0, mean, DECODE_SHAPE)
    if longest <= mean:
        return even
    return even + SPREAD * (_separate_at(cost, at, 1, decodes, 1.0, longest, DECODE_SHAPE) - even)


@njit("f8(f8[::1], f8, f8)", internal=True)
def _chunk_us(cost: Any, new: Any, past: Any) -> Any:
    """A chunk alone, one layer."""
    if cost[MIXED] > 0:
        return _mixed_at(cost, int(cost[MIXED]), new, past, 0.0, 0.0)
    return _separate_at(cost, int(cost[PREFILL]), 0, 1.0, new, past + new, PREFILL_SHAPE)


@njit("f8(f8[::1], f8[::1], f8[:, ::1])", internal=True)
def _attention_us(cost: Any, totals: Any, chunks: Any) -> Any:
    """Attention of one rank's batch, all layers."""
    decodes, prefills = totals[DECODES], int(totals[PREFILLS])
    mean, longest = 0.0, 0.0
    if decodes > 0:
        mean, longest = max(totals[CONTEXT] / decodes, 1.0), totals[LONGEST]
    if prefills == 0:
        return cost[LAYERS] * _decodes_us(cost, decodes, mean, longest) if decodes > 0 else 0.0
    floor = cost[int(cost[MIXED] if cost[MIXED] > 0 else cost[PREFILL]) + 10]  # word 5 of a law
    new, past = chunks[0, 0], chunks[0, 1]
    if decodes <= 0:
        time = _chunk_us(cost, new, past)
    elif cost[MIXED] > 0:
        at = int(cost[MIXED])
        time = _mixed_at(cost, at, new, past, decodes, mean)
        if longest > mean:
            time += min(1.0, TAIL / decodes) * (_mixed_at(cost, at, new, past, decodes, longest) - time)
    else:
        time = _chunk_us(cost, new, past) + _decodes_us(cost, decodes, mean, longest)
        time -= cost[int(cost[GENERATION]) + 10]
    for i in range(1, prefills):
        time += max(0.0, _chunk_us(cost, chunks[i, 0], chunks[i, 1]) - floor)
    return cost[LAYERS] * time


@njit("UniTuple(f8, 6)(f8[::1], f8[:, ::1], f8[:, :, ::1], i8)", internal=True)
def _calibrated(cost: Any, totals: Any, chunks: Any, ranks: Any) -> Any:
    """By part, in the order of ``PART_DENSE`` ..; dense layers and attention are those of the slowest rank."""
    captured, lockstep = cost[CAPTURED], cost[LOCKSTEP] > 0
    most = 0.0
    for rank in range(ranks):
        most = max(most, totals[rank, TOKENS])
    together = lockstep and most <= captured
    dense, attention, head, rows = 0.0, 0.0, 0.0, 0.0
    union, least = 0.0, math.inf
    for rank in range(ranks):
        tokens = totals[rank, TOKENS]
        if lockstep:
            tokens = max(tokens, 1.0)
        tokens = padded(most if together else tokens, captured)
        union += tokens
        least = min(least, tokens)
        own = _curve(cost, int(cost[DENSE]), tokens)
        apart = _attention_us(cost, totals[rank], chunks[rank])
        if own + apart > dense + attention:
            dense, attention = own, apart
        sampled = totals[rank, SEQUENCES] + totals[rank, DRAFTED]
        head = max(head, _curve(cost, int(cost[HEAD]), sampled))
        rows = max(rows, totals[rank, DECODES] + totals[rank, PREFILLS])
    experts = _curve(cost, int(cost[EXPERTS]), union if lockstep else padded(most, captured))
    # A rank receives what the others send; equal shares are the measured case.
    share = (union - least) / (ranks - 1) if lockstep and ranks > 1 else padded(most, captured)
    communication = _curve(cost, int(cost[COMMUNICATION]), share)
    return dense, attention, experts, communication, head, cost[STEP] + cost[SEQUENCE] * rows


@njit("f8(f8[::1], f8[:, ::1], i8)", internal=True)
def _linear(cost: Any, totals: Any, ranks: Any) -> Any:
    """cost: kind, step, prefill_token, decode_sequence, context_token."""
    most = 0.0
    for rank in range(ranks):
        decodes = totals[rank, DECODES]
        prompt = totals[rank, TOKENS] - decodes - totals[rank, DRAFTED]
        most = max(most, cost[2] * prompt + cost[3] * decodes + cost[4] * totals[rank, CONTEXT])
    return cost[1] + most


@njit("f8(f8[::1], f8[:, ::1], f8[:, :, ::1], i8)", internal=True)
def _table(cost: Any, totals: Any, chunks: Any, ranks: Any) -> Any:
    """The slowest rank's whole iteration."""
    most = 0.0
    for rank in range(ranks):
        decodes = totals[rank, DECODES] + totals[rank, DRAFTED]
        prefills = int(totals[rank, PREFILLS])
        if prefills > 0 or decodes > 0.0:
            most = max(most, table_us(cost, chunks[rank], prefills, decodes, totals[rank, CONTEXT]))
    return most


@njit("void(f8[::1], f8[:, ::1], f8[:, :, ::1], i8, f8[::1])")
def parts_us(cost: Any, totals: Any, chunks: Any, ranks: Any, out: Any) -> None:
    """The iteration by part, into ``out``: f8 [PARTS]; laws of whole iterations count as dense."""
    out[:] = 0.0
    if cost[0] == CALIBRATED:
        parts = _calibrated(cost, totals, chunks, ranks)
        for i in range(PARTS):
            out[i] = parts[i]
    elif cost[0] == LINEAR:
        out[PART_DENSE] = _linear(cost, totals, ranks)
    else:
        out[PART_DENSE] = _table(cost, totals, chunks, ranks)


@njit("f8(f8[::1], f8[:, ::1], f8[:, :, ::1], i8)")
def iteration_us(cost: Any, totals: Any, chunks: Any, ranks: Any) -> Any:
    """One iteration of ``ranks`` schedulers that step together."""
    if cost[0] == CALIBRATED:
        parts = _calibrated(cost, totals, chunks, ranks)
        return parts[0] + parts[1] + parts[2] + parts[3] + parts[4] + parts[5]
    if cost[0] == LINEAR:
        return _linear(cost, totals, ranks)
    return _table(cost, totals, chunks, ranks)
