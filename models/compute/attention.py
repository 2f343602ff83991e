"""Attention of one layer on one GPU: prefill (``context``), decode (``generation``) and mixed batches, in microseconds.

A law with the physics in it, times a table of what it can't know (tile choice, split heuristics), fitted by
``analysis/calibrate/attention.py``. The law of both phases: a launch floor plus the root of the summed squares of
competing costs, each a work over a rate. Prefill: tensor work of the causal tiles of 128 query rows (packed over the
heads that share a KV head where the kernel does so), traffic of Q, K, V and O, the last tile that walks the whole
context on its one multiprocessor, and a cost per tile. Decode: the KV cache over the bandwidth of memory or, where it
fits, of the L2 cache; a cost per (sequence, KV head); the walk along a sequence that too few tiles can't split. The
table is linear in KV heads, queries per KV head and the logarithms of batch and length; outside its axes it is held at
the edge.

Mixed batches (a chunk of prefill and many decodes in one kernel): decodes are not split there, so the longest is a
floor, and tensor and memory work add up (measured on RTX 4090 and RTX PRO 6000).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Body, Column, Prediction, unpack
from models.compute.grid import linear4, place
from models.jit import njit

PHASES = ("context", "generation")
MIXED = "mixed"
CONTEXT, GENERATION = 0, 1
_LONG = 2**31
COLUMNS = (
    Column("phase", "text"),
    Column("attn_dtype", "text", optional=True),
    Column("kv_cache_dtype", "text", optional=True),
    Column("head_dim", high=4096, optional=True),
    Column("num_heads", high=4096),
    Column("num_key_value_heads", high=4096),
    Column("batch_size", high=2**24),
    Column("isl", high=_LONG),
    Column("kv_len", high=_LONG, optional=True),
    # Rows of phase "mixed" are told by these four; the plain columns of such a row only have to be valid.
    Column("prefill_chunk", low=0, high=_LONG, optional=True),
    Column("kv_prefill", low=0, high=_LONG, optional=True),
    Column("n_decode", low=0, high=2**24, optional=True),
    Column("kv_decode", low=0, high=_LONG, optional=True),
)
MIXED_COLUMNS = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
_BYTES = {"bfloat16": 2, "float16": 2, "fp8": 1}
_TILE = 128.0


@njit("f8(f8[::1], f8, f8, f8, f8, f8, f8, f8)", internal=True)
def _context(law: Any, batch: Any, new: Any, kv: Any, heads: Any, kv_heads: Any, dim: Any, wide: Any) -> Any:
    """Law of prefill: ``new`` query tokens a sequence, ``kv`` tokens of context at its end; ``wide`` bytes a number."""
    sms, flops, bandwidth, packed = law[0], law[1], law[2], law[4]
    floor, efficiency, memory, tile_cost, serial, walk = law[5], law[6], law[7], law[8], law[9], law[10]
    group = heads / kv_heads
    rows = new * group if packed > 0 else new
    tiles = math.ceil(rows / _TILE) * batch * (kv_heads if packed > 0 else heads)
    seen = kv - new + (_TILE * math.ceil(new / _TILE) + _TILE) / 2
    tile = 4 * dim * _TILE / (flops * efficiency)
    tensor = tile * tiles * seen
    traffic = 2 * wide * dim * batch * (heads * new + kv_heads * kv) / (bandwidth * memory)
    longest = tile * sms * (kv + _TILE) * serial
    issue = tiles * tile_cost / sms
    total = tensor * tensor + traffic * traffic + longest * longest + issue * issue
    return floor + math.sqrt(total) + walk * math.log1p(kv / 32)


@njit("f8(f8[::1], f8, f8, f8, f8, f8, f8)", internal=True)
def _generation(law: Any, batch: Any, kv: Any, heads: Any, kv_heads: Any, dim: Any, wide: Any) -> Any:
    """Law of decode: one query token for each of ``batch`` sequences of ``kv`` tokens."""
    sms, bandwidth, cache = law[0], law[2], law[3]
    floor, from_memory, from_cache, cache_share = law[5], law[6], law[7], law[8]
    unit_cost, row_cost, walk, serial = law[9], law[10], law[11], law[12]
    size = 2 * wide * dim * batch * kv_heads * kv
    ratio = cache * cache_share / size
    ratio *= ratio
    ratio *= ratio
    missed = 1 / (1 + ratio * ratio)
    traffic = size / bandwidth * (missed / from_memory + (1 - missed) / from_cache)
    units = batch * kv_heads
    issue = (units * unit_cost + batch * heads * row_cost) / sms
    along = walk * math.log1p(kv / 256) + serial * kv / max(1.0, sms / units)
    return floor + math.sqrt(traffic * traffic + issue * issue + along * along)


@njit("f8(f8[::1], f8, f8, f8, f8, f8, f8, f8, f8)", internal=True)
def _mixed(law: Any, new: Any, past: Any, decodes: Any, kv: Any, heads: Any, kv_heads: Any, dim: Any, wide: Any) -> Any:
    """Law of a mixed batch: one chunk of ``new`` tokens after ``past``, and ``decodes`` sequences of ``kv`` tokens."""
    sms, flops, bandwidth, cache = law[0], law[1], law[2], law[3]
    floor, efficiency, memory, from_memory, from_cache = law[5], law[6], law[7], law[8], law[9]
    row_cost, row_walk, serial, alone, cache_share = law[10], law[11], law[12], law[13], law[14]
    tile = 4 * dim * _TILE / (flops * efficiency)
    blocks = math.ceil(new / _TILE)
    work = tile * heads * blocks * (past + _TILE * (blocks + 1) / 2)
    work += 2 * wide * dim * (heads * new + kv_heads * (past + new)) / (bandwidth * memory)
    longest = tile * sms * (past + new) * serial
    if decodes > 0:
        size = 2 * wide * dim * decodes * kv_heads * max(kv, 1.0)
        ratio = cache * cache_share / size
        ratio *= ratio
        missed = 1 / (1 + ratio * ratio)
        work += size / bandwidth * (missed / from_memory + (1 - missed) / from_cache)
        work += decodes * heads * (row_cost + row_walk * kv) / sms
        longest = max(longest, alone * kv)
    work *= work * work
    longest *= longest * longest
    return floor + (work + longest) ** (1 / 3)


@njit("f8(f8[::1], f8[:,:,:,::1], f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, f8, f8, f8, f8, f8, f8)")
def mixed_us(
    law: Any,
    table: Any,
    by_new: Any,
    by_past: Any,
    by_decodes: Any,
    by_kv: Any,
    new: Any,
    past: Any,
    decodes: Any,
    kv: Any,
    heads: Any,
    kv_heads: Any,
    dim: Any,
    wide: Any,
) -> Any:
    """One mixed batch, microseconds. Axes in log2(1 + value)."""
    rest = linear4(
        table,
        place(by_new, math.log2(1 + new)),
        place(by_past, math.log2(1 + past)),
        place(by_decodes, math.log2(1 + decodes)),
        place(by_kv, math.log2(1 + kv)),
    )
    return _mixed(law, new, past, decodes, kv, heads, kv_heads, dim, wide) * math.exp(rest)


@njit("f8(f8[::1], f8[:,:,:,::1], f8[::1], f8[::1], f8[::1], f8[::1], i8, f8, f8, f8, f8, f8, f8, f8)")
def attention_us(
    law: Any,
    table: Any,
    by_kv_heads: Any,
    by_group: Any,
    by_batch: Any,
    by_length: Any,
    phase: Any,
    batch: Any,
    new: Any,
    kv: Any,
    heads: Any,
    kv_heads: Any,
    dim: Any,
    wide: Any,
) -> Any:
    """One evaluation, microseconds. ``phase`` 0: ``new`` query tokens a sequence; 1: decode. Last two axes in log2."""
    if phase == 0:
        base = _context(law, batch, new, kv, heads, kv_heads, dim, wide)
    else:
        base = _generation(law, batch, kv, heads, kv_heads, dim, wide)
    rest = linear4(
        table,
        place(by_kv_heads, kv_heads),
        place(by_group, heads / kv_heads),
        place(by_batch, math.log2(batch)),
        place(by_length, math.log2(kv)),
    )
    return base * math.exp(rest)


@njit(
    "void(f8[::1], f8[:,:,:,::1], f8[::1], f8[::1], f8[::1], f8[::1], i8, f8[::1], f8[::1], f8[::1], f8[::1],"
    " f8[::1], f8[::1], f8[::1], f8[::1])"
)
def attention_rows(
    law: Any,
    table: Any,
    by_kv_heads: Any,
    by_group: Any,
    by_batch: Any,
    by_length: Any,
    phase: Any,
    batch: Any,
    new: Any,
    kv: Any,
    heads: Any,
    kv_heads: Any,
    dim: Any,
    wide: Any,
    out: Any,
) -> None:
    """``attention_us`` for every row, into ``out``."""
    for i in range(len(out)):
        out[i] = attention_us(
            law,
            table,
            by_kv_heads,
            by_group,
            by_batch,
            by_length,
            phase,
            batch[i],
            new[i],
            kv[i],
            heads[i],
            kv_heads[i],
            dim[i],
            wide[i],
        )


def law_us(phase: int, law: NDArray[np.float64], *shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """The law alone (no table) by row: batch, new, kv, heads, kv_heads, dim, bytes a number. For fitting."""
    out = np.empty(len(shape[0]))
    one = np.zeros(1)
    attention_rows(law, np.zeros((1, 1, 1, 1)), one, one, one, one, phase, *shape, out)
    return out


@njit("void(f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1])")
def _mixed_rows(
    law: Any, new: Any, past: Any, decodes: Any, kv: Any, heads: Any, kv_heads: Any, dim: Any, wide: Any, out: Any
) -> None:
    for i in range(len(out)):
        out[i] = _mixed(law, new[i], past[i], decodes[i], kv[i], heads[i], kv_heads[i], dim[i], wide[i])


def mixed_law_us(law: NDArray[np.float64], *shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """The law of mixed batches alone by row: new, past, decodes, kv, heads, kv_heads, dim, bytes. For fitting."""
    out = np.empty(len(shape[0]))
    _mixed_rows(law, *shape, out)
    return out


class AttentionModel:
    """A fitted attention model of one GPU (``body`` of a calibrated file)."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.parts: dict[int, tuple[Any, ...]] = {}
        for number, phase in enumerate(PHASES):
            if phase in body["phases"]:
                part = body["phases"][phase]
                by_kv_heads, by_group, by_batch, by_length = (np.array(axis, np.float64) for axis in part["axes"])
                axes = (by_kv_heads, by_group, np.log2(by_batch), np.log2(by_length))
                self.parts[number] = (np.array(part["law"]), unpack(part["table"]), *axes)
        self.heads = {tuple(pair) for pair in body["heads"]}
        self.mixed_parts: dict[tuple[int, int], tuple[Any, ...]] = {}
        if MIXED in body:
            knots = tuple(np.log2(1 + np.array(axis, np.float64)) for axis in body[MIXED]["axes"])
            for pair, table in zip(body[MIXED]["heads"], body[MIXED]["tables"], strict=True):
                self.mixed_parts[tuple(pair)] = (np.array(body[MIXED]["law"]), unpack(table), *knots)

    def rows(
        self, phase: int, batch: Any, new: Any, kv: Any, heads: Any, kv_heads: Any, dim: Any, wide: Any
    ) -> NDArray[np.float64]:
        """Microseconds by row of float64 arrays of one length."""
        out = np.empty(len(batch))
        shape = [np.ascontiguousarray(values, np.float64) for values in (batch, new, kv, heads, kv_heads, dim, wide)]
        attention_rows(*self.parts[phase], phase, *shape, out)
        return out

    def outside(
        self, phase: int, batch: int, isl: int, kv_len: int, heads: int, kv_heads: int, head_dim: int, dtype: str
    ) -> bool:
        """Whether a shape lies outside what was measured."""
        limits = self.body["phases"][PHASES[phase]]["limits"]
        within = (
            (heads, kv_heads) in self.heads
            and head_dim == self.body["head_dim"]
            and _BYTES.get(dtype) == 2
            and limits["batch"][0] <= batch <= limits["batch"][1]
            and limits["length"][0] <= kv_len <= limits["length"][1]
            and batch * kv_len * kv_heads <= limits["kv_rows"]
            and batch * kv_len * heads <= limits["rows"]
            and (phase == GENERATION or isl == kv_len or limits.get("prefix", False))
        )
        return not within

    def us(
        self,
        phase: str,
        batch: int,
        isl: int,
        kv_len: int,
        heads: int,
        kv_heads: int,
        head_dim: int = 128,
        dtype: str = "bfloat16",
    ) -> tuple[float, bool]:
        """(microseconds, extrapolated). ``context``: ``isl`` new tokens that end at ``kv_len``; ``generation``: one."""
        number = PHASES.index(phase)
        wide = float(_BYTES.get(dtype, 2))
        shape = (float(batch), float(isl), float(kv_len), float(heads), float(kv_heads), float(head_dim), wide)
        time = float(attention_us(*self.parts[number], number, *shape))
        return time, self.outside(number, batch, isl, kv_len, heads, kv_heads, head_dim, dtype)

    def mixed(
        self,
        chunk: int,
        past: int,
        decodes: int,
        kv_decode: int,
        heads: int,
        kv_heads: int,
        head_dim: int = 128,
        dtype: str = "bfloat16",
    ) -> tuple[float, bool]:
        """(microseconds, extrapolated): ``chunk`` prefill tokens after ``past``, and ``decodes`` of ``kv_decode`` each.

        Where mixed batches were not measured: prefill and decode one after the other with one launch floor.
        """
        if chunk <= 0:
            return self.us("generation", decodes, 1, max(kv_decode, 1), heads, kv_heads, head_dim, dtype)
        if not self.mixed_parts:
            first, _ = self.us("context", 1, chunk, past + chunk, heads, kv_heads, head_dim, dtype)
            if decodes <= 0:
                return first, True
            second, _ = self.us("generation", decodes, 1, max(kv_decode, 1), heads, kv_heads, head_dim, dtype)
            return first + second - min(self.parts[GENERATION][0][5], second), True
        wide = float(_BYTES.get(dtype, 2))
        nearest = min(self.mixed_parts, key=lambda pair: abs(math.log2(pair[1] / kv_heads)))
        shape = (float(chunk), float(past), float(decodes), float(kv_decode), float(heads), float(kv_heads))
        time = float(mixed_us(*self.mixed_parts[nearest], *shape, float(head_dim), wide))
        limits = self.body[MIXED]["limits"]
        inside = (heads, kv_heads) in self.heads and chunk <= limits["prefill_chunk"] and past <= limits["kv_prefill"]
        inside = inside and decodes <= limits["n_decode"] and kv_decode <= limits["kv_decode"]
        return time, not (inside and head_dim == self.body["head_dim"] and wide == 2)


