"""Fit of ``models/compute/moe.py``: law by robust least squares in log time, tables by kriging of what is left."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.calibrate import common
from analysis.calibrate.kriging import Field, krige
from analysis.calibrate.moe_rows import NAMES, SHIPPED, Table, rows, trapped
from models.calibrated import pack
from models.compute import moe
from models.hardware import GPUS, Gpu

COLUMNS = moe.COLUMNS
TIMES = ("time_us",)
__all__ = [
    "COLUMNS",
    "SHIPPED",
    "TIMES",
    "blocks",
    "coordinates",
    "fit",
    "roofline",
    "rows",
    "shape",
    "size",
    "trapped",
]

# Free numbers of the law: floor us; weights, tensor, rows (hidden) as shares of the peaks; share of padding;
# us per expert and multiprocessor; rows (inner), local rows as shares of the peak bandwidth; cache that an expert's
# rows have to themselves, bytes; more tensor time beyond it.
_START = (20.0, 0.85, 0.5, 1.0, 0.5, 1.0, 3.0, 3.0, 4e7, 0.2)
_LOW = (2.0, 0.2, 0.02, 0.05, 0.01, 0.01, 0.05, 0.05, 4e6, 0.001)
_HIGH = (200.0, 1.1, 1.1, 100.0, 1.0, 60.0, 100.0, 100.0, 4e8, 3.0)
_PRIOR = 0.05  # pull of a free number's logarithm to its start: what rows are silent on stays plausible
# The general table: log2 of tokens per active expert, active experts, hidden, inner.
_GENERAL_AXES = (
    [2**i for i in range(15)],
    [2**i for i in range(10)],
    [2048, 2880, 4096, 6144, 8192],
    [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384],
)
_GENERAL = (Field(0.12, (3.0, 4.0, 3.0, 4.0)), Field(0.06, (1.0, 6.0, 6.0, 6.0)))
_GENERAL_NOISE = 0.1
_TREND, _TREND_OCTAVES, _BEYOND = 0.7, 2.01, 4
_GENERAL_ROWS = 1000
# The table of measured shapes: log2 tokens, EP size, TP size, and the routing's skew. Category: the kernel.
_SHAPES = (
    Field(0.30, (12.0, 5.0, 6.0, 4.0), within=(0,)),
    Field(0.10, (2.2, 4.0, 5.0, 1.8)),
    Field(0.10, (3.0, 2.0, 1.5, 4.0), within=(0,)),
    Field(0.05, (1.0, 2.0, 3.0, 8.0), within=(0,), rough=True),
    Field(0.06, (0.8, 6.0, 6.0, 3.0)),
    Field(0.05, (0.6, 20.0, 20.0, 20.0), within=(0,)),
    Field(0.05, (20.0, 0.7, 0.7, 20.0), within=(0,)),
)
_DIFFERENCE = (Field(0.05, (8.0, 5.0, 5.0, 5.0), within=(0,)), Field(0.03, (1.5, 1.0, 0.7, 2.0), within=(0,)))
# Of a mean of five draws, of a row of one draw (wide-EP tables), of a row lent by a sibling.
_NOISE, _NOISE_DRAW, _NOISE_LENT = 0.02, 0.04, 0.025
#: One die: what one shows, the other nearly does.
SIBLING = {"h100_sxm": "h200_sxm", "h200_sxm": "h100_sxm", "gb200": "b200_sxm", "b200_sxm": "gb200"}
STAND_IN = {"gb200": "b200_sxm"}  # laws of dtypes that were not measured here


def _head(system: str, dtype: str) -> list[float]:
    gpu: Gpu = GPUS.get(system, GPUS["h100_sxm"])
    return [gpu.sms, gpu.peak_of(dtype) / 1e6, gpu.memory_bandwidth / 1e6, moe.WEIGHT_BYTES[dtype]]


def law_us(law: list[float], shapes: moe.Shapes) -> NDArray[np.float64]:
    out = np.empty(len(shapes.hidden))
    moe.law_rows(np.array(law, np.float64), *(np.ascontiguousarray(v, np.float64) for v in shapes), out)
    return out


def _fit_law(system: str, dtype: str, shapes: moe.Shapes, log_time: NDArray[np.float64]) -> list[float]:
    head = _head(system, dtype)

    start = np.log(_START)

    def error(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        off = np.log(law_us([*head, *np.exp(theta)], shapes)) - log_time
        return np.concatenate([off, _PRIOR * (theta - start)])

    bounds = (np.log(_LOW), np.log(_HIGH))
    result = least_squares(error, start, loss="soft_l1", f_scale=0.1, bounds=bounds, max_nfev=60)
    return [*head, *(float(f"{value:.6g}") for value in np.exp(result.x))]


def _features(shapes: moe.Shapes) -> NDArray[np.float64]:
    active = np.maximum(shapes.stats[:, 0], 1.0)
    each = np.maximum(shapes.stats[:, 1], 1.0) / active
    return np.log2(np.stack([each, active, shapes.hidden, shapes.inner], axis=1))


def _general(residual: NDArray[np.float64], shapes: moe.Shapes) -> tuple[list[list[int]], NDArray[np.float64]]:
    """The table of ``grouped`` on its axes."""
    # A fixed stride keeps the system small; the field is smooth.
    step = max(1, -(-len(residual) // _GENERAL_ROWS))
    points = _features(shapes)
    guess = krige(_GENERAL, points[::step], residual[::step], _GENERAL_NOISE, rounds=1)
    axes = [list(axis) for axis in _GENERAL_AXES]
    grid = np.meshgrid(*(np.log2(axis) for axis in axes), indexing="ij")
    values = guess.at(np.stack([part.ravel() for part in grid], axis=1)).reshape(grid[0].shape)
    return axes, values


def _laws(table: Table, shapes: moe.Shapes, system: str) -> list[dict[str, Any]]:
    """A law and a general table for every (dtype, kernel)."""
    found = []
    good = ~trapped(table)
    names = list(zip(table["dtype"], table["kernel"], strict=True))
    for dtype, kernel in dict.fromkeys(names):
        here = np.array([name == (dtype, kernel) for name in names]) & good
        part = moe.Shapes(*(values[here] for values in shapes))
        log_time = np.log(table["time_us"][here])
        law = _fit_law(system, dtype, part, log_time)
        axes, values = _general(log_time - np.log(law_us(law, part)), part)
        active = np.maximum(part.stats[:, 0], 1.0)
        each = part.stats[:, 1] / active
        spans = {"hidden": part.hidden, "inner": part.inner, "active": active, "each": each}
        limits = {name: [float(v.min()), float(v.max())] for name, v in spans.items()}
        found.append(
            {
                "dtype": dtype,
                "kernel": kernel,
                "rows": int(here.sum()),
                "law": law,
                "axes": axes,
                "table": pack(values, 5e-4),
                "limits": limits,
            }
        )
    return found


def _skew(table: Table) -> NDArray[np.float64]:
    """Coordinate of the load: routings apart, exponents by their size, given activation by its logarithm."""
    out = np.empty(len(table["num_tokens"]))
    for i, (name, active) in enumerate(zip(table["distribution"], table["activated_experts"], strict=True)):
        routing = moe.routing_of(name) or moe.Routing(0.0, False)
        out[i] = np.log2(active) if active > 0 else (2.5 * (routing.exponent - 0.2) if routing.exponent > 0 else 0.0)
    return out


def _points(tokens: Any, ep: Any, tp: Any, skew: Any) -> NDArray[np.float64]:
    return np.stack([np.log2(tokens), np.log2(ep), np.log2(tp), skew], axis=1)


def _model_key(table: Table) -> list[tuple[Any, ...]]:
    family = [str(name).split("_")[0] for name in table["kernel"]]
    columns = [table[name].tolist() for name in ("hidden_size", "inter_size", "num_experts", "topk")]
    return list(zip(*columns, family, strict=True))


def _kernel_key(table: Table) -> list[tuple[Any, ...]]:
    eplb = [str(name).endswith("_eplb") for name in table["distribution"]]
    columns = [table[name].tolist() for name in ("dtype", "kernel", "num_slots")]
    return list(zip(*columns, eplb, strict=True))


def fit(table: Table, system: str, lend: bool = True) -> dict[str, Any]:
    """The body of a fitted file from measured rows of one GPU.

    ``lend``: shapes that this table lacks may be guessed from the shipped rows of a GPU of the same die, within the
    token counts and models that the table covers.
    """
    full = moe.filled(table)
    shapes = moe.shapes_of(full)
    laws = _laws(full, shapes, system)
    if system in STAND_IN:
        theirs = _shipped_laws(STAND_IN[system])
        mine = {(part["dtype"], part["kernel"]) for part in laws}
        strange = [part for part in theirs if (part["dtype"], part["kernel"]) not in mine]
        laws += [{**part, "rows": 0, "from": STAND_IN[system]} for part in strange]
    own = {name: full[name] for name in NAMES}
    residual = np.log(own["time_us"]) - np.log(_general_us(laws, full, shapes))
    noise = np.where(own["kernel"] == moe.WIDE, _NOISE_DRAW, _NOISE)
    lent = _lent(own, residual, system) if lend and system in SIBLING else None
    if lent is not None:
        own = {name: np.concatenate([own[name], lent[0][name]]) for name in NAMES}
        residual = np.concatenate([residual, lent[1]])
        noise = np.concatenate([noise, np.where(lent[0]["kernel"] == moe.WIDE, _NOISE_DRAW, _NOISE_LENT)])
    tokens, ep = table["num_tokens"], table["moe_ep_size"]
    spans = {"num_tokens": [int(tokens.min()), int(tokens.max())], "moe_ep_size": [int(ep.min()), int(ep.max())]}
    return {"range": spans, "default": _default(laws), "laws": laws, "groups": _groups(own, residual, noise)}


def _keys(table: Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].tolist() for name in names), strict=True))


def _lent(
    own: Table, residual: NDArray[np.float64], system: str
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]] | None:
    """The sibling's rows at shapes that this table lacks, moved by the kriged difference where both were measured.

    Only between the least and largest token counts of the same model, kernel, load and layout in this table.
    """
    other, theirs = _shipped_residual(SIBLING[system])
    line = (*moe.GROUP, "distribution", "activated_experts", "moe_tp_size", "moe_ep_size")
    mine: dict[tuple[Any, ...], dict[int, float]] = {}
    for key, tokens, value in zip(_keys(own, *line), own["num_tokens"].tolist(), residual.tolist(), strict=True):
        mine.setdefault(key, {})[tokens] = value
    difference = np.full(len(theirs), np.nan)
    inside = np.zeros(len(theirs), np.bool_)
    for row, (key, tokens) in enumerate(zip(_keys(other, *line), other["num_tokens"].tolist(), strict=True)):
        known = mine.get(key, {})
        if tokens in known:
            difference[row] = known[tokens] - theirs[row]
        if known:
            inside[row] = min(known) <= tokens <= max(known)
    # A row of one draw is so noisy that the sibling's helps where both were measured, too.
    lacking = inside & (np.isnan(difference) | (other["kernel"] == moe.WIDE))
    points, categories, models = _places(other)
    moved, lent = theirs.copy(), np.zeros(len(theirs), np.bool_)
    for key in dict.fromkeys(models):
        here = np.array([other_key == key for other_key in models])
        both, wanted = here & np.isfinite(difference), here & lacking
        if wanted.any() and both.sum() >= common.FEWEST:
            middle = float(np.median(difference[both]))
            guess = krige(_DIFFERENCE, points[both], difference[both] - middle, _NOISE_LENT, categories[both])
            moved[wanted] += middle + guess.at(points[wanted], categories[wanted])
            lent |= wanted
    return (common.take(other, lent), moved[lent]) if lent.any() else None


def _places(table: Table) -> tuple[NDArray[np.float64], NDArray[np.int64], list[tuple[Any, ...]]]:
    """Where rows lie for the table of shapes: coordinates, number of the kernel, model."""
    points = _points(table["num_tokens"], table["moe_ep_size"], table["moe_tp_size"], _skew(table))
    kernels = _kernel_key(table)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(kernels))}
    return points, np.array([[numbers[key]] for key in kernels], np.int64), _model_key(table)


@functools.cache
def _shipped_laws(system: str) -> list[dict[str, Any]]:
    full = moe.filled(common.shipped_table("moe", system))
    return _laws(full, moe.shapes_of(full), system)


@functools.cache
def _shipped_residual(system: str) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
    """A GPU's shipped rows and what ``grouped_us`` leaves of them, in log units."""
    full = moe.filled(common.shipped_table("moe", system))
    general = _general_us(_shipped_laws(system), full, moe.shapes_of(full))
    return {name: full[name] for name in NAMES}, np.log(full["time_us"]) - np.log(general)


