"""Checks of a router of requests: what it answers, whom it forgets, and that it draws only from its own generator."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from sim.dispatch.api import HOLD, REJECT, Incoming, RouterParams, Telemetry
from sim.dispatch.kit.fleet import BLOCK, US, Fleet, Story, Traffic
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.registry import Policy
from sim.dispatch.request_view import DECODES, MIXED, PREFILLS

_SEED = 20_408
_OPTIONAL = ("sent", "finished", "splits")
_SHAPE = "answers: a replica among those offered, HOLD or REJECT"
_HELD = "held requests get a replica"
_LEFT = "request and view left as they were"
_SAME = "same seed, same answers"
_FAIR = "no equal replica starves where sessions and prefixes differ"
_CHECKS = (_SHAPE, _HELD, _LEFT, _SAME, _FAIR)


def check_request(report: Report, policy: Policy) -> None:
    """All checks of the level, in every situation."""
    shared = GlobalRandomness()
    if not report.run("Policy(params, view): choose", lambda: _attribute_faults(policy)):
        return
    faults: dict[str, list[str]] = {what: [] for what in _CHECKS}
    decisions, spent, rejected = 0, 0.0, 0
    for traffic in situations():
        for params in _settings(policy):
            stories = []
            for _ in range(2):
                try:
                    story = Story(policy.module.Policy, params, traffic, _SEED)
                    begin = time.perf_counter()
                    story.run()
                    spent += time.perf_counter() - begin
                except Exception as error:  # the policy's code
                    faults[_SHAPE].append(f"{traffic.name}: {report.explain(error)}")
                    break
                stories.append(story)
            if len(stories) < 2:
                break
            for what, text in _faults(stories[0]):
                faults[what].append(f"{traffic.name}: {text}")
            if stories[0].answers != stories[1].answers:
                faults[_SAME].append(f"{traffic.name}: a fresh policy with the same seed answered otherwise")
            decisions += sum(len(story.answers) for story in stories)
            rejected += sum(answer == REJECT for _, _, answer in stories[0].answers)
    for what in _CHECKS:
        report.check(what, faults[what])
    report.check("no draw from global generators", shared.faults())
    report.note("situations", "; ".join(traffic.name for traffic in situations()))
    if rejected:
        report.note("rejected", f"{rejected} requests")
    if decisions:
        report.note("decisions", f"{decisions}, {1e6 * spent / decisions:.0f} us each with their surroundings")


def _settings(policy: Policy) -> list[RouterParams]:
    """A fresh view, and two copies with reports that are late."""
    params = policy.Params()
    assert isinstance(params, RouterParams)
    late = Telemetry.model_validate({"interval": "20ms", "delay": "1ms"})
    return [params, params.model_copy(update={"telemetry": late, "routers": 2, "counted": "arrival"})]


def _attribute_faults(policy: Policy) -> Iterator[str]:
    params = policy.Params()
    assert isinstance(params, RouterParams)
    made = policy.module.Policy(params, Fleet((MIXED, MIXED)).view(params))
    if not callable(getattr(made, "choose", None)):
        yield "'choose' can't be called"
    for name in _OPTIONAL:
        if not callable(getattr(made, name, lambda: None)):
            yield f"'{name}' can't be called"


def _faults(story: Story) -> Iterator[tuple[str, str]]:
    for (number, _, answer), offered in zip(story.answers, story.offered, strict=True):
        if answer not in (HOLD, REJECT) and answer not in offered:
            yield _SHAPE, f"{answer} for request {number}; replicas offered: {', '.join(map(str, offered))}"
    if story.idle_holds:
        yield _HELD, f"{story.idle_holds} requests were held while no replica had anything to do"
    elif story.held:
        yield _HELD, f"{len(story.held)} requests were held to the end"
    for request, _ in story.traffic.requests:
        if not np.array_equal(request.hashes, _hashes(request.id, request.prompt)):
            yield _LEFT, f"the hashes of request {request.id} were changed"
    facts, fresh = story.fleet.facts, Fleet(story.traffic.roles, story.traffic.qualities).facts
    changed = [
        name for name in facts._fields if name != "quality" and np.any(getattr(facts, name) != getattr(fresh, name))
    ]
    if changed:
        yield _LEFT, f"'{changed[0]}' of the view was changed"
    if story.traffic.name == situations()[0].name:
        got = Counter(answer for _, _, answer in story.answers)
        for replica in range(len(story.traffic.roles)):
            if not got[replica]:
                yield _FAIR, f"replica {replica} got none of {len(story.answers)} requests"


def situations() -> list[Traffic]:
    """From a plain fleet to split requests."""
    plain = _requests(100, gap=400)
    return [
        Traffic("four replicas", plain),
        Traffic("one replica", plain[:20], (MIXED,)),
        Traffic("a burst at one instant", _requests(40, gap=0)),
        Traffic("a replica fails", _requests(100, gap=50), down=(1,)),
        Traffic("models of different quality", plain, (MIXED,) * 3, (0.4, 0.6, 0.9)),
        Traffic("prefill and decode apart", plain, (PREFILLS, PREFILLS, DECODES, DECODES)),
        Traffic("prefill and decode apart or together", plain, (MIXED, MIXED, PREFILLS)),
    ]


def _hashes(number: int, prompt: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(prompt // BLOCK, dtype=np.int64) + 1_000_000 * (number + 1)


def _requests(count: int, gap: int) -> list[tuple[Incoming, int]]:
    """Of sessions, prefixes and lengths of their own, ``gap`` us apart in the mean."""
    rng = np.random.default_rng([_SEED, count, gap])
    times = np.cumsum(rng.exponential(gap, count)).astype(np.int64) * US
    prompts, outputs = rng.integers(16, 600, count), rng.integers(1, 80, count)
    result = []
    for number, (moment, prompt, output) in enumerate(
        zip(times.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
    ):
        hashes = _hashes(number, prompt)
        request = Incoming(number, moment, prompt, output, number % 3, number, hashes=hashes, ttft=5000 * US)
        result.append((request, output))
    return result
