"""What a user asks about: ``12``, ``flow:12``, ``collective:3``, ``moe:0.5``, ``demand:ID``."""

from __future__ import annotations

import re
from typing import NamedTuple

from analysis.load import Results
from models.errors import InputError, Problem, nearest

KINDS = ("flow", "collective", "moe", "demand")
LATER = ("request",)
_FORM = re.compile(r"(?:([a-z]+):)?(\d+)(?:\.(\d+))?")


class Ident(NamedTuple):
    """``kind`` of KINDS; ``number`` of the flow, collective or step; ``layer`` of a step; ``name`` of a demand."""

    kind: str
    number: int
    layer: int = -1
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" + (f".{self.layer}" if self.layer >= 0 else "")


def parse(text: str, run: Results) -> Ident:
    """InputError for what is no ID, or none of this run."""
    kind = text.partition(":")[0]
    if kind in LATER:
        raise _wrong(text, f"{kind}s are not in this version")
    if kind == "demand" and ":" in text:
        return _demand(text, run)
    match = _FORM.fullmatch(text)
    if match is None and not (":" in text and kind not in KINDS):
        raise _wrong(text, "is no ID; write flow:12 (or 12), collective:3, moe:STEP.LAYER, demand:ID")
    if match is None or (match[1] or "flow") not in KINDS:
        raise _wrong(text, f"there is no '{kind}' to ask for{nearest(kind, KINDS)}")
    ident = Ident(match[1] or "flow", int(match[2]), -1 if match[3] is None else int(match[3]))
    if (ident.kind == "moe") != (ident.layer >= 0):
        form = "moe:STEP.LAYER" if ident.kind == "moe" else f"{ident.kind}:{ident.number}"
        raise _wrong(text, f"a {ident.kind} is written {form}")
    if ident.kind == "moe":
        _check_layer(text, ident, run)
        return ident
    rows = run.rows(f"{ident.kind}s")
    if ident.number >= rows:
        have = f"this run has {ident.kind}:0 to {ident.kind}:{rows - 1}" if rows else f"this run has no {ident.kind}s"
        raise _wrong(text, have)
    return ident


def _demand(text: str, run: Results) -> Ident:
    name = text.partition(":")[2]
    known = [str(one) for one in run.frame("demands", ["id"])["id"]]
    if not known:
        raise _wrong(text, "this run has no demands")
    if name not in known:
        raise _wrong(text, f"there is no demand '{name}'{nearest(name, known)}")
    return Ident("demand", -1, name=name)


def _check_layer(text: str, ident: Ident, run: Results) -> None:
    steps = run.frame("moe_steps", ["step", "layer"])
    known = [f"moe:{step}.{layer}" for step, layer in zip(steps["step"], steps["layer"], strict=True)]
    if not known:
        raise _wrong(text, "this run has no layers with experts")
    if str(ident) not in known:
        raise _wrong(text, f"there is no layer with experts '{ident}'{nearest(str(ident), known)}")


def _wrong(text: str, message: str) -> InputError:
    return InputError([Problem(text, 0, 0, message)])
