"""Time of an expert All2All kernel: dispatch and combine of DeepEP and of TensorRT-LLM, by tokens, shape and SMs.

The law and its residual are in ``models.comms.all_to_all_law``; here is what surrounds them: which kernel a row asks
about, how many bytes a copy has, what was measured.

Bytes of a copy: DeepEP dispatch is FP8 with a 4-byte scale per 128 values (and 16 bytes of header in low latency),
combine is BF16; TensorRT-LLM by ``moe_dtype``. Fitted by ``analysis.calibrate.all_to_all``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Column, Prediction, unpack
from models.comms.all_to_all_law import LAW, all_to_all_array
from models.errors import InputError, Problem

KERNELS = ("deepep_low_latency", "deepep_normal", "trtllm_two_sided", "trtllm_one_sided")
PHASES = ("dispatch", "combine", "dispatch_notify", "combine_notify", "prepare", "combine_low_precision")
SYNONYMS = {"NVLinkTwoSided": "trtllm_two_sided", "NVLinkOneSided": "trtllm_one_sided"}
ELEMENT = {"bfloat16": 2.0, "fp8": 1.0, "nvfp4": 0.5625}  # bytes a value, the scales of nvfp4 included
COLUMNS = (
    Column("kernel", "text", optional=True),
    Column("kernel_source", "text", optional=True),
    Column("phase", "text", optional=True),
    Column("op_name", "text", optional=True),
    Column("moe_dtype", "text", optional=True),
    Column("node_num", optional=True, high=2**16),
    Column("moe_ep_size", optional=True, high=2**20),
    Column("hidden_size", high=2**20),
    Column("num_token", optional=True, low=0, high=2**31),
    Column("num_tokens", optional=True, low=0, high=2**31),
    Column("num_topk", optional=True, high=2**16),
    Column("topk", optional=True, high=2**16),
    Column("num_experts", high=2**20),
    Column("sms", optional=True, high=1024),
    Column("dispatch_sms", optional=True, high=1024),
    Column("combine_sms", optional=True, high=1024),
)
GPUS_A_NODE = 8


@dataclass(frozen=True)
class Section:
    """One phase of one kernel, inside a node or between nodes: law, curves, and where they hold."""

    law: NDArray[np.float64]
    layout: NDArray[np.float64]  # [shapes, 10]: log2 of ranks, hidden, top-k, experts, bytes a value; then as they are
    curves: NDArray[np.float64]  # [shapes, SMs, tokens], natural log
    sm_knots: NDArray[np.float64]  # [2, SMs]: log2, then as they are
    start: float
    tokens: tuple[float, float]


class AllToAllModel:
    """The fitted All2All kernels of one GPU type, built from the body of its fitted file."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.sections = {
            (kernel, phase, where): _section(entry)
            for kernel, phases in body["kernels"].items()
            for phase, both in phases.items()
            for where, entry in both.items()
        }

    def has(self, kernel: str, phase: str) -> bool:
        return any((kernel, phase, where) in self.sections for where in ("node", "nodes"))

    def us(
        self,
        kernel: str,
        phase: str,
        tokens: int,
        hidden: int,
        topk: int,
        experts: int,
        nodes: int = 1,
        *,
        sms: int = 24,
        ranks: int | None = None,
        dtype: str = "fp8",
    ) -> tuple[float, bool]:
        """Microseconds, and whether it lies outside what was measured; ``tokens`` a GPU, 8 GPUs a node by default."""
        element = element_bytes(kernel, phase, hidden, dtype)
        row = [ranks or GPUS_A_NODE * nodes, nodes, hidden, element, topk, experts, sms, tokens]
        time, outside = self.rows(kernel, phase, np.array([row], np.float64))
        return float(time[0]), bool(outside[0])

    def rows(self, kernel: str, phase: str, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The same for many rows of one kernel and phase: ranks, nodes, hidden, element, topk, experts, sms, tokens."""
        time, outside = np.empty(len(rows)), np.ones(len(rows), np.bool_)
        for several in (False, True):
            at = np.flatnonzero((rows[:, 1] > 1) == several)
            if not len(at):
                continue
            where = ("nodes", "node") if several else ("node", "nodes")
            known = [place for place in where if (kernel, phase, place) in self.sections]
            section = self.sections[kernel, phase, known[0]]
            part, out = np.ascontiguousarray(rows[at]), np.empty(len(at))
            number = KERNELS.index(kernel)
            all_to_all_array(
                section.law, section.layout, section.curves, section.sm_knots, section.start, number, part, out
            )
            time[at] = out
            place = np.log2(part[:, [0, 2, 4, 5, 3]])
            shapes = section.layout[:, :5]
            beyond = (place < shapes.min(0) - 0.01) | (place > shapes.max(0) + 0.01)
            off = beyond.any(1) | (part[:, 7] < section.tokens[0]) | (part[:, 7] > section.tokens[1])
            knots = section.sm_knots[1]
            if len(knots) > 1:
                off |= (part[:, 6] < knots[0]) | (part[:, 6] > knots[-1])
            outside[at] = off | (known[0] != where[0])
        return time, outside


def _section(entry: Mapping[str, Any]) -> Section:
    law = np.array([entry["law"][name] for name in LAW], np.float64)
    shapes, sms = np.array(entry["shapes"], np.float64), np.array(entry["sms"], np.float64)
    layout, knots = np.hstack([np.log2(shapes), shapes]), np.vstack([np.log2(sms), sms])
    curves = np.ascontiguousarray(unpack(entry["residual"]))
    return Section(law, layout, curves, knots, float(entry["log2_start"]), tuple(entry["tokens"]))


def element_bytes(kernel: str, phase: str, hidden: float, dtype: str = "fp8") -> float:
    """Bytes a value of one token copy, scales and header included."""
    if kernel.startswith("trtllm"):
        if phase == "combine_low_precision":
            return 1.0
        return 2.0 if phase == "combine" else ELEMENT[dtype]
    if phase.startswith("combine"):
        return 2.0
    return 1.0 + 4 / 128 + (16.0 / hidden if kernel == "deepep_low_latency" else 0.0)


def choices(fitted: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    kernels = list(fitted["kernels"])
    phases = [phase for phase in PHASES if any(phase in found for found in fitted["kernels"].values())]
    return {
        "kernel": kernels,
        "kernel_source": [name for name, kernel in SYNONYMS.items() if kernel in kernels],
        "phase": phases,
        "op_name": phases + [f"alltoall_{phase}" for phase in phases],
        "moe_dtype": list(ELEMENT),
    }


def check(table: Mapping[str, NDArray[Any]]) -> list[tuple[int, str, str]]:
    """Missing columns, top-k above the experts, kernels whose SMs are missing."""
    if not len(table["hidden_size"]):
        return []
    missing = [names for names in (("num_token", "num_tokens"), ("num_topk", "topk")) if not set(names) & set(table)]
    if missing:
        return [(0, "hidden_size", f"there is no column '{names[0]}'") for names in missing]
    topk = _either(table, "num_topk", "topk")
    above = np.flatnonzero(topk > table["num_experts"])
    faults = [(int(i), "num_topk" if "num_topk" in table else "topk", "top-k is above num_experts") for i in above]
    if not {"sms", "dispatch_sms", "combine_sms"} & set(table):
        normal = [i for i, name in enumerate(kernels(table)) if name == "deepep_normal"]
        faults += [
            (i, "kernel", "deepep_normal needs a column 'sms' (or 'dispatch_sms', 'combine_sms')") for i in normal
        ]
    return faults


def _either(table: Mapping[str, NDArray[Any]], *names: str) -> NDArray[Any]:
    return next(np.asarray(table[name]) for name in names if name in table)


def kernels(table: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The kernel of each row: said by ``kernel`` or ``kernel_source``, else known by the columns that are there."""
    rows = len(table["hidden_size"])
    if "kernel" in table:
        return np.asarray(table["kernel"])
    if "kernel_source" in table:
        return np.array([SYNONYMS[name] for name in table["kernel_source"]], object)
    if "moe_ep_size" in table:
        return np.full(rows, "trtllm_two_sided", object)
    sms = {"sms", "dispatch_sms", "combine_sms"} & set(table)
    return np.full(rows, "deepep_normal" if sms else "deepep_low_latency", object)


def inputs(table: Mapping[str, NDArray[Any]], kernel: NDArray[Any], phase: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of numbers as ``AllToAllModel.rows`` takes them, for the kernel and phase given of each."""
    rows = len(kernel)
    nodes = np.asarray(table["node_num"], np.float64) if "node_num" in table else np.ones(rows)
    ranks = np.asarray(table["moe_ep_size"], np.float64) if "moe_ep_size" in table else np.zeros(rows)
    hidden = np.asarray(table["hidden_size"], np.float64)
    dtype = table.get("moe_dtype", np.full(rows, "fp8", object))
    element = [element_bytes(k, p, h, t) for k, p, h, t in zip(kernel, phase, hidden, dtype, strict=True)]
    sms = np.ones(rows)
    if "sms" in table:
        sms = np.asarray(table["sms"], np.float64)
    elif {"dispatch_sms", "combine_sms"} & set(table):
        given = (_either(table, "dispatch_sms", "combine_sms"), _either(table, "combine_sms", "dispatch_sms"))
        sms = np.where([p.startswith("combine") for p in phase], given[1], given[0]).astype(np.float64)
    columns = [
        np.where(ranks > 0, ranks, GPUS_A_NODE * nodes),
        nodes,
        hidden,
        np.array(element),
        _either(table, "num_topk", "topk"),
        table["num_experts"],
        sms,
        _either(table, "num_token", "num_tokens"),
    ]
    return np.ascontiguousarray(np.column_stack(columns).astype(np.float64))


def predict(table: Mapping[str, NDArray[Any]], fitted: Mapping[str, Any]) -> Prediction:
    """Both phases of each row, and ``predicted_us``: the row's ``phase`` (or ``op_name``); without one, their sum.

    The sum is dispatch and combine, the kernels alone. What a normal kernel between nodes spends before them to tell
    its peers the counts is ``predicted_notify_us``, of both phases.
    """
    model = AllToAllModel(fitted)
    kernel = kernels(table)
    rows = len(kernel)
    chosen = table.get("phase", table.get("op_name"))
    asked = np.full(rows, "", object) if chosen is None else np.array([p.removeprefix("alltoall_") for p in chosen])
    for name, part in sorted({(k, p) for k, p in zip(kernel, asked, strict=True)}):
        if name not in fitted["kernels"] or (part and not model.has(name, part)):
            had = ", ".join(fitted["kernels"].get(name, fitted["kernels"]))
            message = f"no measured {name} {part}".rstrip() + f" for this hardware; there is {had}"
            raise InputError([Problem("hardware", 0, 0, message)])

    def phase_us(phase: NDArray[Any], at: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        time, outside = np.zeros(rows), np.zeros(rows, np.bool_)
        numbers = inputs(table, kernel, phase)
        for name, part in {(k, p) for k, p, use in zip(kernel, phase, at, strict=True) if use}:
            where = np.flatnonzero(at & (kernel == name) & (phase == part))
            if model.has(name, part):
                time[where], outside[where] = model.rows(name, part, numbers[where])
            else:
                time[where], outside[where] = np.nan, True
        return time, outside

    every, none = np.ones(rows, np.bool_), asked == ""
    dispatch, off_dispatch = phase_us(np.full(rows, "dispatch", object), every)
    combine, off_combine = phase_us(np.full(rows, "combine", object), every)
    nodes = table["node_num"] if "node_num" in table else np.ones(rows)
    tells = (kernel == "deepep_normal") & (nodes > 1)
    notify = sum(phase_us(np.full(rows, f"{p}_notify", object), tells)[0] for p in ("dispatch", "combine"))
    own, off_own = phase_us(asked, ~none)
    total = np.where(none, dispatch + combine, own)
    more = {
        "predicted_dispatch_us": dispatch,
        "predicted_combine_us": combine,
        "predicted_notify_us": np.asarray(notify),
    }
    return Prediction(total, np.where(none, off_dispatch | off_combine, off_own), more)
