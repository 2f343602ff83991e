"""Loads of links: a discounting rate estimator each (CONGA, SIGCOMM 2014).

A link's word grows by the bytes of every packet whose serialisation ends, and shrinks by the share alpha at the end of
every period. At its full rate it comes to rate x period / alpha. Periods begin at time 0; they are made up for when
somebody looks.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import World, link_at, load_long, store_long
from sim.engine.words import DOWN

_LONG = types.int64


@njit(_LONG(World, _LONG, _LONG), internal=True)
def _discounted(w, number, now):  # type: ignore[no-untyped-def]
    """Bytes x 1024 of a link's estimator."""
    word, period = load_long(w.loads, 2 * number), now // w.load_period
    steps = period - load_long(w.loads, 2 * number + 1)
    while steps > 0 and word > 0:
        word = word * w.load_keep >> 10
        steps -= 1
    store_long(w.loads, 2 * number, word)
    store_long(w.loads, 2 * number + 1, period)
    return word


@njit(types.void(World, _LONG, _LONG, _LONG), internal=True)
def note_sent(w, number, size, end):  # type: ignore[no-untyped-def]
    """A packet has wholly left. To be called in order of time."""
    store_long(w.loads, 2 * number, _discounted(w, number, end) + (size << 10))


@njit(_LONG(World, _LONG, _LONG), internal=True)
def load_of(w, number, now):  # type: ignore[no-untyped-def]
    """A link's load in 1/1024 of its rate; DOWN: no load can be measured. What has left until now must be noted."""
    if link_at(w.links, number).up == 0:
        return DOWN
    word = _discounted(w, number, now)
    a_period = int(float(link_at(w.links, number).rate) * float(w.load_period) / 8e12)  # bytes
    return word // max(1, a_period * 1024 // (1024 - w.load_keep))
