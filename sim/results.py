"""``Results``: what a run left in its folder, for Python: tables as pandas frames, figures, status, variants."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import nearest
from models.records import STATUSES, TABLES
from models.summary import flat

_SHOWN = (
    *(f"flows.{column}.{statistic}" for column in ("fct_us", "slowdown") for statistic in ("p50", "p99")),
    "collectives.time_us.mean",
    "collectives.busbw_gbytes.mean",
    "moe_steps.time_us.mean",
    *(f"requests.{column}.{statistic}" for column in ("ttft_ms", "tpot_ms", "e2e_ms") for statistic in ("p50", "p99")),
    "requests.good.mean",
    "links.utilisation.max",
)


class Results:
    """One run, or the variants of one scenario: ``results["ecmp"]`` is the run of a variant.

    ``temporary``: the folder goes when nobody uses the results any more.
    """

    def __init__(self, folder: Path, *, temporary: bool = False, above: Results | None = None) -> None:
        self.folder = folder
        self._above = above  # keeps a temporary folder alive
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if temporary:
            weakref.finalize(self, shutil.rmtree, folder.parent, ignore_errors=True)

    @cached_property
    def variants(self) -> dict[str, Results]:
        """Name -> its results, in the scenario's order; empty without variants."""
        names = [entry["name"] for entry in self.manifest.get("variants", [])]
        return {name: Results(self.folder / name, above=self) for name in names}

    def runs(self) -> dict[str, Results]:
        """The variants, or this run under its scenario's name."""
        return self.variants or {str(self.manifest["name"]): self}

    def __getitem__(self, variant: str) -> Results:
        if variant not in self.variants:
            raise KeyError(f"no variant '{variant}'{nearest(variant, self.variants)}")
        return self.variants[variant]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variants)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json; of several variants, by name."""
        if self.variants:
            return {name: run.summary for name, run in self.variants.items()}
        content: dict[str, Any] = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        return content

    @property
    def status(self) -> str:
        """``completed``, ``saturated``, ``stopped`` or ``stalled``; of several variants the worst."""
        if self.variants:
            return max((run.status for run in self.variants.values()), key=STATUSES.index)
        return str(self.summary["status"])

    def number(self, table: str, column: str, statistic: str) -> float | None:
        """A figure such as ``number("flows", "fct_us", "p99")``, or None where there is none."""
        return None if self.variants else self.summary.get(table, {}).get(column, {}).get(statistic)

    def frame(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Table ``name`` as in docs/results.md; of several variants all rows, with their ``variant`` in front."""
        if name not in TABLES:
            raise KeyError(f"no table '{name}'{nearest(name, TABLES)}")
        if self.variants:
            frames = [run.frame(name, columns).assign(variant=key) for key, run in self.variants.items()]
            whole = pd.concat([one for one in frames if len(one)] or frames[:1], ignore_index=True)
            return whole[["variant", *whole.columns.drop("variant")]]
        wanted = list(columns) if columns is not None else TABLES[name].names()
        file = self.folder / f"{name}.parquet"
        return pd.read_parquet(file, columns=wanted) if file.exists() else pd.DataFrame(columns=wanted)

    def figures(self) -> pd.DataFrame:
        """A row a run, a column a figure of its summary: ``figures()["flows.fct_us.p99"]``."""
        return pd.DataFrame(
            [{"status": run.status, **flat(run.summary)} for run in self.runs().values()], index=list(self.runs())
        )

    def _table(self) -> pd.DataFrame:
        figures = self.figures()
        shown = [name for name in _SHOWN if name in figures and figures[name].notna().any()]
        counts = [name for name in ("flows.count", "requests.count") if figures[name].any() or name == "flows.count"]
        return figures[["status", *counts, *shown]]

    def __repr__(self) -> str:
        text = self._table().to_string(float_format=lambda value: f"{value:.5g}", na_rep="-")
        return f"{self.manifest['name']} ({self.folder})\n{text}"

    def _repr_html_(self) -> str:
        return str(self._table().to_html(float_format=lambda value: f"{value:.5g}", na_rep="-"))
