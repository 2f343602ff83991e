"""The measured mixture-of-experts rows that are shipped, from tables of three layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.calibrate import common
from analysis.calibrate.common import Shipped
from models.calibrated import Column
from models.compute import moe

Table = Mapping[str, NDArray[Any]]

_AIC = "github.com/ai-dynamo/aiconfigurator @ 095f58a51c4ca8e61b66ec108d86f223f8d559ce"
_APACHE = "Apache-2.0, Copyright NVIDIA CORPORATION & AFFILIATES"
_SIM = "github.com/casys-kaist/LLMServingSim @ 5daddb21a545658d5150b535712d0494584b5278: RTXPRO6000 moe.csv"
_WIDE = "wide-EP moe, TensorRT-LLM 1.3.0rc10"
SHIPPED = {
    "a100_sxm": Shipped(["moe_a100_sxm.csv.gz"], f"{_AIC}: a100_sxm moe, vLLM 0.14.0", _APACHE),
    **{
        system: Shipped(
            [f"moe_{system}.csv.gz", f"moe_wideep_{system}.csv.gz"],
            f"{_AIC}: {system} moe, vLLM 0.24.0; {_WIDE}",
            _APACHE,
        )
        for system in ("h100_sxm", "h200_sxm", "b200_sxm")
    },
    "gb200": Shipped(["moe_wideep_gb200.csv.gz"], f"{_AIC}: gb200 {_WIDE}", _APACHE),
    "rtx_pro_6000": Shipped(["moe_activated_rtx_pro_6000.csv.gz"], _SIM, "MIT, Copyright the LLMServingSim authors"),
}
#: What a fit needs of a row.
NAMES = (
    *moe.GROUP,
    "moe_tp_size",
    "moe_ep_size",
    "distribution",
    "activated_experts",
    "num_tokens",
    "rank0_num_tokens",
    "time_us",
)
_ACTIVATED = (Column("tokens"), Column("activated_experts"), Column("time_us", "number", 1e-6, 1e12))
#: What the table by activated experts was measured on: Qwen3-30B-A3B in bfloat16, one GPU.
_QWEN3_30B: dict[str, Any] = {
    "dtype": "bfloat16",
    "kernel": "vllm_fused_moe",
    "hidden_size": 2048,
    "inter_size": 768,
    "num_experts": 128,
    "num_slots": 128,
    "topk": 8,
    "moe_tp_size": 1,
    "moe_ep_size": 1,
    "distribution": "balanced",
}


def trapped(table: Table) -> NDArray[np.bool_]:
    """Rows called balanced that are not: DeepSeek-V3's and Kimi-K2's gates with more than one rank."""
    many = np.isin(table["num_experts"], (256, 384)) & (table["hidden_size"] == 7168)
    vllm = np.array([str(name).startswith("vllm") for name in table["kernel"]], np.bool_)
    return many & vllm & (table["moe_ep_size"] > 1) & (table["distribution"] == "balanced")


def rows(system: str) -> dict[str, NDArray[Any]]:
    """The shipped rows of a GPU's tables, with the columns that only some have filled in."""
    parts = []
    for file in SHIPPED[system].files:
        if file.startswith("moe_activated"):
            raw = common.read_measured(file, _ACTIVATED).table
            fixed = {name: np.full(len(raw["tokens"]), value) for name, value in _QWEN3_30B.items()}
            words = {name: value.astype(object) for name, value in fixed.items() if value.dtype.kind == "U"}
            given = {"num_tokens": raw["tokens"], "activated_experts": raw["activated_experts"]}
            table = {**fixed, **words, **given, "time_us": raw["time_us"]}
        else:
            table = common.read_measured(file, common.columns_of("moe")).table
        full = moe.filled(table)
        parts.append({name: full[name] for name in NAMES})
    return common.join(parts)
