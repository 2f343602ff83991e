"""The replica that a request and its neighbours lose least at: workload impact, guiding a Q learner.

Source: Jain et al., "Intelligent Router for LLM Workloads", arXiv 2408.13510: classes of light and heavy prompts and
outputs (LL, LH, HL, HH), a predictor of the output's length (``predictor``), an estimate of what mixing a request with
those that run costs, and reinforcement learning that begins with this estimate. Theirs is a Double DQN on 27 numbers of
4 replicas, trained over 20 episodes, that may also hold a request.

Here Q of a replica is the change of a value that is linear in features of its load (``_impact``), so it serves any
number of replicas. Reward: minus the requests at the replicas, times the time until the next decision; its sum is the
requests' end-to-end time. Times are discounted over ``horizon``. The weights are those of the estimate at first and are
learned from decision to decision (``_value``), with a random replica at a rate that begins with ``explore`` and falls
by e every ``explored`` decisions. The times that the estimate needs are learned from requests that end (``_latency``);
``step``, ``prompt_token``, ``sequence`` and ``context_token`` are where that begins. ``learn: false`` keeps to the
estimate, or to ``weights`` of an earlier run. With ``hold_above`` a request stays at the router while it would bring
the predicted KV demand of every replica above that share of the cache.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, HOLD, PREFILL, WHOLE, Field, Incoming, Predictor, RouterParams, Time
from sim.dispatch.request._impact import CLASSES, FEATURES, GUIDE, Limits, Load, features
from sim.dispatch.request._latency import StepLaw
from sim.dispatch.request._value import LinearValue
from sim.dispatch.request_view import RequestView

_SECOND = 1e12  # ps


class Params(RouterParams):
    predictor: Predictor | None = Field(Predictor(), description="predicts output lengths; null: `output` for all")
    output: int = Field(256, ge=1, description="tokens of an output whose length is not predicted")
    heavy_prompt: int = Field(1024, ge=1, description="tokens from which on a prompt is heavy")
    heavy_output: int = Field(256, ge=1, description="tokens from which on an output is heavy")
    step: Time = Field(10_000_000_000, gt=0, description="first guess of an iteration's own time")
    prompt_token: Time = Field(100_000_000, gt=0, description="first guess of what a prompt token adds to it")
    sequence: Time = Field(50_000_000, gt=0, description="first guess of what a sequence adds to it")
    context_token: Time = Field(60_000, gt=0, description="first guess of what a token of context adds to it")
    learn: bool = Field(True, description="whether it learns weights and times during the run")
    explore: float = Field(0.05, ge=0, le=1, description="share of random decisions at the start")
    explored: int = Field(200, ge=1, description="decisions until that share has fallen by e")
    horizon: Time = Field(20_000_000_000_000, gt=0, description="time over which later costs are discounted by e")
    trust: float = Field(1000.0, gt=0, description="samples that the first weights count as")
    window: int = Field(5000, ge=1, description="decisions after which a sample counts less by e")
    weights: list[float] | None = Field(
        None, min_length=FEATURES, max_length=FEATURES, description="weights to begin with; absent: the estimate's"
    )
    hold_above: float | None = Field(None, gt=0, description="predicted KV demand that is held back; absent: none")


class _Sent(NamedTuple):
    """What a router remembers of a request that it sent."""

    request: Incoming
    replica: int
    kind: int
    output: int
    load: Load  # as it was decided on, all replicas
    queued: bool  # whether others waited there
    through: int  # prompt tokens sent there so far, its own included


class _Left(NamedTuple):
    """The state that a decision left behind."""

    time: int
    features: NDArray[np.float64]  # [replicas, FEATURES]
    requests: NDArray[np.float64]


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._params = params
        self._view = view
        guesses = (params.step, params.sequence, params.prompt_token, params.context_token)
        self._law = StepLaw(np.array(guesses) / _SECOND)
        first = GUIDE if params.weights is None else np.array(params.weights)
        self._value = LinearValue(first, params.trust, params.window)
        self._limits = Limits(view.max_sequences.astype(np.float64), (view.kv_blocks * view.block_tokens).astype(float))
        self._mix = np.zeros((view.replicas, CLASSES))
        self._through = np.zeros(view.replicas, dtype=np.int64)
        self._sent: dict[int, _Sent] = {}
        self._left: _Left | None = None
        self._decisions = 0
        # what the last decision was made on
        self._load = self._seen()
        self._queued = view.waiting > 0

    @property
    def weights(self) -> NDArray[np.float64]:
        """[FEATURES] what it has learned; ``weights`` of another run."""
        return self._value.weights

    @property
    def times(self) -> NDArray[np.float64]:
        """[4] seconds of a step, a sequence, a prompt token and a token of context, as it has learned them."""
        return self._law.values

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        params, view = self._params, self._view
        load = self._load = self._seen()
        self._queued = view.waiting > 0
        prompt = 0 if request.stage == DECODE else request.prompt
        output = 0 if request.stage == PREFILL else self._output(request)
        context = request.prompt if request.stage == DECODE else 0
        more = load.after(prompt, output, context, self._kind(request))
        if params.hold_above is not None and request.stage != DECODE:
            full = (more.demand(self._limits) > params.hold_above) & (load.requests > 0)
            if full[replicas].all():
                return HOLD
        now = features(load, self._limits, self._law.values)
        then = features(more, self._limits, self._law.values)
        chance = params.explore * math.exp(-self._decisions / params.explored) if params.learn else 0.0
        self._decisions += 1
        if chance > 1e-4 and rng.random() < chance:
            chosen = int(replicas[rng.integers(len(replicas))])
        else:
            chosen = view.pick((then - now) @ self._value.weights, replicas, rng)
        if params.learn:
            now[chosen] = then[chosen]
            requests = load.requests.copy()
            requests[chosen] += 1
            self._learn(_Left(view.now, now, requests))
        return chosen

    def _learn(self, left: _Left) -> None:
        before = self._left
        if before is not None:
            seconds = (left.time - before.time) / _SECOND
            discount = math.exp(-(left.time - before.time) / self._params.horizon)
            self._value.saw(before.features, before.requests * seconds, discount, left.features)
        self._left = left

    def _seen(self) -> Load:
        view = self._view
        prompt = view.prefill_tokens.astype(np.float64)
        output = np.maximum(view.tokens - prompt, 0.0)
        return Load(view.requests.astype(np.float64), prompt, output, view.kv_used * self._limits.tokens, self._mix)

    def _output(self, request: Incoming) -> int:
        return request.predicted if request.predicted > 0 else self._params.output

    def _kind(self, request: Incoming) -> int:
        heavy = request.prompt >= self._params.heavy_prompt, self._output(request) >= self._params.heavy_output
        return 2 * heavy[0] + heavy[1]

    def sent(self, request: Incoming, replica: int) -> None:
        self._forget(request.id)  # its prefill half, or where it was lost
        kind = self._kind(request)
        self._through[replica] += request.prompt if request.stage != DECODE else 0
        self._mix[replica, kind] += 1
        through = int(self._through[replica])
        self._sent[request.id] = _Sent(
            request, replica, kind, self._output(request), self._load, bool(self._queued[replica]), through
        )

    def _forget(self, request: int) -> _Sent | None:
        known = self._sent.pop(request, None)
        if known is not None:
            self._mix[known.replica, known.kind] -= 1
        return known

    def finished(self, request: int, replica: int, ttft: int, e2e: int) -> None:
        known = self._forget(request)
        if known is None or known.request.stage != WHOLE or not self._params.learn:
            return
        view, load, most = self._view, known.load, self._limits.sequences[replica]
        here, context = load.requests[replica], load.context[replica]
        if not known.queued and here < most and ttft > 0:
            prompt = load.prompt[replica] + known.request.prompt
            steps = 1 + prompt / view.token_budget[replica]
            self._law.saw(np.array([steps, steps * here, prompt, steps * context]), ttft / _SECOND)
        if e2e > ttft:
            tokens = float(known.output)
            batch = min((here + view.requests[replica]) / 2, most)
            context = (context + view.kv_used[replica] * self._limits.tokens[replica]) / 2
            passed = max(0, self._through[replica] - known.through - view.prefill_tokens[replica])
            self._law.saw(np.array([tokens, tokens * batch, passed, tokens * context]), (e2e - ttft) / _SECOND)
