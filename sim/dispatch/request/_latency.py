"""What an iteration takes, learned from requests that end: a step, and what each sequence and token adds to it.

Recursive least squares with forgetting (Ljung, "System Identification", 1999, section 11.2) on relative errors: each
measured time counts the same, whether short or long. The numbers given at the start are the prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP, SEQUENCE, PROMPT, CONTEXT = range(4)
_FORGET = 0.999  # of what is known, kept after each measurement
_SPREAD = 1.0  # standard deviation of the prior, in its own values
_ERROR = 0.3  # relative standard deviation of one measurement: lengths are predicted, loads change meanwhile
_LEAST = 0.02  # no number falls below this share of its prior


class StepLaw:
    """``values`` [4] in seconds: a step, a sequence, a prompt token, a token of context."""

    def __init__(self, prior: NDArray[np.float64]) -> None:
        self._prior = prior
        self._mean = prior.copy()
        self._spread = np.diag(np.square(_SPREAD * prior))
        self._most = self._spread.diagonal().copy()
        self.values = prior.copy()

    def saw(self, row: NDArray[np.float64], seconds: float) -> None:
        """A measurement: ``row`` [4] times ``values`` took ``seconds``, above 0."""
        scaled = row / seconds
        gain = self._spread @ scaled
        gain /= _ERROR * _ERROR + scaled @ gain
        self._mean += gain * (1.0 - scaled @ self._mean)
        spread = (self._spread - np.outer(gain, scaled @ self._spread)) / _FORGET
        # what no measurement tells about must not become ever less certain
        shrink = np.sqrt(np.minimum(1.0, self._most / np.maximum(spread.diagonal(), 1e-300)))
        self._spread = spread * np.outer(shrink, shrink)
        self.values = np.maximum(self._mean, _LEAST * self._prior)
