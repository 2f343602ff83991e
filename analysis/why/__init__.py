"""Why a run, a flow, a collective or a layer took its time, in parts that add up; why a demand was refused.

``explain`` finds the facts, ``text_of`` writes them for a terminal; the same facts go out as JSON. One file a question:
``overview`` (a run), ``variants``, ``flow``, ``collective``, ``moe``, ``request``, ``demand``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.load import Results, load
from analysis.why import collective, demand, flow, moe, overview, request, variants
from analysis.why.ident import parse
from models.errors import InputError, Problem


def explain(folder: Path | str, ident: str | None = None, variant: str | None = None) -> dict[str, Any]:
    """The facts. InputError for a folder without them, or an ID or variant that is not there."""
    results = load(folder)
    if variant is None and ident is None and results.variants:
        for run in results.variants.values():
            _check(run)
        return variants.facts(results.variants)
    run = results.choose(variant)
    asked = parse(ident, run) if ident is not None else None
    if asked is not None and asked.kind == "demand":
        return demand.facts(run, asked.name)
    if asked is not None and asked.kind == "request":
        return request.facts(run, asked.number, asked.layer)
    _check(run)
    if asked is None:
        return overview.facts(run)
    if asked.kind == "moe":
        return moe.facts(run, asked.number, asked.layer)
    return (collective if asked.kind == "collective" else flow).facts(run, asked.number)


def text_of(known: dict[str, Any], folder: Path | str) -> str:
    """What ``explain`` found, for a terminal of 100 columns."""
    if known["kind"] == "variants":
        return "\n".join(variants.lines(known, str(folder)))
    modules = {"overview": overview, "flow": flow, "collective": collective, "moe": moe, "demand": demand}
    modules["request"] = request
    module = modules[known["kind"]]
    return "\n".join(module.lines(known))


def _check(run: Results) -> None:
    """The questions need the table of the flows' times, where any flow finished."""
    if run.rows("flow_times") or not (run.frame("flows", ["status"])["status"] == "finished").any():
        return
    if "flow_times" in run.summary:
        raise _wrong(run, "has no table flow_times; run it again with telemetry.flow_times: true")
    raise _wrong(run, "comes from an earlier version, which did not note where flows' times go; run it again")


def _wrong(results: Results, message: str) -> InputError:
    return InputError([Problem(str(results.folder), 0, 0, message)])
