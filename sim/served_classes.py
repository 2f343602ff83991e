"""Which requests met their targets, and what became of those of each class and pool.

A request is good if it finished and met every target that its class sets. The denominator is all that were injected:
over the finished ones alone an overloaded service would look healthy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.summary import percentiles
from sim.engine.serving import book as words
from sim.processes.serving.serving import Serving

LIMITS = ("ttft", "tpot", "itl", "e2e")
EVERY = "all"  # classes, or pools
_PS, _PS_PER_MS = 1e12, 1e9
_NEVER = float("nan")
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


class Judged(NamedTuple):
    """What each request had, and whether that was in time.

    ``times``: ps by limit, NaN where a request has none (yet): tpot of a single token, e2e of an unfinished one.
    ``met``: by limit 1 where a request finished within its target, 0 where not, -1 where its class sets none; one that
    has no such time, as a single token has no time per token, meets the target by finishing. ``good``: 1 where all
    targets are met, 0 where not, -1 where there are none.
    """

    times: dict[str, NDArray[np.float64]]
    met: dict[str, NDArray[np.int8]]
    good: NDArray[np.int8]


def judge(serving: Serving, rows: NDArray[Any]) -> Judged:
    """Of rows of the book."""
    first, last, output = rows["first"], rows["last"], rows["output"]
    finished = rows["status"] == words.FINISHED
    took = {
        "ttft": np.where(first >= 0, first - rows["arrival"], _NEVER),
        "tpot": np.where(finished & (output > 1), (last - first) / np.maximum(output - 1, 1), _NEVER),
        "itl": np.where(rows["generated"] > 1, rows["gap_max"], _NEVER),
        "e2e": np.where(finished, last - rows["arrival"], _NEVER),
    }
    met = {}
    for limit, times in took.items():
        target = np.array([getattr(one, limit) for one in serving.classes], dtype=np.int64)[rows["kind"]]
        met[limit] = np.where(target >= 0, finished & ~(times > target), np.int8(-1))
    columns = np.stack(list(met.values()))
    return Judged(took, met, np.where((columns >= 0).any(axis=0), (columns != 0).all(axis=0), np.int8(-1)))


class _Spans(NamedTuple):
    """s: of injection, to a mean gap after the last arrival; of service, to the end of the last finished request."""

    injection: float
    service: float


def class_rows(serving: Serving, rows: NDArray[Any], judged: Judged) -> dict[str, list[Any]]:
    """The columns of ``request_classes``; no rows without requests."""
    pool_of = np.array([replica.pool for replica in serving.replicas], dtype=np.int64)
    pool = np.where(rows["replica"] >= 0, pool_of[rows["replica"]], -1)
    kind = rows["kind"]
    classes = range(len(serving.classes)) if len(serving.classes) > 1 else ()
    found_in = [one for one in range(len(serving.pools)) if (pool == one).any()]
    pools = found_in if len(found_in) > 1 else []
    groups = [(-1, -1), *((one, -1) for one in classes), *((-1, one) for one in pools)]
    groups += [(one, other) for one in classes for other in pools]
    facts = _Facts(serving, rows, judged)
    found: dict[str, list[Any]] = {}
    for one, other in groups if len(rows) else ():
        chosen = ((kind == one) | (one < 0)) & ((pool == other) | (other < 0))
        head = {
            "workload": serving.number,
            "class": serving.classes[one].name if one >= 0 else EVERY,
            "pool": serving.pools[other] if other >= 0 else EVERY,
        }
        for name, value in (head | facts.of(chosen, one, whole=other < 0)).items():
            found.setdefault(name, []).append(value)
    return found


class _Facts:
    """What is told of some of a workload's requests."""

    def __init__(self, serving: Serving, rows: NDArray[Any], judged: Judged) -> None:
        self._serving, self._rows = serving, rows
        self._times, self._met, self._good = judged
        self._spans = _spans(rows)

    def of(self, chosen: NDArray[np.bool_], kind: int, *, whole: bool) -> dict[str, Any]:
        """``kind``: the class, -1 for all of them; ``whole``: in all pools."""
        status, generated = (self._rows[name][chosen] for name in ("status", "generated"))
        spans, injected = self._spans, len(status)
        counts = {
            "injected": injected,
            "finished": int((status == words.FINISHED).sum()),
            "rejected": int((status == words.REJECTED).sum()),
            "lost": int((status == words.LOST).sum()),
        }
        counts["unfinished"] = 2 * injected - sum(counts.values())
        asked = self._good[chosen]
        asked = asked[asked >= 0]
        facts: dict[str, Any] = counts | {
            "offered_per_s": _over(injected, spans.injection),
            "served_per_s": _over(counts["finished"], spans.service),
            "output_tokens_per_s": _over(int(generated.sum()), spans.service),
            "goodput_per_s": _over(int(asked.sum()), spans.injection or spans.service) if len(asked) else _NEVER,
            "good_share": _over(int(asked.sum()), len(asked)),
        }
        for limit in LIMITS:
            reached = self._met[limit][chosen]
            reached = reached[reached >= 0]
            facts[f"{limit}_attained"] = _over(int(reached.sum()), len(reached))
        for limit in LIMITS:
            if limit == "itl":
                found = self._gaps(kind) if whole else [None] * len(_QUANTILES)
            else:
                took = self._times[limit][chosen]
                found = percentiles(took[~np.isnan(took)], [quantile for _, quantile in _QUANTILES])
            for (name, _), value in zip(_QUANTILES, found, strict=True):
                facts[f"{limit}_{name}_ms"] = _NEVER if value is None else value / _PS_PER_MS
        return facts

    def _gaps(self, kind: int) -> list[float | None]:
        """Quantiles of the times between tokens of a class, ps: of all tokens, as the schedulers count them."""
        gaps = self._serving.book.gaps
        counts = gaps.sum(axis=0) if kind < 0 else gaps[kind]
        least = {0.95: 20, 0.99: 100}
        total = int(counts.sum())
        return [
            float(words.gap_quantile(counts, quantile)) if total >= least.get(quantile, 1) else None
            for _, quantile in _QUANTILES
        ]


def _spans(rows: NDArray[Any]) -> _Spans:
    """Of all requests of a workload, so that the rates of its classes add up."""
    if not len(rows):
        return _Spans(0.0, 0.0)
    first, last = int(rows["arrival"].min()), int(rows["arrival"].max())
    ended = rows["last"][rows["status"] == words.FINISHED]
    injection = (last - first) * len(rows) / max(len(rows) - 1, 1)
    return _Spans(injection / _PS, (int(ended.max()) - first) / _PS if len(ended) else 0.0)


def _over(part: float, whole: float) -> float:
    return part / whole if whole else _NEVER
