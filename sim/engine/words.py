"""The numbers that policies and engines agree on: places in a congestion control's memory, kinds of events.

They are apart from the signatures so that whoever only names them need not import Numba.
"""

from __future__ import annotations

# of a congestion control's own memory; its own words begin at FREE
WINDOW = 0  # bytes on the wire that may be in flight
RATE = 1  # bit/s at which packets leave, 0: not paced
TIMER = 2  # ps at which it wants to be called, 0: not
FREE = 3

# of a hop in a packet's telemetry, as it left there
QUEUE = 0  # bytes waiting behind it
SENT = 1  # bytes that the link had sent, it included
TIME = 2  # ps
SPEED = 3  # bit/s
HOP_WORDS = 4

# what a congestion control is called for
ON_ACK = 0
ON_NACK = 1  # a packet was cut on the way, or a gap in the ACKs says that it is lost
ON_TIMEOUT = 2
ON_TIMER = 3
ON_SENT = 4  # only of a control that says uses_sent

DOWN = 1 << 30  # the load of a link that is down

# what became of a packet with an entropy
GOOD = 0  # an ACK without a mark
MARKED = 1
CUT = 2
LOST = 3  # a timeout; the entropy is not known
