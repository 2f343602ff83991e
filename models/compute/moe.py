"""A fused grouped mixture-of-experts layer (gate/up, activation, down) on one GPU, in microseconds.

``grouped_us`` takes the tokens of every expert on the GPU. The law: a floor; the root of the summed squares of two
costs, the weights of the active experts over the memory's bandwidth and the tensor work of rows padded to the kernel's
tile; traffic of the rows, both those in the kernel's buffers (tokens x choices of the whole group where the kernel is
handed them) and those that belong here; a cost per active expert. Times a table over tokens per active expert, active
experts, hidden and inner size, which holds what the law can't know (tile choice).

``predict`` takes the columns of the measured tables, which time the most loaded rank of a synthetic routing: the
routing gives the tokens per expert (``moe_loads``), ``grouped_us`` the time, a table of measured shapes the rest.
Some measured "balanced" rows are not (group-limited top-k sends all to a few experts: 256 or 384 experts and more than
one rank); they are in that last table only and never in ``grouped_us``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Body, Column, Prediction, unpack
from models.compute.grid import linear4, place
from models.compute.moe_loads import DRAWS, Routing, heaviest_rank, routing_of
from models.errors import InputError, Problem, nearest
from models.jit import njit

COLUMNS = (
    Column("model_shape", "text", optional=True),
    Column("op_name", "text", optional=True),
    Column("dtype", "text"),
    Column("hidden_size", high=2**20),
    Column("inter_size", high=2**20),
    Column("num_experts", high=2**16),
    Column("num_slots", high=2**16, optional=True),
    Column("topk", high=2**16),
    Column("moe_tp_size", high=2**16, optional=True),
    Column("moe_ep_size", high=2**16),
    Column("distribution", "text"),
    Column("activated_experts", high=2**16, optional=True),
    Column("num_tokens", high=2**26),
    Column("rank0_num_tokens", low=0, high=2**26, optional=True),
    Column("kernel", "text", optional=True),
)
WEIGHT_BYTES = {"bfloat16": 2.0, "float16": 2.0, "fp8_block": 1.0, "fp8": 1.0, "w4a16_mxfp4": 0.53125, "nvfp4": 0.5625}
WIDE = "cutlass"  # the kernel of the wide-EP tables
STATS = 6  # active experts, rows here, rows padded to 16, 64 and 128, sum of squares of an expert's rows
_DRAW = (0.2, 5.0)  # how far the draw behind a row may lie from ours


@njit("f8(f8[::1], f8, f8, f8, f8[::1])", internal=True)
def _law(law: Any, hidden: Any, inner: Any, rows: Any, stats: Any) -> Any:
    """The law alone: ``rows`` = tokens x choices in the kernel's buffers; ``stats`` as from ``_count``."""
    sms, flops, bandwidth, weight_bytes = law[0], law[1], law[2], law[3]
    floor, weight_rate, tensor_rate, row_rate = law[4], law[5], law[6], law[7]
    tile, per_expert, inner_rate, local_rate = law[8], law[9], law[10], law[11]
    cache, spill = law[12], law[13]
    active, here = stats[0], stats[1]
    each = here / max(active, 1.0)
    padded = stats[2] if each < 32 else (stats[3] if each < 128 else stats[4])
    weights = active * 3 * hidden * inner * weight_bytes / (bandwidth * weight_rate)
    tensor = 6 * hidden * inner * (padded * tile + here * (1 - tile)) / (flops * tensor_rate)
    # An expert whose rows outgrow the L2 cache reads them again for every column of tiles.
    full = 2 * hidden * stats[5] / max(here, 1.0) / cache
    full *= full
    tensor *= 1 + spill * full / (1 + full)
    both = math.sqrt(weights * weights + tensor * tensor)
    traffic = 2 * rows * (hidden / row_rate + 3 * inner / inner_rate) + here * (2 * hidden + 6 * inner) / local_rate
    return floor + both + traffic / bandwidth + per_expert * active / sms


