"""What was checked and what came of it, line by line."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

_SHOWN = 3  # faults of one check that are printed


class Line(NamedTuple):
    """``verdict`` is PASS, FAIL or note."""

    verdict: str
    what: str
    details: tuple[str, ...]


class Report:
    """The checks of one policy. ``file``: where its own code is, to name the line that fails."""

    def __init__(self, title: str, file: str) -> None:
        self.title = title
        self.file = file
        self.lines: list[Line] = []

    @property
    def passed(self) -> bool:
        return all(line.verdict != "FAIL" for line in self.lines)

    def faults(self) -> list[str]:
        """What the failed checks are called."""
        return [line.what for line in self.lines if line.verdict == "FAIL"]

    def check(self, what: str, faults: Iterable[str]) -> bool:
        """PASS without faults; else FAIL with the first of them."""
        found = list(dict.fromkeys(faults))
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        self.lines.append(Line("FAIL" if found else "PASS", what, (*found[:_SHOWN], *more)))
        return not found

    def run(self, what: str, check: Callable[[], Iterable[str]]) -> bool:
        """As ``check``, of a function that may fail in the policy's code, which is a fault too."""
        try:
            return self.check(what, check())
        except Exception as error:  # the user's code: whatever it raises is what we report
            return self.check(what, [self.explain(error)])

    def explain(self, error: BaseException) -> str:
        """An exception, with the line of the policy's file where there is one."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.file]
        where = f" (line {lines[-1]})" if lines else ""
        return f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}{where}"

    def note(self, what: str, detail: str) -> None:
        """Something worth knowing that is no fault."""
        self.lines.append(Line("note", what, (detail,)))

    def __str__(self) -> str:
        rows = [self.title]
        for verdict, what, details in self.lines:
            inline = f": {details[0]}" if verdict == "note" else ""
            rows.append(f"  {verdict:4}  {what}{inline}")
            rows += [f"          {detail}" for detail in details if verdict == "FAIL"]
        failed = len(self.faults())
        checks = sum(line.verdict != "note" for line in self.lines)
        rows.append(f"  {checks} checks, {failed} failed" if failed else f"  {checks} checks, all passed")
        return "\n".join(rows)


class GlobalRandomness:
    """Notices draws from the generators that the whole process shares."""

    def __init__(self) -> None:
        self._random = random.getstate()
        self._numpy = _numpy_state()

    def faults(self) -> list[str]:
        found = []
        if random.getstate() != self._random:
            found.append("the module random was used; draw from what the policy is given")
        if _numpy_state() != self._numpy:
            found.append("numpy.random was used; draw from what the policy is given")
        return found


def _numpy_state() -> tuple[bytes, object]:
    state = np.random.get_state(legacy=False)  # noqa: NPY002 (the one that policies must not touch)
    return state["state"]["key"].tobytes(), state["state"]["pos"]
