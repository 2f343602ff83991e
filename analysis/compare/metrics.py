"""What is compared: ``table.column.statistic`` as in summary.json, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.load import Results
from models.columns import Column
from models.errors import InputError, Problem, nearest
from models.records import TABLES
from models.summary import MINIMUM

STATISTICS = ("mean", "p50", "p95", "p99", "max")
_LARGER = (
    "algbw_gbytes",
    "busbw_gbytes",
    "utilisation",
    "utilisation_mean",
    "admitted",
    "earned",
    "objective",
    "carried",
    "good",
    "good_share",
    "goodput_per_s",
    "served_per_s",
    "output_tokens_per_s",
    "finished",
    "cached_tokens",
    "prefix_hit_share",
    *(f"{limit}_attained" for limit in ("ttft", "tpot", "itl", "e2e")),
)
# the first with rows
_DEFAULTS = (("collectives", "time_us"), ("moe_steps", "time_us"), ("requests", "e2e_ms"), ("demands", "earned"))
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Metric:
    """A figure of a run, such as flows.fct_us.p99."""

    table: str
    column: str
    statistic: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}.{self.statistic}"

    @property
    def larger_is_better(self) -> bool:
        return self.column in _LARGER

    @property
    def described(self) -> Column:
        return next(column for column in TABLES[self.table] if column.name == self.column)

    @property
    def quantile(self) -> float | None:
        return _QUANTILES.get(self.statistic)

    def why_null(self, run: Results, cut: int = 0) -> str:
        """Why a run that completed has no such figure, the first ``cut`` flows left out."""
        rows = run.rows(self.table)
        if rows == 0:
            return str(run.summary.get(self.table, {}).get("reason", TABLES[self.table].empty))
        counted = int(run.summary[self.table].get(self.column, {}).get("n", 0))
        least = MINIMUM.get(self.quantile or 0, 1)
        after = f", {cut} of them warm-up" if cut else ""
        return f"{self.statistic} takes {least} rows of {self.table} with {self.column}, there are {counted}{after}"


def parse(texts: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics asked for, in order. InputError with everything that is wrong with them."""
    problems: list[Problem] = []
    metrics = []
    for text in texts:
        found = _parse(text, problems)
        if found in metrics:
            problems.append(Problem(f"--metric:{text}", 0, 0, "is asked for twice"))
        elif found is not None:
            metrics.append(found)
    if problems:
        raise InputError(problems)
    return tuple(metrics)


def _parse(text: str, problems: list[Problem]) -> Metric | None:
    where = f"--metric:{text}"
    table, column, statistic = [*text.split("."), "", "", ""][:3]
    figures = {name: _figures(name) for name in TABLES if _figures(name)}
    if table not in figures:
        problems.append(Problem(where, 0, 0, f"no table '{table}' with figures{nearest(table, figures)}"))
    elif column not in figures[table]:
        problems.append(Problem(where, 0, 0, f"no figure '{column}' in {table}{nearest(column, figures[table])}"))
    elif statistic not in STATISTICS or text.count(".") != 2:
        what = f"no statistic '{statistic}'" if statistic else "lacks its statistic"
        problems.append(Problem(where, 0, 0, f"{what}{nearest(statistic, STATISTICS)}"))
    else:
        return Metric(table, column, statistic)
    return None


def _figures(table: str) -> list[str]:
    return [column.name for column in TABLES[table] if column.type != "text" and column.statistics]


def default(run: Results) -> Metric:
    """The time of the work: collectives, layers with experts, requests; what demands earn; else the flows' tail.

    Of few flows their mean.
    """
    for table, column in _DEFAULTS:
        if run.rows(table):
            return Metric(table, column, "mean")
    enough = run.rows("flows") >= MINIMUM[0.99]
    return Metric("flows", "fct_us", "p99" if enough else "mean")
