"""The decision certificate: tables, how it was found, what was held fixed, and last the sentence. Text and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.compare.findings import Findings
from analysis.compare.inert import Inert
from analysis.compare.metrics import Metric
from analysis.compare.readings import Reading
from analysis.compare.rule import POWER
from analysis.compare.sentence import flips_of, ratio_to, sentence, stretches_of
from analysis.compare.verdicts import RARE, Verdict
from analysis.compare.words import amount, listed, per_cent, span, value_of
from analysis.grid import align
from analysis.stats import Interval
from models.records import PROGRAM, SCHEMA


def text(found: Findings, inert: Sequence[Inert] = ()) -> str:
    """Markdown that reads as plain text as well; ends in the sentence."""
    study = found.study
    parts = [f"# {study.name}: {listed(study.arms)}"]
    parts += [f"## {metric}\n\n```text\n{_table(found, metric)}\n```" for metric in study.metrics]
    if inert:
        parts.append("## Inert\n\n" + "\n".join(f"- {one}" for one in inert))
    parts.append("## How\n\n" + "\n".join(f"- {line}" for line in _how(found)))
    if study.held:
        parts.append("## Held fixed\n\n" + "\n".join(f"- {name}: {value}" for name, value in study.held.items()))
    parts.append("## Verdict\n\n" + sentence(found))
    return "\n\n".join(parts) + "\n"


def _table(found: Findings, metric: Metric) -> str:
    """A row an arm and point, in order of rank."""
    swept = len(found.study.points) > 1
    unit = f"mean {metric.described.unit}".strip()
    titles = [(listed(list(found.study.points[0].values)), "")] if swept else []
    titles += [("rank", ""), (found.study.arms_by, ""), (unit, ""), ("against best", ""), ("interval", "")]
    titles += [("seeds", ""), ("finds", "from")]
    rows = []
    for point, place in enumerate(found.study.points):
        ranked = found.ranked(point, metric)
        for arm in ranked:
            against, interval, finds = _against(found, ranked[0], arm, point, metric)
            row = [str(found.rank(arm, point, metric)), arm, _mean(found, arm, point, metric)]
            row += [against, interval, str(found.seeds[point]), finds]
            rows.append([place.label, *row] if swept else row)
    return align(titles, rows, left=3 if swept else 2)


def _mean(found: Findings, arm: str, point: int, metric: Metric) -> str:
    return amount(found.mean(arm, point, metric), metric).split(" ")[0]


def _against(found: Findings, best: str, arm: str, point: int, metric: Metric) -> tuple[str, str, str]:
    """(difference, interval, smallest difference that would have been found) of an arm to the best one."""
    if arm == best:
        return "", "", ""
    verdict = found.verdict(best, arm, point, metric)
    ratio = ratio_to(verdict, best)
    finds = per_cent(verdict.detectable) if verdict.detectable else ""
    if ratio is not None and verdict.kind != "equal":
        plus = "+" if ratio.value > 0 else ""
        return plus + value_of(ratio), span(ratio), finds
    if verdict.kind in ("equal", "identical"):
        return verdict.kind, "", ""
    return "no figure" if verdict.difference is None else "no ratio", "", ""


def _how(found: Findings) -> list[str]:
    """The procedure of this comparison, as far as it differs from another's."""
    study = found.study
    lines = [f"{'larger' if metric.larger_is_better else 'smaller'} {metric} is better" for metric in study.metrics]
    if found.seedless:
        lines.append(f"the seed changes nothing: {max(found.seeds)} of them gave the same tables, byte for byte")
    else:
        lines += _sampling(found)
    for metric in study.metrics:
        cuts = [found.cuts[point, metric] for point in range(len(study.points))]
        if any(cuts) or any(reading.steady(metric) for reading in found.readings.values()):
            fewest, most = min(cuts), max(cuts)
            number = f"{fewest} to {most}" if fewest < most else f"{most}" if most else "no"
            lines.append(f"{metric} claims a steady state: MSER-5 cuts {number} flows at the start of every run")
    lines += _unfinished(found)
    if found.seedless or max(found.seeds) == 1:
        return lines
    power = f"{100 * POWER:g} %"
    lines.append(f"'finds from': the smallest true difference that these seeds would find with {power} power")
    return lines


def _sampling(found: Findings) -> list[str]:
    study, rule = found.study, found.study.rule
    first, last = study.seed, study.seed + max(found.seeds) - 1
    lines = [f"seeds {first} to {last}; arms meet the same arrivals on each, and are compared seed by seed"]
    if rule.exactly is None:
        capped = [study.points[point].label for point, seeds in enumerate(found.seeds) if seeds >= rule.most]
        lines.append(
            f"{rule.first} seeds first; their spread tells how many find a true difference of "
            f"{per_cent(rule.precision)} with {100 * POWER:g} % power (at most {rule.most}; Stein's two stages)"
        )
        if capped:
            where = f" at {listed(capped)}" if any(capped) else ""
            lines.append(f"the limit of {rule.most} seeds was reached{where}: smaller differences may have been missed")
    names = {
        "t": "t intervals (Fieller's, of the ratio of the means)",
        "bootstrap": "studentised bootstrap over the seeds",
    }
    lines.append(names[rule.method])
    if found.family > 1:
        level = rule.level(found.family)
        lines.append(
            f"{found.family} intervals (pairs of arms x points x metrics) hold together with "
            f"{100 * rule.confidence:g} %: each has {100 * level:.4g} % (Bonferroni)"
        )
    return lines


