"""The sentence that a certificate ends in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from analysis.compare.findings import Findings
from analysis.compare.metrics import Metric
from analysis.compare.paired import turned
from analysis.compare.verdicts import BATCHES, Verdict
from analysis.compare.words import amount, listed, per_cent, span, value_of
from analysis.stats import Interval

_TOLD = ("fabric", "workload", "engine")  # of what was held fixed; the rest is named, and its values stand in the list
_SHORT = 80  # as a longer value does


def sentence(found: Findings) -> str:
    """Which arm is better on the first metric, by how much, where that flips, how sure, and what was held fixed."""
    study = found.study
    verdict = _at(found, 0) if len(study.points) == 1 else _over_range(found)
    held = [
        f"{name} ({value})" if name in _TOLD and len(value) <= _SHORT else name for name, value in study.held.items()
    ]
    fixed = f"; held fixed: {listed([*held, 'the seeds'])}" if held else ""
    return f"{verdict} ({certainty(found)}){fixed}."


def certainty(found: Findings) -> str:
    """Confidence, seeds, pairs."""
    if found.seedless:
        return f"exact: all {max(found.seeds)} seeds give the same result"
    low, high = min(found.seeds), max(found.seeds)
    if all(verdict.kind == "identical" for verdict in found.verdicts):
        return f"in all {high} seeds" if high > 1 else "in the only seed"
    together = f", all {found.family} intervals together" if found.family > 1 else ""
    number = f"{low} to {high} paired seeds" if low < high else f"{low} paired seeds"
    if high == 1:
        number = f"one seed, its flows in {BATCHES} paired batches"
    return f"{100 * found.study.rule.confidence:g} % confidence{together}, {number}"


def _at(found: Findings, point: int) -> str:
    """One point: the best arm or arms, then how far behind each other one is."""
    metric, arms = found.metric, list(found.study.arms)
    verdicts = [found.verdict(one, other, point, metric) for one, other in found.study.pairs]
    if all(verdict.kind == "identical" for verdict in verdicts):
        return f"{listed(arms)} are identical: every table is the same, byte for byte"
    best = found.best(point, metric)
    if len(best) == len(arms):
        return f"{listed(arms)} cannot be {_unclear(verdicts)} on {metric}: {_why_tied(verdicts)}"
    top = best[0]
    extreme = "highest" if metric.larger_is_better else "lowest"
    mean = found.mean(top, point, metric)
    value = f" ({amount(mean, metric)})" if mean is not None else ""
    if len(best) == 1:
        head = f"{top} has the {extreme} {metric}{value}"
    else:
        ties = [found.verdict(one, other, point, metric) for one, other in found.study.pairs if {one, other} <= {*best}]
        same = all(verdict.kind in ("equal", "identical") for verdict in ties)
        verb = "share" if same else "cannot be told apart for"
        head = f"{listed(best)} {verb} the {extreme} {metric}{value}: {_why_tied(ties)}"
    rest = [arm for arm in found.ranked(point, metric) if arm not in best]
    behind = [_behind(found.verdict(top, arm, point, metric), top, arm) for arm in rest]
    return f"{head}; {', '.join(behind)}"


def _behind(verdict: Verdict, top: str, arm: str) -> str:
    ratio = ratio_to(verdict, top)
    if verdict.kind == "unfinished":
        return verdict.reason
    if ratio is None:
        if verdict.difference is None:
            return f"{arm} has none ({verdict.reason})" if verdict.reason else f"{arm} is no better"
        means = verdict.difference.baseline, verdict.difference.other
        mine = means[verdict.pair.index(arm)]
        return f"{arm}'s is {amount(mine, verdict.metric)}"
    sign = 1 if ratio.value >= 0 else -1
    word = "higher" if sign > 0 else "lower"
    return f"{arm}'s is {value_of(ratio, sign)} {word} {span(ratio, sign)}"


def ratio_to(verdict: Verdict, baseline: str) -> Interval | None:
    """The relative difference of the pair's other arm to ``baseline``; None where there is none."""
    if verdict.difference is None or verdict.difference.ratio is None:
        return None
    ratio = verdict.difference.ratio
    return ratio if verdict.pair[0] == baseline else turned(ratio)


def _unclear(verdicts: Sequence[Verdict]) -> str:
    return "compared" if any(verdict.difference is None and verdict.reason for verdict in verdicts) else "told apart"


def _why_tied(verdicts: Sequence[Verdict]) -> str:
    """How large a difference between these may still be."""
    reasons = [verdict.reason for verdict in verdicts if verdict.reason]
    if reasons:
        return "; ".join(dict.fromkeys(reasons))
    if all(verdict.kind == "identical" for verdict in verdicts):
        return "every table is the same, byte for byte"
    if all(verdict.kind in ("equal", "identical") for verdict in verdicts):
        return "it is the same in every seed, though other figures differ"
    below = [verdict.below for verdict in verdicts if verdict.kind == "tie"]
    if any(bound is None for bound in below):
        return "their difference is within what the seeds scatter"
    bound = max(bound for bound in below if bound is not None)
    return f"any difference is below {per_cent(bound)}" if bound < 1 else "these seeds leave any difference possible"


