"""What a user asks about: ``12``, ``flow:12``, ``collective:3``, ``moe:0.5``, ``request:12``, ``demand:ID``."""

from __future__ import annotations

import re
from typing import NamedTuple

from analysis.load import Results
from analysis.rows import rows_where
from models.errors import InputError, Problem, nearest

KINDS = ("flow", "collective", "moe", "request", "demand")
_FORM = re.compile(r"(?:([a-z]+):)?(\d+)(?:\.(\d+))?")


class Ident(NamedTuple):
    """``kind`` of KINDS; ``number`` of the flow, collective, step or request; ``name`` of a demand.

    ``layer``: of a step; of a request its workload.
    """

    kind: str
    number: int
    layer: int = -1
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" + (f".{self.layer}" if self.layer >= 0 else "")


def parse(text: str, run: Results) -> Ident:
    """InputError for what is no ID, or none of this run. A number alone is a flow, without flows a request."""
    kind = text.partition(":")[0]
    if kind == "demand" and ":" in text:
        return _demand(text, run)
    match = _FORM.fullmatch(text)
    if match is None and not (":" in text and kind not in KINDS):
        raise _wrong(text, "is no ID; write flow:12 (or 12), collective:3, moe:STEP.LAYER, request:12, demand:ID")
    usual = "request" if run.rows("requests") and not run.rows("flows") else "flow"
    if match is None or (match[1] or usual) not in KINDS:
        raise _wrong(text, f"there is no '{kind}' to ask for{nearest(kind, KINDS)}")
    ident = Ident(match[1] or usual, int(match[2]), -1 if match[3] is None else int(match[3]))
    if ident.kind == "request":
        return _request(text, ident, run)
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


def _request(text: str, asked: Ident, run: Results) -> Ident:
    """``request:12``, with several workloads ``request:WORKLOAD.12``."""
    known = sorted({int(one) for one in run.frame("requests", ["workload"])["workload"]})
    if not known:
        raise _wrong(text, "this run has no requests")
    if asked.layer < 0 and len(known) > 1:
        raise _wrong(
            text, f"workloads {', '.join(map(str, known))} have requests; write request:{known[0]}.{asked.number}"
        )
    workload, number = (known[0], asked.number) if asked.layer < 0 else (asked.number, asked.layer)
    if not len(rows_where(run, "requests", [("workload", "==", workload), ("id", "==", number)], ["id"])):
        raise _wrong(text, f"there is no request {number} in workload {workload}; requests that came are in `requests`")
    return Ident("request", number, workload)


def _check_layer(text: str, ident: Ident, run: Results) -> None:
    steps = run.frame("moe_steps", ["step", "layer"])
    known = [f"moe:{step}.{layer}" for step, layer in zip(steps["step"], steps["layer"], strict=True)]
    if not known:
        raise _wrong(text, "this run has no layers with experts")
    if str(ident) not in known:
        raise _wrong(text, f"there is no layer with experts '{ident}'{nearest(str(ident), known)}")


def _wrong(text: str, message: str) -> InputError:
    return InputError([Problem(text, 0, 0, message)])
