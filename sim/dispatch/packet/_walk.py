"""The walk through the entropies of a flow that ``oblivious``, ``bitmap`` and ``mixed`` share, and penalties on it.

Source: `uec_mp.cpp` of uet-htsim: with n entropies, a power of 2, number i of a round is i xor a random word, which is
drawn anew each round; a flow's upper bits are random. A flow's words: upper bits (0: not drawn yet), n - 1, i and the
random word; with penalties then those of a mark, a cut and a timeout, their limit, and [n] what each entropy has.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import CUT, LOST, MARKED, Field, PolicyParams

WALK = 4  # words without penalties
UPPER, _MASK, _INDEX, _XOR, _MARK, _CUT, _TIMEOUT, _MOST, _PENALTY = range(9)
_LONG = types.int64
_LONGS = types.int64[::1]


class PenaltyParams(PolicyParams):
    paths: int = Field(default=64, ge=2, le=65536, description="Entropies of a flow, rounded up to a power of 2.")
    mark: int = Field(default=1, ge=0, description="Penalty of a mark.")
    cut: int = Field(default=4, ge=0, description="Penalty of a packet that was cut.")
    timeout: int = Field(default=15, ge=0, description="Penalty of a timeout.")
    most: int = Field(default=15, ge=0, description="The highest sum of an entropy's penalties.")


def walk_words(paths: int) -> list[int]:
    """A walk at its beginning."""
    return [0, (1 << (paths - 1).bit_length()) - 1, 0, 0]


def penalty_words(params: PenaltyParams) -> NDArray[np.int64]:
    """A walk at its beginning, without penalties."""
    walk = walk_words(params.paths)
    limits = [params.mark, params.cut, params.timeout, params.most]
    return np.array([*walk, *limits, *[0] * (walk[_MASK] + 1)], dtype=np.int64)


@njit(types.void(_LONGS, _LONG), internal=True)
def _begin(own, key):  # type: ignore[no-untyped-def]
    if own[UPPER] == 0:
        own[UPPER] = (key >> 20 & 0xFFFF) & ~own[_MASK] | 1 << 17
        own[_XOR] = key & own[_MASK]


@njit(_LONG(_LONGS), internal=True)
def _here(own):  # type: ignore[no-untyped-def]
    return (own[_INDEX] ^ own[_XOR]) & own[_MASK]


@njit(types.void(_LONGS, _LONG), internal=True)
def _step(own, key):  # type: ignore[no-untyped-def]
    own[_INDEX] += 1
    if own[_INDEX] > own[_MASK]:
        own[_INDEX] = 0
        own[_XOR] = key >> 40 & own[_MASK]


@njit(_LONG(_LONGS, _LONG), internal=True)
def next_of_walk(own, key):  # type: ignore[no-untyped-def]
    """The next entropy of a round."""
    _begin(own, key)
    entropy = _here(own)
    _step(own, key)
    return entropy | own[UPPER]


@njit(_LONG(_LONGS, _LONG), internal=True)
def next_without_penalty(own, key):  # type: ignore[no-untyped-def]
    """The next entropy without penalties, a round on at most. One is taken off the entropy whose turn it is."""
    _begin(own, key)
    place = _PENALTY + _here(own)
    if own[place] > 0:
        own[place] -= 1
        for _ in range(own[_MASK] + 1):
            _step(own, key)
            if own[_PENALTY + _here(own)] == 0:
                break
    return next_of_walk(own, key)


@njit(types.void(_LONGS, _LONG, _LONG), internal=True)
def punish(own, kind, entropy):  # type: ignore[no-untyped-def]
    """A mark, cut or timeout. A timeout's entropy is not known: as in the source it counts for number 0."""
    penalty = 0
    if kind == MARKED:
        penalty = own[_MARK]
    elif kind == CUT:
        penalty = own[_CUT]
    elif kind == LOST:
        penalty = own[_TIMEOUT]
    place = _PENALTY + (entropy & own[_MASK] if entropy >= 0 else 0)
    own[place] = min(own[place] + penalty, own[_MOST])
