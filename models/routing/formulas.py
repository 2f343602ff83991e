"""Choices by formula: balanced, and the ``R:h`` skew of the least-loaded expert parallelism benchmark.

Source: Salesforce, ``test_llep.py`` of LeastLoadedEP (arXiv 2601.17111). Every rank has the same tokens: token i of a
rank counts from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from models.jit import njit
from models.routing.draws import given_scores, seed_of


@njit("int32[:, ::1](int64[::1], int64, int64, float64, int64)")
def _fill(tokens: Any, experts: Any, top_k: Any, share: Any, hot: Any) -> Any:
    """The first int(B * share) of a rank's B tokens go round the hot experts, the others round the cold ones."""
    choices = np.empty((tokens.sum(), top_k), dtype=np.int32)
    row = 0
    for rank in range(len(tokens)):
        warm = np.int64(tokens[rank] * share)
        for token in range(tokens[rank]):
            for slot in range(top_k):
                if token < warm:
                    choices[row, slot] = slot % hot
                else:
                    choices[row, slot] = hot + (token + slot) % (experts - hot)
            row += 1
    return choices


class Hot:
    """``share`` of each rank's tokens use only the experts 0..hot-1: slot k of a token takes hot expert k mod hot.

    So with hot < K a token has several copies at one expert, and with hot > K the hot experts from K on get none of
    these tokens: the benchmark's definition, which its published tables rest on. Token i of the others takes the cold
    experts (i + k) mod (N - hot). With ``hot`` 0 all are taken so: balanced.
    """

    def __init__(self, experts: int, top_k: int, share: float, hot: int) -> None:
        if not 0 <= share <= 1:
            _refuse(f"the hot share must be from 0 to 1, not {share}")
        if not 0 <= hot < experts:
            _refuse(f"{hot} hot experts of {experts}: at least one must be cold")
        if top_k < 1 or top_k > experts - hot:
            _refuse(f"top-{top_k} needs as many cold experts; there are {experts - hot}")
        if hot == 0 and share > 0:
            _refuse("a hot share needs hot experts")
        self.experts = experts
        self.top_k = top_k
        self.share = share
        self.hot = hot

    def choices(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.int32]:
        tokens = np.ascontiguousarray(tokens_per_rank, dtype=np.int64)
        found: NDArray[np.int32] = _fill(tokens, self.experts, self.top_k, self.share, self.hot)
        return found

    def scores(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        choices = self.choices(tokens_per_rank, step, layer, rng)
        popularity = np.bincount(choices.ravel(), minlength=self.experts) + 0.5
        found: NDArray[np.float32] = given_scores(popularity, choices, seed_of(rng))
        return found

    def notes(self) -> list[str]:
        if 0 < self.hot < self.top_k and self.share > 0:
            most = -(-self.top_k // self.hot)
            return [f"a token of the hot share has up to {most} copies at one of the hot experts"]
        return []


class Balanced(Hot):
    """Slot k of token i of a rank takes expert (i + k) mod N."""

    def __init__(self, experts: int, top_k: int) -> None:
        super().__init__(experts, top_k, 0.0, 0)


def hot_from_text(text: str, experts: int, top_k: int, ranks: int) -> Hot:
    """``30:4`` (30 % of the tokens on 4 experts), ``30:local`` (on as many as a rank holds), or ``balanced``."""
    if text == "balanced":
        return Balanced(experts, top_k)
    share, colon, hot = text.partition(":")
    try:
        percent = float(share)
        number = experts // ranks if hot == "local" else int(hot)
    except ValueError:
        percent, number = -1.0, 0
    if not colon or not 0 <= percent <= 100 or number < 1:
        _refuse(f"'{text}' is no skew; write percent:experts such as 30:4, 30:local, or balanced")
    return Hot(experts, top_k, percent / 100, number)


def _refuse(message: str) -> None:
    raise InputError([Problem("routing", 0, 0, message)])
