"""Errors of simulated against measured rows, by metric and size: one by one, and between distributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.validate.bands import CORRELATION, OF_DISTRIBUTIONS, OF_ROWS
from analysis.validate.kinds import HELD_OUT, Kind

_PAIRS = 3  # rows below which a correlation says nothing
_FEWEST = {"p50": 1, "p95": 20, "p99": 100}  # rows below which a quantile says nothing


class Bin(NamedTuple):
    """Sizes from ``low`` on and below ``high``, in bytes."""

    low: float
    high: float


def bins(sizes: NDArray[Any]) -> list[Bin]:
    """The decades that hold sizes."""
    decades = sorted({len(str(int(size))) - 1 for size in np.unique(sizes)})  # a logarithm would round
    return [Bin(10.0**decade, 10.0 ** (decade + 1)) for decade in decades]


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Kolmogorov-Smirnov's: the largest difference of two empirical distributions."""
    every = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(values), every, side="right") / len(values) for values in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def matched(measured: pd.DataFrame, simulated: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """Measured rows with the simulated metrics of the same keys as ``sim_<metric>``, the mean over repeats."""
    keys = list(kind.keys)
    metrics = [name for name in kind.metrics if name in measured]
    known = simulated[[*keys, *metrics]].groupby(keys, sort=True).mean().add_prefix("sim_").reset_index()
    merged = measured.merge(known, on=keys, how="left", validate="many_to_one")
    for name in metrics:
        merged[f"error_{name}"] = merged[f"sim_{name}"] / merged[name] - 1
    return merged


def table(
    case: str, measured: pd.DataFrame, simulated: pd.DataFrame, kind: Kind, *, paired: bool, split: bool
) -> pd.DataFrame:
    """A row a group, metric, part and size bin (the first of each is of all sizes): counts and statistics.

    Of rows (null where they have no counterparts): bias is the signed mean of the errors; median, p90 and worst are of
    their absolute values. Of distributions (null in kinds whose rows always have one): relative differences of mean and
    quantiles, and the Kolmogorov-Smirnov distance. ``split``: rows held out are told apart from the others.
    """
    found = []
    for group, mine, ours in _groups(measured, simulated, kind):
        both = matched(mine, ours, kind) if paired else mine
        for metric in (name for name in kind.metrics if name in measured):
            for part in _parts(mine) if split else ["all"]:
                rows = both if part == "all" else both[both[HELD_OUT] == (part == "held out")]
                sizes = [Bin(0.0, np.inf), *bins(rows[kind.size].to_numpy())]
                for one in sizes:
                    here, there = _within(rows, one, kind), _within(ours, one, kind)
                    head = {
                        "case": case,
                        "group": group,
                        "metric": metric,
                        "part": part,
                        "from": one.low,
                        "to": one.high,
                    }
                    found.append(head | _statistics(here, there, metric, kind, paired))
    return pd.DataFrame(found)


def _parts(mine: pd.DataFrame) -> list[str]:
    """Parts of a group where rows are held out: all rows and both sorts of them, or the only sort that it has."""
    found = ["held out"] if mine[HELD_OUT].any() else []
    found += ["other"] if not mine[HELD_OUT].all() else []
    return ["all", *found] if len(found) == 2 else found


def _groups(
    measured: pd.DataFrame, simulated: pd.DataFrame, kind: Kind
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Rows of each value of the kind's group that both have."""
    if kind.group is None:
        yield "", measured, simulated
        return
    for value in dict.fromkeys(measured[kind.group]):
        ours = simulated[simulated[kind.group] == value]
        if len(ours):
            yield str(value), measured[measured[kind.group] == value], ours


def _within(rows: pd.DataFrame, one: Bin, kind: Kind) -> pd.DataFrame:
    return rows[(rows[kind.size] >= one.low) & (rows[kind.size] < one.high)]


def _statistics(
    measured: pd.DataFrame, simulated: pd.DataFrame, metric: str, kind: Kind, paired: bool
) -> dict[str, float | int | None]:
    told: dict[str, float | int | None] = dict.fromkeys(
        ("measured", "simulated", *OF_ROWS, CORRELATION, *OF_DISTRIBUTIONS)
    )
    there = measured[metric].dropna().to_numpy(dtype=float)
    here = simulated[metric].dropna().to_numpy(dtype=float)
    told["measured"], told["simulated"] = len(there), len(here)
    if paired:
        error = measured[f"error_{metric}"].dropna().to_numpy(dtype=float)
        told["measured"] = told["simulated"] = len(error)
        if len(error):
            size = np.abs(error)
            values = (error.mean(), np.median(size), np.quantile(size, 0.9), size.max())
            told |= {name: float(value) for name, value in zip(OF_ROWS, values, strict=True)}
        if not kind.keyed:
            told[CORRELATION] = _correlation(measured[[metric, f"sim_{metric}"]].dropna().to_numpy(dtype=float).T)
    if not kind.keyed and len(there) and len(here):
        told["mean"] = float(here.mean() / there.mean() - 1)
        for name, fewest in _FEWEST.items():
            if min(len(there), len(here)) >= fewest:
                share = int(name[1:]) / 100
                told[name] = float(np.quantile(here, share) / np.quantile(there, share) - 1)
        told["ks"] = distance(there, here)
    return told


def _correlation(pairs: NDArray[Any]) -> float | None:
    """Pearson's, of [2, rows]; None where one side does not vary."""
    if pairs.shape[1] < _PAIRS or not pairs.std(axis=1).all():
        return None
    return float(np.corrcoef(pairs)[0, 1])
