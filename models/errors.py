"""Wrong input, said so that it can be mended: where it stands, what is wrong, what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One fault of the input. ``line`` and ``column`` count from 1; 0 where there is none (``--set``, a whole file)."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = self.file if self.line == 0 else f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.message}"


class InputError(Exception):
    """The input is wrong: exit code 2. Carries every problem that was found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = sorted(set(problems))
        super().__init__(self.problems)  # as given: SimPy makes an exception again from its arguments

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Problems:
    """Collects the problems of one file, so that all are reported at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, line: int, message: str, column: int = 1) -> None:
        self.found.append(Problem(self.file, line, column, message))

    def raise_if_any(self) -> None:
        if self.found:
            raise InputError(self.found)


def nearest(name: str, valid: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest valid name, else the valid names, else nothing."""
    names: Sequence[str] = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    return f"; valid: {shown}"
