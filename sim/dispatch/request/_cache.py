"""How many blocks of a prompt each replica has: as its cache tells (``precise``), or as the router guesses."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, Incoming
from sim.dispatch.request._prefix_tree import PrefixTree
from sim.dispatch.request_view import RequestView

Source = Literal["precise", "approximate"]


class Cached:
    """The caches as one copy of a router knows them."""

    def __init__(self, view: RequestView, source: Source, most_blocks: int) -> None:
        """``most_blocks``: that a replica's approximate tree holds."""
        self._view = view
        most = most_blocks * view.hash_tokens
        self._tree = PrefixTree(view.replicas, most, view.hash_tokens) if source == "approximate" else None

    def tokens(self, request: Incoming, replicas: NDArray[np.int64]) -> NDArray[np.int64]:
        """[replicas] prompt tokens that each of them has."""
        if self._tree is None:
            return self._view.cached(replicas, request)
        return self._tree.matches(request, replicas)

    def sent(self, request: Incoming, replica: int) -> None:
        if self._tree is not None and request.stage != DECODE:
            self._tree.insert(request, replica)
