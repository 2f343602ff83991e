"""All requests of a session to one replica, by consistent hashing; optionally none far above the mean load.

Source: Karger et al., "Consistent Hashing and Random Trees", STOC 1997; with ``bound`` Mirrokni, Thorup and
Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018: a replica that would have more than ``bound`` times
the mean number of requests is passed over. Proxies recommend 1.25 to 2. A request without a session is hashed by its
own number. Where a replica is down only its sessions move. It starves replicas by definition where sessions are few.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import Field, Incoming, RouterParams
from sim.dispatch.request_view import RequestView

_MASK = (1 << 64) - 1


class Params(RouterParams):
    by: Literal["session", "tenant"] = Field("session", description="what stays together")
    virtual_nodes: int = Field(100, ge=1, le=10_000, description="points of a replica on the ring")
    bound: float | None = Field(None, ge=1, le=1000, description="most requests of a replica, in means; absent: any")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view
        self._by_tenant = params.by == "tenant"
        self._bound = params.bound
        nodes = params.virtual_nodes
        ring = sorted((_mix(_mix(1 + point) + point % nodes), point // nodes) for point in range(view.replicas * nodes))
        self._points = [point for point, _ in ring]
        self._owners = [owner for _, owner in ring]

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        allowed = np.zeros(self._view.replicas, dtype=np.bool_)
        allowed[replicas] = True
        if self._bound is not None:
            requests = self._view.requests
            most = math.ceil(self._bound * (int(requests[replicas].sum()) + 1) / len(replicas))
            allowed &= requests < most
        owners, at = self._owners, bisect_left(self._points, self._key(request))
        for step in range(len(owners)):
            owner = owners[(at + step) % len(owners)]
            if allowed[owner]:
                return owner
        raise AssertionError("no replica below the mean")

    def _key(self, request: Incoming) -> int:
        if request.session >= 0 and not self._by_tenant:
            return _mix(3 * request.session)
        return _mix(3 * request.tenant + 1) if self._by_tenant else _mix(3 * request.id + 2)


def _mix(value: int) -> int:
    """64 well-mixed bits (the finaliser of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
