"""When requests come where the gaps are not those of one Poisson process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.processes.arrivals import BLOCK, PoissonGaps


class GammaGaps(PoissonGaps):
    """Gamma-distributed gaps of ``mean`` ps; ``cv`` is their standard deviation over the mean."""

    def __init__(self, mean: float, cv: float) -> None:
        super().__init__(mean)
        self._cv = cv

    def _draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        square = self._cv**2
        return rng.standard_gamma(1.0 / square, BLOCK) * square


class MmppGaps:
    """Arrivals of a Poisson process whose rate goes through some states in turn, each for an exponential time.

    The arrivals of a process of rate 1 are carried over to the time at which the rates' integral reaches them.
    """

    def __init__(self, rates: Sequence[float], holds: Sequence[int], states: np.random.Generator) -> None:
        """``rates`` per ps, all above 0; ``holds``: mean ps in each state; ``states`` draws these times."""
        self._rates = np.array(rates, dtype=np.float64)
        self._holds = np.array(holds, dtype=np.float64)
        self._states = states

    def starts(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        whole, rest, state = 0, 0.0, 0
        left = self._states.standard_exponential() * self._holds[0]  # ps in the present state
        while True:
            unit = np.cumsum(rng.standard_exponential(BLOCK))
            time, integral, rates = self._edges(float(unit[-1]), state, left)
            times = rest + np.interp(unit, integral, time)
            if whole + float(times[-1]) >= 2.0**63:
                return
            down = np.floor(times)
            yield whole + down.astype(np.int64)
            whole += int(down[-1])
            rest = float(times[-1] - down[-1])
            inside = int(np.searchsorted(integral, unit[-1], side="left")) - 1
            state = (state + inside) % len(self._rates)
            left = float(integral[inside + 1] - unit[-1]) / rates[inside]

    def _edges(
        self, most: float, state: int, left: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Where states end from now on until the integral passes ``most``: (ps, integral) [n + 1], rates [n]."""
        spans, rates = np.array([left]), self._rates[[state]]
        while True:
            integral = np.concatenate([[0.0], np.cumsum(spans * rates)])
            if integral[-1] > most:
                return np.concatenate([[0.0], np.cumsum(spans)]), integral, rates
            more = max(256, len(spans))
            order = (state + np.arange(len(spans), len(spans) + more)) % len(self._rates)
            spans = np.concatenate([spans, self._states.standard_exponential(more) * self._holds[order]])
            rates = np.concatenate([rates, self._rates[order]])
