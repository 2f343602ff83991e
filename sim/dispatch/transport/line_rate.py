"""Packets leave as fast as the NIC sends; there are no ACKs, and nothing is sent again.

It is built into the packet engine (``sim/engine/transport.py``), so ``react`` is None. A flow that loses a packet is
not completed: for fabrics that lose nothing, and for the comparison with fluid shares.

Source: own; the ideal of a rate that needs no control.
"""

from __future__ import annotations

from sim.dispatch.api import PolicyParams

react = None


class Params(PolicyParams):
    pass