def _default(laws: list[dict[str, Any]]) -> dict[str, str]:
    """The kernel that answers for a dtype: the one with most rows."""
    best: dict[str, dict[str, Any]] = {}
    for part in laws:
        if part["dtype"] not in best or part["rows"] > best[part["dtype"]]["rows"]:
            best[part["dtype"]] = part
    return {dtype: part["kernel"] for dtype, part in best.items()}


def _general_us(laws: list[dict[str, Any]], table: Table, shapes: moe.Shapes) -> NDArray[np.float64]:
    """``grouped`` on every row."""
    model = moe.GroupedModel({"laws": laws})
    out = np.empty(len(shapes.hidden))
    names = list(zip(table["dtype"], table["kernel"], strict=True))
    for name in dict.fromkeys(names):
        here = np.array([other == name for other in names])
        out[here] = model.rows(name, moe.Shapes(*(values[here] for values in shapes)))
    return out


def _groups(table: Table, residual: NDArray[np.float64], noise: NDArray[np.float64]) -> list[dict[str, Any]]:
    """For every model and kernel: the residual completed over all its loads, layouts and token counts."""
    points, categories, models = _places(table)
    labels = np.array(
        [moe.label_of(d, int(a)) for d, a in zip(table["distribution"], table["activated_experts"], strict=True)],
        object,
    )
    groups = _keys(table, *moe.GROUP)
    found = []
    for key in dict.fromkeys(models):
        here = np.array([i for i, other in enumerate(models) if other == key])
        middle = float(np.median(residual[here]))
        guess = krige(_SHAPES, points[here], residual[here] - middle, noise[here], categories[here])
        for group in dict.fromkeys(groups[i] for i in here):
            rows = np.array([i for i in here if groups[i] == group])
            found.append(_complete(group, rows, table, labels, points, categories, guess, middle))
    return found


