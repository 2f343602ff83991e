"""Random popularity of experts, by layer, that may drift from step to step: Zipf, log-normal and Dirichlet.

Each expert of a layer has a hidden standard normal value. The distribution makes weights of these values, and a token
draws its experts by the weights (``draws.py``), the same weights on every rank. From step to step each value z goes to
sqrt(1 - drift^2) z + drift * (new normal): a random walk that keeps the distribution, whose memory fades by half in
about 1.4 / drift^2 steps. ``drift`` 0 keeps the experts' popularity, 1 draws a new one for every step.

A model whose experts come in groups (``Architecture.expert_groups``, ``top_groups``) can be given as ``groups``: tokens
then draw from few of them (``groups.py``).

``key`` fixes the popularity: the values of a layer and step depend on it alone. Weights are what the draw uses: as a
token has an expert at most once, the load of the most popular ones is flatter than their weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr

from models.errors import InputError, Problem
from models.routing.draws import draw, drawn_scores, seed_of
from models.routing.groups import draw_in_groups, keep_groups

Weights = NDArray[np.float64]
_LEAST = 1e-12  # of the largest weight: no expert is impossible


class Walk:
    """[N] hidden values of every layer, from step to step: standard normal at any time, by ``key`` alone."""

    def __init__(self, experts: int, key: int, drift: float) -> None:
        if not 0 <= drift <= 1:
            _refuse(f"the drift must be from 0 to 1, not {drift}")
        self.experts = experts
        self.key = key
        self.drift = drift
        self._at: dict[int, tuple[int, Weights]] = {}  # by layer: the last step and its values

    def values(self, step: int, layer: int, start: Weights | None = None) -> Weights:
        """[N] values of a step; ``start``: those of step 0, if they are given."""
        if self.drift == 0:
            step = 0
        at, values = self._at.get(layer, (-1, np.empty(0)))
        if at > step:
            at = -1
        while at < step:
            at += 1
            fresh = np.random.default_rng([self.key, layer, at]).standard_normal(self.experts)
            if at == 0:
                values = fresh if start is None else start
            else:
                values = np.sqrt(1 - self.drift**2) * values + self.drift * fresh
        self._at[layer] = (at, values)
        return values


class Popularity(ABC):
    """A source that draws by weights of its own. ``groups`` (number, how many a token uses) divide the experts."""

    def __init__(
        self, experts: int, top_k: int, key: int, drift: float = 0.0, groups: tuple[int, int] = (1, 1)
    ) -> None:
        number, limit = groups
        if not 1 <= top_k <= experts:
            _refuse(f"top-{top_k} of {experts} experts")
        if not 1 <= limit <= number or experts % number or limit * (experts // number) < top_k:
            _refuse(f"top-{top_k} of {experts} experts can't come from {limit} of {number} groups")
        self._groups = groups
        self.experts = experts
        self.top_k = top_k
        self._walk = Walk(experts, key, drift)

    @abstractmethod
    def weigh(self, values: Weights) -> Weights:
        """[N] weights of standard normal ``values`` [N]."""

    def weights(self, step: int, layer: int) -> Weights:
        """[N] weights of a step; they sum to 1."""
        weights = self.weigh(self._walk.values(step, layer))
        weights = np.maximum(weights, _LEAST * weights.max())
        return np.asarray(weights / weights.sum())

    def choices(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.int32]:
        tokens = int(tokens_per_rank.sum())
        weights, seed = self.weights(step, layer), seed_of(rng)
        number, limit = self._groups
        if limit < number:
            limited: NDArray[np.int32] = draw_in_groups(weights, tokens, self.top_k, seed, number, limit)
            return limited
        found: NDArray[np.int32] = draw(weights, tokens, self.top_k, seed)
        return found

    def scores(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        found: NDArray[np.float32] = drawn_scores(self.weights(step, layer), int(tokens_per_rank.sum()), seed_of(rng))
        if self._groups[1] < self._groups[0]:
            keep_groups(found, *self._groups)
        return found

    def notes(self) -> list[str]:
        return []


class Zipf(Popularity):
    """The expert of popularity rank r = 1, 2, ... has weight r^-exponent; the hidden values order the experts."""

    def __init__(
        self,
        experts: int,
        top_k: int,
        key: int,
        exponent: float = 1.0,
        drift: float = 0.0,
        groups: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(experts, top_k, key, drift, groups)
        if exponent < 0:
            _refuse(f"the exponent must not be negative: {exponent}")
        self.exponent = exponent

    def weigh(self, values: Weights) -> Weights:
        weights = np.empty(self.experts)
        weights[np.argsort(-values, kind="stable")] = np.arange(1, self.experts + 1.0) ** -self.exponent
        return weights


class LogNormal(Popularity):
    """Weight exp(sigma z)."""

    def __init__(
        self,
        experts: int,
        top_k: int,
        key: int,
        sigma: float = 1.0,
        drift: float = 0.0,
        groups: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(experts, top_k, key, drift, groups)
        if sigma < 0:
            _refuse(f"sigma must not be negative: {sigma}")
        self.sigma = sigma

    def weigh(self, values: Weights) -> Weights:
        return np.asarray(np.exp(self.sigma * (values - values.max())))


class Dirichlet(Popularity):
    """Weights of a symmetric Dirichlet distribution: gamma values of shape ``concentration``, by their quantiles."""

    def __init__(
        self,
        experts: int,
        top_k: int,
        key: int,
        concentration: float = 1.0,
        drift: float = 0.0,
        groups: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(experts, top_k, key, drift, groups)
        if concentration <= 0:
            _refuse(f"the concentration must be above 0: {concentration}")
        self.concentration = concentration

    def weigh(self, values: Weights) -> Weights:
        weights = np.asarray(gammaincinv(self.concentration, ndtr(values)), dtype=np.float64)
        if weights.max() == 0:  # all quantiles below the smallest float
            weights[values.argmax()] = 1.0
        return weights


def _refuse(message: str) -> None:
    raise InputError([Problem("routing", 0, 0, message)])
