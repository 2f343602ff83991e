"""Rows of the fits' own errors: each shipped fit states them for measured rows that it was not made from."""

from __future__ import annotations

from analysis.calibrate.common import fit_module
from models.calibrated import fitted_file, path_of
from validations._row import Row

Aims = dict[str, tuple[float, float | None]]


def rows(kinds: tuple[str, ...], aims: Aims) -> list[Row]:
    """Median and 90th percentile of the error by fit and hold-out."""
    found = []
    for kind in kinds:
        for system in fit_module(kind).SHIPPED:
            if not path_of(system, kind).exists():
                continue
            stated = fitted_file(path_of(system, kind))[system][kind]["errors"]
            for which, errors in stated.items():
                if which == "size" or not errors["n"]:
                    continue
                median, high = aims["random" if which == "random" else "block"]
                sort = "random rows" if which == "random" else "a block left out"
                case = f"{system}: {which}" if which != "random" else system
                head = f"{kind}, {sort}"
                found.append(Row(case, head, None, errors["median"], "", median, count=errors["n"]))
                found.append(Row(case, f"90th percentile: {head}", None, errors["p90"], "", high, count=errors["n"]))
    return found
