"""Marking thresholds that congestion controls ask of the switches, from the rate or the BDP."""

from __future__ import annotations

import numpy as np

from sim.dispatch.api import PathFacts

# of Ethereal's authors' ns-3 code: at which queue a link of this rate marks every packet
_RATES = [0, 25 * 10**9, 40 * 10**9, 100 * 10**9, 200 * 10**9, 400 * 10**9]  # bit/s
_STEPS = [0, 100_000, 200_000, 400_000, 600_000, 800_000]  # bytes


def step_of(facts: PathFacts) -> tuple[int, int, float]:
    """kmin = kmax by a table over the rate, linear between its points, in proportion beyond its last."""
    if facts.rate > _RATES[-1]:
        step = _STEPS[-1] * facts.rate // _RATES[-1]
    else:
        step = int(np.interp(facts.rate, _RATES, _STEPS))
    return _fitted(step, step, 1.0, facts)


def ramp_of(kmin: int, kmax: int, pmax: float, facts: PathFacts) -> tuple[int, int, float]:
    """A ramp that is given at 100 Gb/s, in proportion to the rate."""
    return _fitted(kmin * facts.rate // 10**11, kmax * facts.rate // 10**11, pmax, facts)


def share_of_bdp(facts: PathFacts) -> tuple[int, int, float]:
    """From a fifth to four fifths of the BDP, in packets, each rounded up: as uet-htsim sets it."""
    packets = -(-facts.bdp // facts.mtu)
    return -(-packets // 5) * facts.mtu, -(-4 * packets // 5) * facts.mtu, 1.0


def _fitted(kmin: int, kmax: int, pmax: float, facts: PathFacts) -> tuple[int, int, float]:
    """A port whose buffer is too small for the thresholds has kmax at four fifths of it, and kmin in proportion."""
    room = facts.buffer * 4 // 5
    if kmax > room:
        kmin, kmax = kmin * room // kmax, room
    return max(1, kmin), max(1, kmax), pmax
