"""What every source of expert choices offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Source(Protocol):
    """Choices of the tokens of P ranks, rank-major, for one step and one layer with experts (both from 0).

    ``experts`` N and ``top_k`` K are the model's. The K experts of a token are distinct, but for ``hot`` with fewer hot
    experts than K.
    """

    experts: int
    top_k: int

    def choices(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """[T, K] experts of each token; T is the sum of ``tokens_per_rank`` [P]."""
        ...

    def scores(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """[T, N] gate scores above 0, each row summing to 1, whose K largest are distributed as the choices are.

        Where choices are given and not drawn (balanced, hot, counted tokens of a trace), the scores are synthetic: the
        chosen experts have the K largest of a row drawn from the experts' popularity.
        """
        ...

    def notes(self) -> list[str]:
        """What a reader of the results must know of the choices made so far, such as a repeated trace."""
        ...
