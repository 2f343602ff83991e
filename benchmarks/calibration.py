"""Errors of the cost models on shapes they have not seen, and their speed: ``python -m benchmarks.calibration [KIND]``.

For each GPU and hold-out (15 % of the shapes at random; whole blocks): the error by size of our fit, of the data
sheet's roofline and of plain interpolation (a thin-plate spline in log space), all without the rows held out. Ours are
the errors that the shipped fits state; ``--refit`` computes them again. Figures: docs/figures/calibration_KIND.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import RBFInterpolator

from analysis.calibrate import common
from analysis.calibrate.common import error_table, fit_module, shipped_table, split
from models.calibrated import KINDS, fitted_file, path_of

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
METHODS = ("ours", "interpolation", "roofline")


def interpolation(module: Any, table: Any, mask: Any) -> np.ndarray:
    """Thin-plate spline of log time over the held-in rows of the same group, for the rows held out; nan without any."""
    where, group = module.coordinates(table)
    value = np.log(common.times(module, table))
    out = np.full(len(mask), np.nan)
    for one in np.unique(group):
        known, asked = (group == one) & ~mask, (group == one) & mask
        if known.sum() > where.shape[1] + 1 and asked.any():
            points, first = np.unique(where[known], axis=0, return_index=True)
            spread = points.max(0) > points.min(0)
            if spread.any() and len(points) > spread.sum() + 1:
                there, told = where[asked][:, spread], value[known][first]
                near = {"neighbors": min(64, len(points)), "smoothing": 0.1}
                try:
                    found = RBFInterpolator(points[:, spread], told, **near)(there)
                except np.linalg.LinAlgError:  # neighbours in one plane: a kernel that needs no slope
                    found = RBFInterpolator(points[:, spread], told, kernel="linear", **near)(there)
                out[asked] = np.exp(np.clip(found, -20.0, 40.0))
    return out[mask]


def compare(kind: str, system: str, refit: bool) -> dict[str, dict[str, Any]]:
    """{hold-out: {method: error table}} of one GPU."""
    module, table = fit_module(kind), shipped_table(kind, system)
    stated = fitted_file(path_of(system, kind))[system][kind]["errors"]
    found: dict[str, dict[str, Any]] = {}
    for which in [name for name in stated if name != "size"]:
        mask = split(module, table, which)
        held, sizes = common.take(table, mask), module.size(table)[0][mask]
        measured = common.times(module, held)
        ours = stated[which]
        if refit:
            answer = common.held_out(kind, table, system, which)
            ours = error_table(answer.measured, answer.predicted, answer.size)
        methods = {"ours": ours}
        if hasattr(module, "coordinates"):
            methods["interpolation"] = _errors(measured, interpolation(module, table, mask), sizes)
        if hasattr(module, "roofline"):
            methods["roofline"] = _errors(measured, module.roofline(held, system), sizes)
        found[which] = methods
    return found


def _errors(measured: Any, predicted: Any, sizes: Any) -> dict[str, Any]:
    known = np.isfinite(predicted)
    return error_table(measured[known], predicted[known], sizes[known])


def show(kind: str, found: dict[str, dict[str, Any]], system: str) -> None:
    for which, methods in found.items():
        print(f"{kind} {system}, {which} ({methods['ours']['n']} rows held out): median / 90th percentile of the error")
        for method, table in methods.items():
            if not table["n"]:
                print(f"  {method:<14}no rows of the same model to start from")
                continue
            cells = "  ".join(f"{100 * one['median']:6.1f} /{100 * one['p90']:6.1f}" for one in table["bins"])
            print(f"  {method:<14}{100 * table['median']:6.2f} /{100 * table['p90']:6.2f} %   by size: {cells}")


def draw(kind: str, all_found: dict[str, dict[str, dict[str, Any]]]) -> Path:
    """A panel a GPU and hold-out: median error (solid) and 90th percentile (dotted) by size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    kinds = list(dict.fromkeys(which for found in all_found.values() for which in found))
    figure, axes = plt.subplots(
        len(all_found), len(kinds), figsize=(3.4 * len(kinds), 2.3 * len(all_found)), squeeze=False, sharey=True
    )
    for row, (system, found) in zip(axes, all_found.items(), strict=True):
        for axis, which in zip(row, kinds, strict=True):
            axis.set_title(f"{system}: {which}", fontsize=8)
            for color, method in zip(("tab:blue", "tab:orange", "tab:green"), METHODS, strict=True):
                bins = found.get(which, {}).get(method, {"bins": []})["bins"]
                middle = [np.sqrt(one["from"] * one["to"]) for one in bins]
                axis.plot(middle, [100 * one["median"] for one in bins], "o-", color=color, label=method, ms=3)
                axis.plot(middle, [100 * one["p90"] for one in bins], ":", color=color)
            axis.set(xscale="log", yscale="log", ylim=(0.3, 300))
            axis.grid(alpha=0.3)
            axis.tick_params(labelsize=7)
        row[0].set_ylabel("error, %", fontsize=8)
    size = fitted_file(path_of(next(iter(all_found)), kind))[next(iter(all_found))][kind]["errors"]["size"]
    for axis in axes[-1]:
        axis.set_xlabel(size, fontsize=8)
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"calibration_{kind}.png"
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)
    return path


def speed() -> None:
    """Scalar GEMM evaluations per CPU second from a compiled loop over random shapes inside the range."""
    from models.calibrated import fitted
    from models.compute.gemm import GemmModel, gemm_array

    table = GemmModel(fitted("h100_sxm", "gemm")).table("bfloat16")
    generator = np.random.default_rng(1)
    shapes = [np.floor(2.0 ** generator.uniform(low, high, 10**6)) for low, high in ((0, 15), (7, 16), (7, 16))]
    gemm_array(table, *(axis[:10].copy() for axis in shapes))
    best = np.inf
    for _ in range(5):
        begin = time.process_time()
        gemm_array(table, *shapes)
        best = min(best, time.process_time() - begin)
    print(f"GEMM: {len(shapes[0]) / best / 1e6:.1f} M scalar evaluations per CPU second")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: all of {', '.join(KINDS)}")
    parser.add_argument("--refit", action="store_true", help="compute our errors again too (minutes a GPU)")
    options = parser.parse_args()
    for kind in options.kinds or KINDS:
        systems = [system for system in fit_module(kind).SHIPPED if path_of(system, kind).exists()]
        found = {}
        for system in systems:
            found[system] = compare(kind, system, options.refit)
            show(kind, found[system], system)
        if found:
            print(f"drawn: {draw(kind, found)}")
        if kind == "gemm":
            speed()


if __name__ == "__main__":
    main()
