"""Long measurements whose rows are kept as they come: a further run computes what is missing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(file: Path) -> dict[str, Row]:
    """The rows so far by their ``case``; of several of one case the last."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {row["case"]: row for row in map(json.loads, lines)}


def compute(file: Path, work: Callable[[str], Row], cases: Sequence[str], workers: int) -> None:
    """Appends the rows of the cases that ``file`` lacks: what ``work`` gives for a case, with its name."""
    known = read(file)
    missing = [case for case in cases if case not in known]
    file.parent.mkdir(exist_ok=True)
    began = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool, file.open("a", encoding="utf-8") as out:
        waiting = {pool.submit(work, case): case for case in missing}
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                out.write(json.dumps({"case": waiting[future], **future.result()}) + "\n")
                out.flush()
                left = (time.perf_counter() - began) / done * (len(missing) - done)
                print(f"{waiting[future]}; {done} of {len(missing)}, {left:.0f} s left", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
