"""Which GPUs were busiest, and which are slower than the others at the same kernels."""

from __future__ import annotations

from typing import Any

from analysis.load import Results
from analysis.rows import rows_where
from analysis.why.text import table, time_text

SHOWN = 5
_UNEQUAL = "experts"  # the kernel whose work differs between GPUs


def gpu_costs(run: Results, shown: int = SHOWN) -> list[dict[str, Any]]:
    """The busiest GPUs, where any computed.

    ``pace``: mean time of its kernels over the median GPU's, for equal work: all kernels of a job but the experts'.
    None: there were none.
    """
    gpus = run.frame("gpus", ["gpu", "busy_us", "wait_us", "tokens"])
    if not gpus["busy_us"].any():
        return []
    kernels = rows_where(run, "kernels", [("kernel", "!=", _UNEQUAL)], ["gpu", "kernel", "job", "duration_us"])
    usual = kernels.groupby(["kernel", "job"], observed=True)["duration_us"].transform("median")
    pace = (kernels["duration_us"] / usual).groupby(kernels["gpu"]).mean().to_dict()
    order = gpus.sort_values(["busy_us", "gpu"], ascending=[False, True], kind="stable")
    return [
        {"gpu": int(row.gpu), "busy_ps": round(row.busy_us * 1e6), "wait_ps": round(row.wait_us * 1e6)}
        | {"tokens": int(row.tokens), "pace": float(pace[row.gpu]) if row.gpu in pace else None}
        for row in order.head(shown).itertuples()
    ]


def gpu_lines(found: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            f"GPU {row['gpu']}",
            time_text(row["busy_ps"]),
            time_text(row["wait_ps"]),
            str(row["tokens"]) if row["tokens"] else "-",
            f"{row['pace']:.2f}x" if row["pace"] is not None else "-",
        ]
        for row in found
    ]
    return table(["", "busy", "waiting", "tokens", "same work"], rows)
