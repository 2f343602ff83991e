"""What a sweep would do, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from sim.sweep.estimate import Estimate
from sim.sweep.experiment import Experiment
from sim.sweep.folder import SweepFolder, check_folder

_LISTED = 8


def dry_run(experiment: Experiment, seeds: Sequence[int], out: Path, workers: int) -> str:
    """Points, cells, what is finished and what is left. InputError where ``out`` is no place for this sweep."""
    check_folder(out)
    folder = SweepFolder(out, experiment.name)
    digests = list(dict.fromkeys(cell.digest for cell in experiment.cells(seeds=seeds)))
    done = [digest for digest in digests if _is_done(folder, digest)]
    left = len(digests) - len(done)
    lines = [f"{len(experiment.points)} points x {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}) = {len(digests)} cells"]
    lines += [f"  {point.label}" for point in experiment.points[:_LISTED] if point.label]
    if len(experiment.points) > _LISTED:
        lines.append(f"  ... and {len(experiment.points) - _LISTED} more")
    if done:
        lines.append(f"{len(done)} of them are finished in {out}")
    if left:
        said = Estimate(folder, done, left, workers).text()
        lines.append(said or f"{left} cells to run; no finished cell tells yet how long one takes")
    return "\n".join(lines)


def _is_done(folder: SweepFolder, digest: str) -> bool:
    try:
        return folder.state(digest) == "done"
    except InputError:
        return False