def _complete(
    group: tuple[Any, ...],
    rows: Any,
    table: Table,
    labels: Any,
    points: Any,
    categories: Any,
    guess: Any,
    middle: float,
) -> dict[str, Any]:
    """One group's table [loads, layouts, tokens]."""
    loads = list(dict.fromkeys(labels[rows]))
    first = {load: next(i for i in rows if labels[i] == load) for load in loads}
    layouts = sorted({(int(table["moe_tp_size"][i]), int(table["moe_ep_size"][i])) for i in rows})
    tokens = sorted({int(table["num_tokens"][i]) for i in rows})
    cells = np.empty((len(loads), len(layouts), len(tokens) + 1))
    for i, load in enumerate(loads):
        one = first[load]
        for j, (tp, ep) in enumerate(layouts):
            count = np.array(tokens, np.float64)
            where = _points(
                count, np.full(len(count), ep), np.full(len(count), tp), np.full(len(count), points[one, 3])
            )
            cells[i, j, :-1] = guess.at(where, np.tile(categories[one], (len(count), 1))) + middle
    # Beyond the largest count the trend of the last octaves goes on, weakened, for a while.
    octaves = np.log2(tokens)
    last = octaves >= octaves[-1] - _TREND_OCTAVES
    bent = cells[:, :, :-1][:, :, last]
    centred = octaves[last] - octaves[last].mean()
    slope = (bent * centred).sum(-1) / max(float((centred**2).sum()), 1.0)
    cells[:, :, -1] = np.clip(cells[:, :, -2] + _TREND * slope * _BEYOND, -3.0, 3.0)
    named = dict(zip(moe.GROUP, group, strict=True))
    shape = {"rows": len(rows), "loads": loads, "layouts": [list(layout) for layout in layouts], "tokens": tokens}
    shape["tokens"] = [*tokens, tokens[-1] * 2**_BEYOND]
    return {**named, **shape, "table": pack(cells, 5e-4)}


