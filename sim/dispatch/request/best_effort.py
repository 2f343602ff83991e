"""The model that answers best in time, by load: pools of several models, one learned choice a request.

Source: Jha et al., "Learned Best-Effort LLM Serving", arXiv 2401.07886: a Double DQN, a perceptron of two layers, sees
the task, the requests at each model and an estimate of the arrival rate, and is rewarded with the model's quality if
the request meets its deadline; a hard deadline missed is worth nothing, a soft one is discounted. Theirs is trained
before it serves. This one learns during the run: ``warm_up`` requests go to the emptiest pool, then ``explore`` of them
to a random one, a share that falls by e every ``explored`` requests. It also sees the lengths of prompt and predicted
output, and requests a replica by their logarithm.

The models are the workload's pools with their ``quality`` (1 where none is given); the replica in a pool is the one
with the fewest requests. The deadline is the class's target of ``e2e``, or ``deadline``. A soft miss counts quality x
exp(1 - e2e / deadline). A request that is not done after its deadline (soft: five times that) is worth nothing and is
learned from at once.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import Field, Incoming, RouterParams, Time
from sim.dispatch.request._double_q import DoubleQ, Step
from sim.dispatch.request_view import RequestView

_PATIENCE = {"hard": 1, "soft": 5}  # deadlines after which a request counts as missed
_FOLLOW = 100  # decisions until the older network follows
_SCALES = 1024, 256  # tokens of prompt and output that are 1 in a state
_RATE = 0.05  # weight of a new gap in the estimated one


class Params(RouterParams):
    deadline: Time = Field(10_000_000_000_000, gt=0, description="of requests whose class has no target of e2e")
    reward: Literal["hard", "soft"] = Field("hard", description="a missed deadline: nothing, or discounted quality")
    classes: int = Field(4, ge=1, le=64, description="classes of requests told apart; the last one holds all others")
    hidden: int = Field(64, ge=1, le=1024, description="units of the hidden layer")
    rate: float = Field(0.001, gt=0, le=1, description="step of the learning (Adam)")
    discount: float = Field(0.5, ge=0, lt=1, description="of the reward of the next request")
    batch: int = Field(32, ge=1, le=4096, description="decisions replayed after each one")
    memory: int = Field(5000, ge=1, description="decisions kept for replay")
    warm_up: int = Field(200, ge=0, description="first decisions, for the pool with the fewest requests a replica")
    explore: float = Field(0.2, ge=0, le=1, description="share of random choices after that")
    explored: int = Field(300, ge=1, description="decisions until that share has fallen by e")
    floor: float = Field(0.01, ge=0, le=1, description="share of random choices that stays")


class _Open:
    """A decision whose reward is not known yet."""

    __slots__ = ("action", "deadline", "following", "quality", "request", "reward", "state", "time")

    def __init__(self, request: Incoming, state: NDArray[np.float64], action: int, quality: float, deadline: int):
        self.request, self.time, self.deadline = request.id, request.time, deadline
        self.state, self.action, self.quality = state, action, quality
        self.following: NDArray[np.float64] | None = None
        self.reward = -1.0


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._params = params
        self._view = view
        self._pools = len(view.pools)
        self._size = np.bincount(view.pool, minlength=self._pools)
        quality = np.zeros(self._pools)
        quality[view.pool] = np.nan_to_num(view.quality, nan=1.0)
        self._quality: list[float] = quality.tolist()
        size = params.classes + self._pools + len(_SCALES) + 1
        self._learner = DoubleQ(size, self._pools, params.hidden, params.rate, params.discount, params.memory)
        self._begun = False
        self._decisions = 0
        self._gap = 0.0  # seconds between arrivals, a moving mean
        self._last = -1  # ps of the last decision
        self._by_id: dict[int, _Open] = {}
        self._unknown: deque[_Open] = deque()  # in order of decision; the first has no reward yet
        self._latest: _Open | None = None
        self._choice: tuple[NDArray[np.float64], int] | None = None

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        params, view = self._params, self._view
        if not self._begun:
            self._learner.start(rng)
            self._begun = True
        state = self._state(request)
        self._settle(request.time, state)
        self._learner.train(params.batch, _FOLLOW, rng)
        pools = np.unique(view.pool[replicas])
        past = self._decisions - params.warm_up
        self._decisions += 1
        if past < 0:
            values: NDArray[np.float64] = -self._filled()
        elif rng.random() < max(params.explore * math.exp(-past / params.explored), params.floor):
            values = rng.random(self._pools)
        else:
            values = self._learner.values(state)
        pool = int(pools[values[pools].argmax()])
        self._choice = state, pool
        return view.pick(view.requests, replicas[view.pool[replicas] == pool], rng)

    def _filled(self) -> NDArray[np.float64]:
        """[pools] requests a replica."""
        requests = np.bincount(self._view.pool, weights=self._view.requests, minlength=self._pools)
        return requests.astype(np.float64) / self._size

    def _state(self, request: Incoming) -> NDArray[np.float64]:
        """The class, one of ``classes``; how full each pool is; lengths; the log of the arrival rate."""
        classes = self._params.classes
        if self._last >= 0:
            gap = (request.time - self._last) * 1e-12
            self._gap = gap if self._gap == 0 else self._gap + _RATE * (gap - self._gap)
        self._last = request.time
        lengths = classes + self._pools
        state = np.zeros(lengths + len(_SCALES) + 1)
        state[min(request.kind, classes - 1)] = 1
        state[classes:lengths] = np.log1p(self._filled())
        state[lengths:-1] = request.prompt / _SCALES[0], max(request.predicted, 0) / _SCALES[1]
        state[-1] = math.log1p(1 / self._gap) if self._gap > 0 else 0.0
        return state

    def sent(self, request: Incoming, replica: int) -> None:
        assert self._choice is not None
        state, pool = self._choice
        deadline = request.e2e if request.e2e > 0 else self._params.deadline
        opened = _Open(request, state, pool, self._quality[pool], deadline)
        self._by_id[request.id] = opened
        self._unknown.append(opened)
        self._latest = opened

    def finished(self, request: int, replica: int, ttft: int, e2e: int) -> None:
        opened = self._by_id.pop(request, None)
        if opened is None:  # given up already
            return
        late = e2e / opened.deadline - 1
        worth = 1.0 if late <= 0 else math.exp(-late) if self._params.reward == "soft" else 0.0
        opened.reward = worth * opened.quality
        self._keep(opened)

    def _settle(self, now: int, state: NDArray[np.float64]) -> None:
        """The last decision learns what came after it; what is far too late has its reward."""
        latest, self._latest = self._latest, None
        if latest is not None:
            latest.following = state
            self._keep(latest)
        patience, unknown = _PATIENCE[self._params.reward], self._unknown
        while unknown and (unknown[0].reward >= 0 or now - unknown[0].time > patience * unknown[0].deadline):
            opened = unknown.popleft()
            if opened.reward < 0:
                opened.reward = 0.0
                if self._by_id.get(opened.request) is opened:  # it may have been routed again
                    del self._by_id[opened.request]
                self._keep(opened)

    def _keep(self, opened: _Open) -> None:
        if opened.reward >= 0 and opened.following is not None:
            self._learner.saw(Step(opened.state, opened.action, opened.reward, opened.following))
