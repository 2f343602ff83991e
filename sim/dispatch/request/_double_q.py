"""Double Q learning with a perceptron of two layers, in numpy: Q of every action from a state, replayed in batches.

Sources: van Hasselt, Guez, Silver, "Deep reinforcement learning with double Q-learning", AAAI 2016: the network in
training chooses the next action, an older copy of it says what that is worth. Adam: Kingma, Ba, ICLR 2015.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FAST, _SLOW, _TINY = 0.9, 0.999, 1e-8  # Adam's means, and what keeps it from dividing by 0


class Step(NamedTuple):
    """What was seen of one decision."""

    state: Floats
    action: int
    reward: float
    following: Floats  # the state of the next decision


class DoubleQ:
    """``states`` numbers in, ``actions`` values out. The first weights and all batches are drawn from ``rng``."""

    def __init__(self, states: int, actions: int, hidden: int, rate: float, discount: float, memory: int) -> None:
        self._shape = (states, hidden, actions)
        self._rate = rate
        self._discount = discount
        self._states = np.zeros((memory, states))
        self._following = np.zeros((memory, states))
        self._actions = np.zeros(memory, dtype=np.int64)
        self._rewards = np.zeros(memory)
        self._kept = 0  # steps seen; the memory is a ring
        self._updates = 0
        self._now: list[Floats] = []  # weights and biases of both layers
        self._old: list[Floats] = []
        self._fast: list[Floats] = []
        self._slow: list[Floats] = []

    def start(self, rng: np.random.Generator) -> None:
        """Draws the first weights (He et al. 2015)."""
        states, hidden, actions = self._shape
        first = rng.standard_normal((states, hidden)) * np.sqrt(2 / states)
        second = rng.standard_normal((hidden, actions)) * np.sqrt(1 / hidden)
        self._now = [first, np.zeros(hidden), second, np.zeros(actions)]
        self._fast = [np.zeros_like(part) for part in self._now]
        self._slow = [np.zeros_like(part) for part in self._now]
        self.follow()

    def follow(self) -> None:
        """The older copy becomes what the network is now."""
        self._old = [part.copy() for part in self._now]

    def values(self, states: Floats) -> Floats:
        """[rows, actions]"""
        return _forward(self._now, states)[1]

    def saw(self, step: Step) -> None:
        place = self._kept % len(self._rewards)
        self._states[place], self._following[place] = step.state, step.following
        self._actions[place], self._rewards[place] = step.action, step.reward
        self._kept += 1

    def train(self, batch: int, follow: int, rng: np.random.Generator) -> None:
        """One step of Adam on ``batch`` steps drawn from memory; the copy follows every ``follow`` of them."""
        size = min(self._kept, len(self._rewards))
        if size < batch:
            return
        rows = rng.integers(size, size=batch)
        every = np.arange(batch)
        best = self.values(self._following[rows]).argmax(axis=1)
        later = _forward(self._old, self._following[rows])[1][every, best]
        goal = self._rewards[rows] + self._discount * later
        states, actions = self._states[rows], self._actions[rows]
        hidden, values = _forward(self._now, states)
        error = np.zeros_like(values)
        error[every, actions] = np.clip(values[every, actions] - goal, -1, 1) / batch  # of Huber's loss
        back = (error @ self._now[2].T) * (hidden > 0)
        slopes = [states.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        self._updates += 1
        self._adam(slopes)
        if self._updates % follow == 0:
            self.follow()

    def _adam(self, slopes: list[Floats]) -> None:
        rate = self._rate * np.sqrt(1 - _SLOW**self._updates) / (1 - _FAST**self._updates)
        for part, slope, fast, slow in zip(self._now, slopes, self._fast, self._slow, strict=True):
            fast[...] = _FAST * fast + (1 - _FAST) * slope
            slow[...] = _SLOW * slow + (1 - _SLOW) * slope * slope
            part[...] = part - rate * fast / (np.sqrt(slow) + _TINY)


def _forward(parts: list[Floats], states: Floats) -> tuple[Floats, Floats]:
    """The hidden layer and the values."""
    hidden = np.maximum(states @ parts[0] + parts[1], 0.0)
    return hidden, hidden @ parts[2] + parts[3]
