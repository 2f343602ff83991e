"""All that a policy imports, ours or a user's: the base of its parameters, the data it sees and what it returns.

A policy file names one policy. Its level is its folder, or ``LEVEL = "path"`` in a user's file; its name is the file's
name, or ``NAME``. It holds ``class Params(PolicyParams)`` and what its level asks for (``sim/dispatch/protocols.py``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sim.scenario.quantities import Rate, Size, Time

__all__ = ["Field", "Flow", "Message", "Piece", "PolicyParams", "Rate", "Size", "Time", "packet_policy"]


class PolicyParams(BaseModel):
    """Parameters of a policy: unknown keys are errors, values can't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Flow(NamedTuple):
    """One transfer that asks for its path. ``id`` counts the flows of a run in order of their start."""

    id: int
    src: int  # host
    dst: int  # host
    bytes: int  # payload
    start: int  # ps


class Piece(NamedTuple):
    """A part of a flow and the way it takes: directed link indices from source to destination, or None.

    None means all equal-cost paths: in the packet engines a packet policy chooses at every switch (``follow_path``: a
    random path per packet), in fluid the bytes are split evenly over the paths.
    """

    bytes: int
    path: tuple[int, ...] | None


class Message(NamedTuple):
    """One message of a collective: sent when ``waits_for`` is open, counts down ``opens`` when it has arrived.

    A gate belongs to the rank that waits at it. -1: no gate (sent at once; nothing waits). A message of 0 bytes is a
    signal: nothing is sent, it counts down ``opens`` in the instant in which ``waits_for`` opens.
    """

    src: int  # rank
    dst: int  # rank
    bytes: int
    waits_for: int = -1
    opens: int = -1


def packet_policy(function: Any) -> Any:
    """Compiles a packet policy's ``pick`` with the signature of ``sim/engine/signatures.py``."""
    from sim.engine.signatures import compile_pick

    return compile_pick(function)
