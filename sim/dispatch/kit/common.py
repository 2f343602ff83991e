"""What every policy must have, whatever its level: parameters that can be checked, and a docstring with a source."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from sim.dispatch.kit.report import Report
from sim.dispatch.registry import Policy

_UNKNOWN = "no_such_parameter"


def check_common(report: Report, policy: Policy) -> bool:
    """Whether the policy can be made with its defaults; without that, nothing else can be checked."""
    report.check("docstring: what it does in the first line, and 'Source:'", _docstring_faults(policy.module.__doc__))
    report.run("parameters: frozen, unknown keys refused", lambda: _model_faults(policy))
    described = [name for name, field in policy.Params.model_fields.items() if not (field.description or "").strip()]
    report.check("parameters: each has a description", [f"'{name}' has none" for name in described])
    return report.run("parameters: valid by default", lambda: _default_faults(policy))


def _docstring_faults(text: str | None) -> Iterator[str]:
    lines = (text or "").strip().split("\n")
    if not lines[0]:
        yield "the file has no docstring"
    elif "source:" not in (text or "").lower():
        yield "no 'Source:' (a paper, a product, or 'own')"


def _model_faults(policy: Policy) -> Iterator[str]:
    config = policy.Params.model_config
    if not config.get("frozen"):
        yield "values can be changed: keep frozen=True"
    if config.get("extra") != "forbid":
        yield "unknown keys are taken: keep extra='forbid'"
        return
    try:
        policy.Params.model_validate({_UNKNOWN: 1})
    except ValidationError as error:
        if not any(fault["type"] == "extra_forbidden" for fault in error.errors()):
            yield f"an unknown key is not refused as such: {error.errors()[0]['msg']}"
    else:
        yield "an unknown key is taken"


def _default_faults(policy: Policy) -> Iterator[str]:
    for name, field in policy.Params.model_fields.items():
        if field.is_required():
            yield f"'{name}' has no default"
    if any(field.is_required() for field in policy.Params.model_fields.values()):
        return
    params = policy.Params()
    # as a scenario would write them: quantities with their units
    written = params.model_dump(mode="json")
    try:
        again = policy.Params.model_validate(written)
    except ValidationError as error:
        for fault in error.errors():
            yield f"the default of '{'.'.join(map(str, fault['loc']))}' is not valid: {fault['msg']}"
        return
    if again != params:
        yield f"the defaults read back differ: {written}"