@njit("f8(f8[::1], f8[:,:,:,::1], f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, f8, f8[::1])", inline=True)
def grouped_of_stats(
    law: Any,
    table: Any,
    by_each: Any,
    by_active: Any,
    by_hidden: Any,
    by_inner: Any,
    hidden: Any,
    inner: Any,
    rows: Any,
    stats: Any,
) -> Any:
    """Law times table from the numbers of ``stats``; first two axes in log2."""
    active = max(stats[0], 1.0)
    rest = linear4(
        table,
        place(by_each, math.log2(max(stats[1], 1.0) / active)),
        place(by_active, math.log2(active)),
        place(by_hidden, hidden),
        place(by_inner, inner),
    )
    return _law(law, hidden, inner, rows, stats) * math.exp(rest)


@njit("void(i8[::1], f8[::1])", inline=True)
def _count(tokens: Any, stats: Any) -> None:
    """Adds to ``stats`` what the law needs of the tokens per expert."""
    active, here, by_16, by_64, by_128, squares = 0, 0, 0, 0, 0, 0.0
    for load in tokens:
        active += load > 0
        here += load
        by_16 += (load + 15) & ~15
        by_64 += (load + 63) & ~63
        by_128 += (load + 127) & ~127
        squares += float(load) * load
    stats[0] += active
    stats[1] += here
    stats[2] += by_16
    stats[3] += by_64
    stats[4] += by_128
    stats[5] += squares


@njit("f8(f8[::1], f8[:,:,:,::1], f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, i8[::1], f8[::1])")
def grouped_us(
    law: Any,
    table: Any,
    by_each: Any,
    by_active: Any,
    by_hidden: Any,
    by_inner: Any,
    hidden: Any,
    inner: Any,
    tokens: Any,
    stats: Any,
) -> Any:
    """One layer: ``tokens`` per expert of this GPU -> microseconds; ``stats`` is scratch for ``STATS`` numbers."""
    stats[:] = 0.0
    _count(tokens, stats)
    time = grouped_of_stats(law, table, by_each, by_active, by_hidden, by_inner, hidden, inner, stats[1], stats)
    return time * (stats[1] > 0)


@njit("void(f8[::1], f8[:,:,:,::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[:,::1], f8[::1])")
def grouped_rows(
    law: Any,
    table: Any,
    by_each: Any,
    by_active: Any,
    by_hidden: Any,
    by_inner: Any,
    hidden: Any,
    inner: Any,
    rows: Any,
    stats: Any,
    out: Any,
) -> None:
    """``grouped_of_stats`` for every row, into ``out``."""
    for i in range(len(out)):
        out[i] = grouped_of_stats(
            law, table, by_each, by_active, by_hidden, by_inner, hidden[i], inner[i], rows[i], stats[i]
        )


@njit("void(f8[::1], f8[::1], f8[::1], f8[::1], f8[:,::1], f8[::1])")
def law_rows(law: Any, hidden: Any, inner: Any, rows: Any, stats: Any, out: Any) -> None:
    """The law alone for every row, into ``out``. For fitting."""
    for i in range(len(out)):
        out[i] = _law(law, hidden[i], inner[i], rows[i], stats[i])


@njit("void(i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], f8[::1], b1[::1], f8[:,::1], f8[::1])")
def stats_rows(
    tokens: Any, experts: Any, slots: Any, top_k: Any, ranks: Any, exponent: Any, eplb: Any, out: Any, distinct: Any
) -> None:
    """Mean stats of the most loaded rank over the draws, and its distinct tokens, for every row of a measured table."""
    for i in range(len(out)):
        draws = DRAWS if exponent[i] > 0 else 1
        out[i] = 0.0
        distinct[i] = 0.0
        for draw in range(draws):
            loads = heaviest_rank(tokens[i], experts[i], slots[i], top_k[i], ranks[i], exponent[i], eplb[i], draw)
            _count(loads, out[i])
            nowhere = 1.0
            for load in loads:
                nowhere *= max(0.0, 1 - load / tokens[i])
            distinct[i] += tokens[i] * (1 - nowhere)
        out[i] /= draws
        distinct[i] /= draws


