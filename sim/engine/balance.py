"""What packet policies see beside queues: loads of links, what packets met on their way, and the period of a policy."""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import Flow, Packet, World

_LONG = types.int64


@njit(types.void(World, _LONG), internal=True)
def tick_due(w, now):  # type: ignore[no-untyped-def]
    """The policy's period is over."""


@njit(_LONG(World, Flow, _LONG, _LONG, _LONG), internal=True)
def entropy_of(w, flow, slot, sequence, now):  # type: ignore[no-untyped-def]
    """The entropy of a flow's next packet."""
    return 0


@njit(types.void(World, Flow, _LONG, _LONG, _LONG, _LONG), internal=True)
def heard(w, flow, slot, kind, entropy, now):  # type: ignore[no-untyped-def]
    """What became of a packet with an entropy."""


@njit(types.void(World, Flow, _LONG, _LONG, Packet, _LONG), internal=True)
def feed_back(w, flow, slot, index, packet, now):  # type: ignore[no-untyped-def]
    """An ACK, at its sender, of a packet that has carried a number."""