def _over_range(found: Findings) -> str:
    """Stretches of points with the same best arms, and where they flip."""
    metric, study = found.metric, found.study
    keys = listed(list(study.points[0].values))
    stretches = stretches_of(found, metric)
    if len(stretches) == 1:
        points = list(range(len(study.points)))
        best = stretches[0][0]
        if len(best) == len(study.arms):
            verdicts = [found.verdict(*pair, point, metric) for point in points for pair in study.pairs]
            if all(verdict.kind == "identical" for verdict in verdicts):
                return f"{listed(study.arms)} are identical over all {len(points)} points of {keys}"
            why = _why_tied(verdicts)
            return f"{listed(study.arms)} cannot be {_unclear(verdicts)} on {metric} at any point of {keys}: {why}"
        return f"On {metric}, {_stretch(found, best, points)} over the whole range of {keys}, so it does not flip"
    told = [f"{_stretch(found, best, points)} {_where(found, points)}" for best, points in stretches]
    turns = flips_of(found, metric)
    if _ordered(found):
        flips = f"flips {listed(turns)}" if turns else "does not flip"
    else:
        flips = f"depends on {keys}" if turns else "does not flip"
    return f"On {metric} over {keys}, {'; '.join(told)}; so it {flips}"


def _ordered(found: Findings) -> bool:
    """Whether the points lie on a line, so that there is a between."""
    return all(point.at is not None for point in found.study.points)


def stretches_of(found: Findings, metric: Metric) -> list[tuple[tuple[str, ...], list[int]]]:
    """(best arms, points): along the line of the points; where there is none, one for each set of best arms.

    Points at which arms are tied stand apart from those at which they can't be compared.
    """
    places = [point.at for point in found.study.points]
    order = (
        sorted(range(len(places)), key=lambda point: places[point] or 0.0) if _ordered(found) else range(len(places))
    )
    kinds = {point: (frozenset(found.best(point, metric)), _comparable(found, point, metric)) for point in order}
    if not _ordered(found):
        order = sorted(order, key=lambda point: list(kinds.values()).index(kinds[point]))
    groups = groupby(order, key=lambda point: kinds[point])
    return [(tuple(arm for arm in found.study.arms if arm in top), list(points)) for (top, _), points in groups]


def _comparable(found: Findings, point: int, metric: Metric) -> bool:
    """False where all arms are left in the first place for want of figures."""
    verdicts = [found.verdict(*pair, point, metric) for pair in found.study.pairs]
    return any(verdict.winner for verdict in verdicts) or _unclear(verdicts) == "told apart"


def flips_of(found: Findings, metric: Metric) -> list[str]:
    """'between A and B', where the best arms up to A are no longer among the best from B on."""
    points = found.study.points
    flips: list[str] = []
    best: set[str] = set()
    last = 0
    for now, at in stretches_of(found, metric):
        if len(now) == len(found.study.arms):
            continue
        if best and not best & set(now):
            flips.append(f"between {points[last].label} and {points[at[0]].label}")
            best = set()
        if not best or set(now) <= best:  # a tie on the way keeps who was best before it
            best, last = set(now), at[-1]
    return flips


def _where(found: Findings, points: Sequence[int]) -> str:
    labels = [found.study.points[point].label for point in points]
    if len(labels) == 1:
        return f"at {labels[0]}"
    if not _ordered(found):
        return f"at {listed(labels)}"
    return f"from {labels[0]} to {labels[-1]}"


def _stretch(found: Findings, best: tuple[str, ...], points: Sequence[int]) -> str:
    metric, arms = found.metric, found.study.arms
    if len(best) == len(arms):
        verdicts = [found.verdict(*pair, point, metric) for point in points for pair in found.study.pairs]
        return f"{listed(best)} cannot be {_unclear(verdicts)} ({_why_tied(verdicts)})"
    pairs = [(top, arm, point) for top in best for arm in arms if arm not in best for point in points]
    # an arm that ties with the best need not be better than the rest
    won = [(top, arm, point) for top, arm, point in pairs if found.verdict(top, arm, point, metric).winner == top]
    ratios = [ratio_to(found.verdict(top, arm, point, metric), top) for top, arm, point in won]
    known = [ratio for ratio in ratios if ratio is not None]
    reasons = []
    if known:
        low, high = (per_cent(end([abs(ratio.value) for ratio in known])) for end in (min, max))
        ends = [abs(end) for ratio in known for end in (ratio.low, ratio.high)]
        reasons.append(f"by {low}" if low == high else f"by {low} to {high}")
        reasons.append(f"intervals within [{per_cent(min(ends))}, {per_cent(max(ends))}]")
    reasons += dict.fromkeys(
        f"{verdict.reason} at {found.study.points[verdict.point].label}"
        for verdict in (found.verdict(top, arm, point, metric) for top, arm, point in pairs)
        if verdict.kind == "unfinished"
    )
    why = ", ".join(reasons)
    if won == pairs:
        return f"{listed(best)} {_are(best)} better" + (f" ({why})" if why else "")
    winners, losers = ([name for name in arms if any(one[side] == name for one in won)] for side in (0, 1))
    some = f" ({listed(winners)} {_are(winners)} better than {listed(losers)} {why})" if won else ""
    return f"{listed(best)} {_are(best)} not beaten{some}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
