"""DeepSeek's EPLB against its README and TensorRT-LLM's measurement."""

from __future__ import annotations

import numpy as np

from benchmarks.reproduce import eplb as ours
from solvers.eplb import rebalance
from validations._row import Found, Row

TITLE = "Placement of experts (EPLB)"
KIND = "published"
SOURCE = "the example of deepseek-ai/EPLB's README, and TensorRT-LLM's tech blog 4 (DeepSeek-R1 on 32 GB200)"
ABOUT = """\
The README's placement must come out slot by slot. TensorRT-LLM's traffic is not published: ours is log-normal, and
its one sigma was set by the first of six numbers (imbalance of the GPUs before); the others set nothing. After the
placement our GPUs are in better balance than theirs, since our popularity does not drift between the step that was
placed for and the next: reported. [More](moe.md).
"""
FIGURES = ("eplb_gpus.png", "eplb_links.png")
BANDS = {  # (before, after)
    "GPUs: (max - mean) / mean": (None, None),
    "GPUs: deviation / mean": (0.1, None),
    "slots: (max - mean) / mean": (0.1, 0.15),
}


def run(quick: bool) -> Found:
    rows = []
    for layer, (weight, slots) in enumerate(zip(ours.README_LOADS, ours.README_SLOTS, strict=True)):
        found = rebalance(np.array(weight, dtype=np.float64), 16, 4, 2, 8)
        other = int((found != np.array(slots)).sum())
        rows.append(Row(f"layer {layer}", "README: slots that differ", 0, other, side="at most"))
    balance = ours.balance(12 if quick else 58)
    for at, (name, (before, after)) in enumerate(ours.MEASURED.items()):
        first, second = BANDS[name]
        rows.append(Row(f"{name}, before", "balance of 32 GPUs", before, balance["before"][at], "", first))
        rows.append(Row(f"{name}, after", "balance of 32 GPUs", after, balance["global"][at], "", second))
    return Found(rows)