def spread_stats(pairs: NDArray[np.int64], active: NDArray[np.int64]) -> NDArray[np.float64]:
    """Stats when ``pairs`` (token, expert) rows are spread evenly over ``active`` experts."""
    active = np.minimum(active, pairs)
    low, more = pairs // active, pairs % active
    padded = [active, pairs]
    for tile in (16, 64, 128):
        padded.append(-(-(low + 1) // tile) * tile * more + -(-low // tile) * tile * (active - more))
    padded.append((low + 1) ** 2 * more + low**2 * (active - more))
    return np.stack(padded, axis=1).astype(np.float64)


class Shapes(NamedTuple):
    """Rows of a measured table as numbers: float64 hidden, inner (a shard's), rows of the buffers; stats [n, STATS]."""

    hidden: NDArray[np.float64]
    inner: NDArray[np.float64]
    rows: NDArray[np.float64]
    stats: NDArray[np.float64]


def filled(table: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The table with its optional columns filled in: no tensor parallelism or spare slots; kernel and load unsaid."""
    count = len(table["num_tokens"])
    full = dict(table)
    full.setdefault("moe_tp_size", np.ones(count, np.int64))
    full.setdefault("num_slots", full["num_experts"])
    full.setdefault("kernel", np.full(count, "", object))
    full.setdefault("activated_experts", np.zeros(count, np.int64))
    full.setdefault("rank0_num_tokens", np.zeros(count, np.int64))
    return full


def shapes_of(table: Mapping[str, NDArray[Any]]) -> Shapes:
    """What the law needs of every row of a filled table."""
    tokens, top_k = table["num_tokens"], table["topk"]
    routings = [routing_of(name) or Routing(0.0, False) for name in table["distribution"]]
    exponent = np.array([routing.exponent for routing in routings], np.float64)
    eplb = np.array([routing.eplb for routing in routings], np.bool_)
    columns = [tokens, table["num_experts"], table["num_slots"], top_k, table["moe_ep_size"]]
    key = np.stack([*(np.asarray(c, np.float64) for c in columns), exponent, eplb], axis=1)
    unique, back = np.unique(key, axis=0, return_inverse=True)
    whole = [np.ascontiguousarray(unique[:, i], np.int64) for i in range(5)]
    stats, distinct = np.empty((len(unique), STATS)), np.empty(len(unique))
    stats_rows(*whole, np.ascontiguousarray(unique[:, 5]), np.ascontiguousarray(unique[:, 6] > 0), stats, distinct)
    stats, distinct = stats[back.ravel()], distinct[back.ravel()]
    # Where the tokens that reached the rank are stated, the draw is scaled to them.
    seen = table["rank0_num_tokens"]
    scale = np.where(seen > 0, np.clip(seen / distinct, *_DRAW), 1.0)
    stats[:, 1:] *= scale[:, None]
    stats[:, 5] *= scale
    stats[:, 1] = np.maximum(stats[:, 1], stats[:, 0])
    for column, tile in ((2, 16), (3, 64), (4, 128)):
        stats[:, column] = np.maximum(stats[:, column], tile * stats[:, 0])
    rows = (tokens * top_k).astype(np.float64)
    given = np.flatnonzero(table["activated_experts"] > 0)
    if len(given):
        stats[given] = spread_stats(tokens[given] * top_k[given], table["activated_experts"][given])
    # Wide expert parallelism hands a rank only the tokens it needs.
    wide = np.array([name == WIDE for name in table["kernel"]], np.bool_) | eplb
    rows[wide] = stats[wide, 1]
    inner = table["inter_size"] / table["moe_tp_size"]
    return Shapes(table["hidden_size"].astype(np.float64), inner, rows, stats)


class GroupedModel:
    """A fitted grouped-GEMM model of one GPU (``body`` of a calibrated file)."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.laws: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.limits: dict[tuple[str, str], Any] = {}
        for part in body["laws"]:
            by_each, by_active, by_hidden, by_inner = (np.array(axis, np.float64) for axis in part["axes"])
            axes = (np.log2(by_each), np.log2(by_active), by_hidden, by_inner)
            name = (part["dtype"], part["kernel"])
            self.laws[name] = (np.array(part["law"], np.float64), unpack(part["table"]), *axes)
            self.limits[name] = part["limits"]
            if "from" in part:  # another GPU's measurements
                self.limits[name] = None
        self._scratch = np.zeros(STATS)

    def kernel_of(self, dtype: str, kernel: str | None = None) -> tuple[str, str]:
        """The fitted (dtype, kernel) that answers for a dtype; InputError if there is none."""
        dtype = {"float16": "bfloat16", "fp8": "fp8_block"}.get(dtype, dtype)
        if kernel is None and dtype not in self.body["default"]:
            valid = nearest(dtype, self.body["default"])
            raise InputError([Problem("moe", 0, 0, f"no times of experts in {dtype}{valid}")])
        return dtype, kernel or self.body["default"][dtype]

    def us(
        self, dtype: str, hidden: int, inner: int, tokens: NDArray[np.int64], kernel: str | None = None
    ) -> tuple[float, bool]:
        """(microseconds, extrapolated): ``tokens`` int64 [experts on this GPU]; ``inner`` of this GPU's shard."""
        name = self.kernel_of(dtype, kernel)
        stats = self._scratch
        time = float(grouped_us(*self.laws[name], float(hidden), float(inner), tokens, stats))
        return time, bool(self.outside(name, float(hidden), float(inner), stats))

    def outside(self, name: tuple[str, str], hidden: Any, inner: Any, stats: Any) -> Any:
        """Whether a shape (numbers, or arrays by row) lies outside the fitted range of its kernel."""
        limits = self.limits[name]
        stats = np.atleast_2d(stats)
        active = np.maximum(stats[:, 0], 1.0)
        spans = ((hidden, "hidden"), (inner, "inner"), (active, "active"), (stats[:, 1] / active, "each"))
        out = np.full(len(stats), limits is None)
        for value, key in spans if limits is not None else ():
            low, high = limits[key]
            out |= (value < low * 0.999) | (value > high * 1.001)
        return out[0] if np.ndim(hidden) == 0 else out

    def rows(self, name: tuple[str, str], shapes: Shapes) -> NDArray[np.float64]:
        """``grouped_us`` for every row of a measured table."""
        out = np.empty(len(shapes.hidden))
        grouped_rows(*self.laws[name], *(np.ascontiguousarray(values, np.float64) for values in shapes), out)
        return out


GROUP = ("dtype", "kernel", "hidden_size", "inter_size", "num_experts", "num_slots", "topk")


def label_of(distribution: str, activated: int) -> str:
    """Name of a row's load in a group: its distribution, or the number of active experts where that is given."""
    return f"activated_{activated}" if activated > 0 else distribution


class _Group:
    """The measured shapes of one model under one kernel: log residual by (load, layout, tokens).

    The last token count was not measured: it says where the trend leads.
    """

    def __init__(self, part: dict[str, Any]) -> None:
        self.loads = {name: i for i, name in enumerate(part["loads"])}
        self.layouts = {tuple(layout): i for i, layout in enumerate(part["layouts"])}
        self.tokens = np.log2(np.array(part["tokens"], np.float64))
        self.table = unpack(part["table"])

    def rest(self, load: str, layout: tuple[int, int], tokens: int) -> float | None:
        if load not in self.loads or layout not in self.layouts:
            return None
        row = self.table[self.loads[load], self.layouts[layout]]
        return float(np.interp(math.log2(tokens), self.tokens, row))

    def holds(self, tokens: int) -> bool:
        return bool(self.tokens[0] - 1e-9 <= math.log2(tokens) <= self.tokens[-2] + 1e-9)


def choices(fitted: Body) -> dict[str, Sequence[str]]:
    """Names that the text columns may hold; routings have numbers in them and are checked by ``check``."""
    dtypes = list(dict.fromkeys(part["dtype"] for part in fitted["laws"]))
    return {"dtype": dtypes, "kernel": list(dict.fromkeys(part["kernel"] for part in fitted["laws"]))}


def check(table: Mapping[str, NDArray[Any]]) -> list[tuple[int, str, str]]:
    """Faults across columns: (row, column, message)."""
    full = filled(table)
    found = []
    for row, name in enumerate(full["distribution"]):
        if routing_of(name) is None:
            message = f"unknown distribution '{name}'; balanced, uniform or power_law_NUMBER, with _eplb behind or not"
            found.append((row, "distribution", message))
    faults = (
        ("topk", full["topk"] > full["num_experts"], "top-k is above the number of experts"),
        ("num_slots", full["num_slots"] < full["num_experts"], "fewer slots than experts"),
        ("moe_ep_size", full["num_slots"] % full["moe_ep_size"] != 0, "experts do not divide over the ranks"),
        ("moe_tp_size", full["inter_size"] % full["moe_tp_size"] != 0, "the inner size does not divide"),
        ("activated_experts", full["activated_experts"] > full["num_experts"], "more active experts than experts"),
    )
    for column, wrong, message in faults:
        found += [(int(row), column, message) for row in np.flatnonzero(wrong)]
    return found


def predict(table: Mapping[str, NDArray[Any]], fitted: Body) -> Prediction:
    """Times of every row of a table with ``COLUMNS``."""
    model = GroupedModel(fitted)
    full = filled(table)
    groups = {tuple(part[name] for name in GROUP): _Group(part) for part in fitted["groups"]}
    kernels: dict[tuple[Any, ...], str] = {}
    for part in sorted(fitted["groups"], key=lambda part: int(part["rows"])):
        kernels[tuple(part[name] for name in GROUP if name != "kernel")] = part["kernel"]  # the one with most rows
    count = len(full["num_tokens"])
    keys: list[tuple[Any, ...]] = []
    kernel_of = np.empty(count, object)
    for i in range(count):
        rest = tuple(int(full[name][i]) for name in GROUP[2:])
        dtype = str(full["dtype"][i])
        kernel = full["kernel"][i] or kernels.get((dtype, *rest))
        name = model.kernel_of(dtype, kernel if (dtype, kernel) in model.laws else None)
        kernel_of[i] = name[1]
        keys.append((*name, *rest))
    shapes = shapes_of({**full, "kernel": kernel_of})
    us, outside = np.empty(count), np.zeros(count, np.bool_)
    for name in dict.fromkeys(key[:2] for key in keys):
        here = np.array([i for i, key in enumerate(keys) if key[:2] == name])
        part = Shapes(*(values[here] for values in shapes))
        us[here] = model.rows((name[0], name[1]), part)
        outside[here] = model.outside((name[0], name[1]), part.hidden, part.inner, part.stats)
    for i, key in enumerate(keys):
        group = groups.get(key)
        if group is None:
            continue
        tokens = int(full["num_tokens"][i])
        load = label_of(str(full["distribution"][i]), int(full["activated_experts"][i]))
        more = group.rest(load, (int(full["moe_tp_size"][i]), int(full["moe_ep_size"][i])), tokens)
        if more is not None:
            us[i] *= math.exp(more)
            outside[i] = not group.holds(tokens)
    return Prediction(us, outside)