def choices(fitted: Body) -> dict[str, Sequence[str]]:
    """Names that the text columns may hold."""
    return {"phase": (*fitted["phases"], MIXED), "attn_dtype": tuple(_BYTES), "kv_cache_dtype": tuple(_BYTES)}


def check(table: Mapping[str, NDArray[Any]]) -> list[tuple[int, str, str]]:
    """Faults across columns: (row, column, message)."""
    found = []
    heads, kv_heads = table["num_heads"], table["num_key_value_heads"]
    for row in np.flatnonzero(heads % kv_heads):
        message = f"{heads[row]} heads can't share {kv_heads[row]} KV heads evenly"
        found.append((int(row), "num_key_value_heads", message))
    if "kv_len" in table:
        for row in np.flatnonzero(table["kv_len"] < table["isl"]):
            found.append((int(row), "kv_len", f"{table['kv_len'][row]} is less than isl {table['isl'][row]}"))
    missing = [name for name in MIXED_COLUMNS if name not in table]
    if missing:
        for row in np.flatnonzero(table["phase"] == MIXED):
            found.append((int(row), "phase", f"a mixed batch needs the columns {', '.join(MIXED_COLUMNS)}"))
    return found


def predict(table: Mapping[str, NDArray[Any]], fitted: Body) -> Prediction:
    """Times of every row of a table with ``COLUMNS``."""
    model = AttentionModel(fitted)
    count = len(table["phase"])
    kv = table.get("kv_len", table["isl"])
    dim = table.get("head_dim", np.full(count, fitted["head_dim"]))
    dtype = table.get("kv_cache_dtype", np.full(count, "bfloat16", object))
    wide = np.array([_BYTES[name] for name in dtype], np.float64)
    shape = [table["batch_size"], table["isl"], kv, table["num_heads"], table["num_key_value_heads"], dim]
    us, extrapolated = np.empty(count), np.zeros(count, np.bool_)
    for number in model.parts:
        here = np.flatnonzero(table["phase"] == PHASES[number])
        batch, isl, length, heads, kv_heads, head_dim = (values[here] for values in shape)
        us[here] = model.rows(number, batch, isl, length, heads, kv_heads, head_dim, wide[here])
        for at, row in enumerate(here):
            one = (int(batch[at]), int(isl[at]), int(length[at]), int(heads[at]), int(kv_heads[at]), int(head_dim[at]))
            extrapolated[row] = model.outside(number, *one, str(dtype[row]))
    for row in np.flatnonzero(table["phase"] == MIXED):
        chunk, past, decodes, kv_decode = (int(table[name][row]) for name in MIXED_COLUMNS)
        pair = (int(table["num_heads"][row]), int(table["num_key_value_heads"][row]))
        answer = model.mixed(chunk, past, decodes, kv_decode, *pair, int(dim[row]), str(dtype[row]))
        us[row], extrapolated[row] = answer
    return Prediction(us, extrapolated)
