"""A fixed window of payload and an ACK for every packet, without a reaction to congestion.

It is built into the packet engine (``sim/engine/transport.py``), so ``react`` is None. Recovery is by a timer a flow,
selective or go-back-N. ``constant`` is the same window under the transport of the congestion controls.

Source: own, after the fixed windows of htsim's studies of load balancing.
"""

from __future__ import annotations

from sim.dispatch.api import PolicyParams

react = None


class Params(PolicyParams):
    pass