def _unfinished(found: Findings) -> list[str]:
    """Why figures are missing, which seeds are left out, and flows whose times are in no figure."""
    reasons: dict[str, list[str]] = {}
    for verdict in found.verdicts:
        if verdict.reason:
            reasons.setdefault(verdict.reason, []).append(found.study.points[verdict.point].label)
    lines = [
        f"no figure{f' at {listed(list(dict.fromkeys(labels)))}' if any(labels) else ''}: {reason}"
        for reason, labels in reasons.items()
    ]
    for arm in found.study.arms:
        readings = [reading for point in range(len(found.study.points)) for reading in found.arm(arm, point)]
        saturated = sum(reading.status == "saturated" for reading in readings)
        if saturated:
            lines.append(
                f"{arm} saturates in {saturated} of {len(readings)} runs, which claim no mean; they are left out with "
                f"their pairs where they are at most {100 * RARE:g} % of the seeds"
            )
        for table in ("flows", "requests"):
            share = max(_left(reading, table) for reading in readings)
            if share > 0:
                lines.append(f"{arm}: up to {per_cent(share)} of a run's {table} did not finish and have no time")
    return lines


def _left(reading: Reading, table: str) -> float:
    """Share of the rows that did not finish."""
    rows = reading.run.rows(table)
    return reading.run.summary[table].get("unfinished", 0) / rows if rows else 0.0


def as_json(found: Findings, inert: Sequence[Inert] = ()) -> dict[str, Any]:
    """The same for programs."""
    study, rule = found.study, found.study.rule
    return {
        "program": PROGRAM,
        "schema": SCHEMA,
        "name": study.name,
        "sentence": sentence(found),
        "arms": list(study.arms),
        "arms_by": study.arms_by,
        "points": [{"label": point.label, "values": dict(point.values)} for point in study.points],
        "metrics": [str(metric) for metric in study.metrics],
        "rule": {
            "confidence": rule.confidence,
            "each_interval": rule.level(found.family),
            "intervals": found.family,
            "precision": None if rule.exactly else rule.precision,
            "power": POWER,
            "first_look": rule.first,
            "most": rule.exactly or rule.most,
        },
        "seeds": [list(study.seeds(number)) for number in found.seeds],
        "seed_changes_nothing": found.seedless,
        "warm_up_flows": {str(m): [found.cuts[p, m] for p in range(len(study.points))] for m in study.metrics},
        "means": {
            str(m): [{arm: found.mean(arm, p, m) for arm in study.arms} for p in range(len(study.points))]
            for m in study.metrics
        },
        "ranks": {
            str(m): [{arm: found.rank(arm, p, m) for arm in study.arms} for p in range(len(study.points))]
            for m in study.metrics
        },
        "verdicts": [_verdict(verdict) for verdict in found.verdicts],
        "best": {
            str(m): [{"arms": list(best), "points": points} for best, points in stretches_of(found, m)]
            for m in study.metrics
        },
        "flips": {str(m): flips_of(found, m) for m in study.metrics},
        "inert": [one.as_json() for one in inert],
        "held": dict(study.held),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    found = verdict.difference
    return {
        "baseline": verdict.pair[0],
        "other": verdict.pair[1],
        "point": verdict.point,
        "metric": str(verdict.metric),
        "verdict": verdict.kind,
        "better": verdict.winner,
        "relative": _interval(found.ratio) if found and found.ratio else None,
        "absolute": _interval(found.absolute) if found else None,
        "interval": found.method if found else None,
        "finds_from": verdict.detectable,
        "reason": verdict.reason or None,
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    """Infinite ends are null."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}


def write(found: Findings, folder: Path, inert: Sequence[Inert] = ()) -> list[Path]:
    """certificate.md, certificate.json and the picture into ``folder``."""
    from analysis.compare.picture import differences
    from analysis.plots.style import save

    folder.mkdir(parents=True, exist_ok=True)
    words, data = folder / "certificate.md", folder / "certificate.json"
    words.write_text(text(found, inert), encoding="utf-8", newline="\n")
    content = json.dumps(as_json(found, inert), indent=2, allow_nan=False, ensure_ascii=False)
    data.write_text(content + "\n", encoding="utf-8", newline="\n")
    figure = differences(found)
    return [words, data, *([save(figure, folder / "plots" / "differences.png")] if figure is not None else [])]