def shape(table: Table) -> NDArray[np.int64]:
    """Rows of one shape (all columns but the time) carry one number."""
    return common.groups(*(table[column.name] for column in COLUMNS if column.name in table))


def size(table: Table) -> tuple[NDArray[np.float64], str]:
    """Bins of the errors: tokens of the expert-parallel group."""
    return table["num_tokens"].astype(np.float64), "tokens"


def blocks(table: Table) -> dict[str, NDArray[np.bool_]]:
    """Held-out blocks: the largest quarter of token counts; one model left out; one layout left out."""
    tokens = table["num_tokens"]
    found = {"largest quarter": tokens > np.quantile(tokens, 0.75)}
    model = (table["hidden_size"] == 4096) & (table["inter_size"] == 1536)
    if model.any():
        found["Qwen3-235B-A22B"] = model
    return found


def roofline(table: Table, system: str) -> NDArray[np.float64]:
    """The plain roofline of the rank's share under even loads: the larger of tensor work and weight bytes."""
    full = moe.filled(table)
    gpu: Gpu = GPUS.get(system, GPUS["h100_sxm"])
    inner = full["inter_size"] / full["moe_tp_size"]
    experts = full["num_slots"] / full["moe_ep_size"]
    pairs = full["num_tokens"] * full["topk"] / full["moe_ep_size"]
    one = 3 * full["hidden_size"] * inner
    peak = np.array([gpu.peak_of(str(dtype)) for dtype in full["dtype"]])
    wide = np.array([moe.WEIGHT_BYTES[str(dtype)] for dtype in full["dtype"]])
    active = np.minimum(experts, np.maximum(pairs, 1.0))
    return np.maximum(2 * pairs * one / peak, active * one * wide / gpu.memory_bandwidth) * 1e6


def coordinates(table: Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log coordinates of the plain interpolation, and the group it is done within."""
    full = moe.filled(table)
    names = list(zip(*(full[name].tolist() for name in (*moe.GROUP, "distribution")), strict=True))
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    points = np.stack([full["num_tokens"], full["moe_ep_size"], full["moe_tp_size"]], axis=1)
    return np.log2(points.astype(np.float64)), np.array([order[name] for name in names], np.int64)
