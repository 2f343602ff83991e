"""One copy of a router of requests: a policy with its view, and the rules by which requests are held or turned away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, HOLD, REJECT, Incoming, Predictor, QueueLimit, RouterParams, TargetLimit
from sim.dispatch.request_loads import Longs, Report
from sim.dispatch.request_view import RequestView


class Router:
    """Decides, and is told what becomes of its requests."""

    def __init__(self, policy: Any, params: RouterParams, view: RequestView, rng: np.random.Generator) -> None:
        """``policy``: the policy's class."""
        self.view = view
        self.policy = policy(params, view)
        self._params = params
        self._rng = rng
        self._sent: Callable[[Incoming, int], None] | None = getattr(self.policy, "sent", None)
        self._finished: Callable[[int, int, int, int], None] | None = getattr(self.policy, "finished", None)
        self._splits: Callable[[Incoming, np.random.Generator], bool] | None = getattr(self.policy, "splits", None)

    def route(self, request: Incoming, replicas: Longs) -> int:
        """A replica, HOLD or REJECT. ``replicas``: those that may take it, by rising number; at least one.

        A request whose prompt is computed already (DECODE) is neither held nor rejected by the router's own rules.
        """
        params, view = self._params, self.view
        fresh = request.stage != DECODE
        if fresh and params.hold is not None:
            replicas = replicas[view.waiting[replicas] < params.hold.queue]
            if not len(replicas):
                return HOLD
        replica = int(self.policy.choose(request, replicas, self._rng))
        if replica < 0:
            return replica
        if fresh and params.reject is not None and self._too_late(params.reject, request, replica):
            return REJECT
        view.loads.decided(request, replica)
        if self._sent is not None:
            self._sent(request, replica)
        return replica

    def splits(self, request: Incoming) -> bool:
        """Whether the request's prompt is computed apart from its output, where there are replicas for both ways."""
        return self._splits is None or bool(self._splits(request, self._rng))

    def _too_late(self, limit: QueueLimit | TargetLimit, request: Incoming, replica: int) -> bool:
        if isinstance(limit, QueueLimit):
            return bool(self.view.waiting[replica] > limit.most)
        if request.ttft < 0:
            return False
        return self.view.forecast(replica, request)[0] > limit.factor * request.ttft

    def arrived(self, request: int, replica: int) -> None:
        """A request of this copy has arrived at its replica."""
        self.view.loads.arrived(request, replica)

    def left(self, request: int, replica: int, now: int) -> None:
        """A request of this copy is no longer at its replica: finished, prefilled there, or lost."""
        self.view.loads.ended(request, replica, now)

    def finished(self, request: int, replica: int, ttft: int, e2e: int) -> None:
        """A request of this copy has its last token; times in ps since its arrival at the router."""
        if self._finished is not None:
            self._finished(request, replica, ttft, e2e)

    def report(self, replica: int, load: Report, taken: int) -> None:
        """A report of a replica arrives that was taken at ``taken`` ps."""
        self.view.loads.report(replica, load, taken)


def predictions(outputs: Longs, predictor: Predictor | None, drawn: NDArray[np.float64]) -> Longs:
    """Output lengths that routers believe in, at least 1; -1 where there is no predictor.

    ``drawn``: standard normal draws, one for each.
    """
    if predictor is None:
        return np.full(len(outputs), -1, dtype=np.int64)
    lengths = outputs * np.exp(predictor.error * drawn)
    if predictor.bucket:
        lengths = predictor.bucket * np.ceil(lengths / predictor.bucket)
    return np.maximum(np.rint(lengths), 1).astype(np.int64)
