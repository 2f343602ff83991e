"""The value of a replica's state, linear in features, learned by least squares from one decision to the next.

Least-squares temporal differences (Bradtke, Barto 1996) on the states that decisions leave behind; choosing by the
learned values makes it least-squares policy iteration (Lagoudakis, Parr 2003), a Q learner without step size. The
heuristic's weights are the prior: they count as much as ``trust`` samples, so what is learned takes over gradually, as
in heuristic-guided reinforcement learning (Cheng et al. 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EVERY = 64  # decisions between two solutions


class LinearValue:
    """``weights`` [features]. ``memory``: decisions after which a sample counts 1/e of a new one."""

    def __init__(self, weights: NDArray[np.float64], trust: float, memory: float) -> None:
        self.weights: NDArray[np.float64] = weights.copy()
        self._guide = weights.copy()
        self._trust = trust
        self._keep = float(np.exp(-1.0 / memory))
        size = len(weights)
        self._left = np.zeros((size, size))
        self._right: NDArray[np.float64] = np.zeros(size)
        self._scale = np.zeros(size)  # sum of squares of each feature
        self._samples = 0.0
        self._due = _EVERY

    def saw(
        self,
        before: NDArray[np.float64],
        cost: NDArray[np.float64],
        discount: float,
        after: NDArray[np.float64],
    ) -> None:
        """Replicas went from ``before`` [replicas, features] to ``after`` and cost [replicas] meanwhile."""
        keep = self._keep
        left: NDArray[np.float64] = before.T @ (before - discount * after)
        self._left = keep * self._left + left
        self._right = keep * self._right + before.T @ cost
        self._scale = keep * self._scale + np.einsum("ij,ij->j", before, before)
        self._samples = keep * self._samples + len(before)
        self._due -= 1
        if self._due == 0:
            self._due = _EVERY
            self._solve()

    def _solve(self) -> None:
        prior = self._trust * self._scale / self._samples + 1e-12
        left = self._left + np.diag(prior)
        right = self._right + prior * self._guide
        self.weights = np.linalg.solve(left, right).astype(np.float64)
