"""Completion of collectives by packets against the fluid engine."""

from __future__ import annotations

from tests.validation import agreement
from validations._row import Found, Row

TITLE = "Packets against fluid"
KIND = "another way to compute it"
SOURCE = "the fluid engine at rate x payload / (payload + header)"
ABOUT = """\
Completion of a collective over 16 hosts (4 leaves, 4 spines), unlimited buffers. `window` is two BDP. Band: 2 % for
spray and ethereal; ecmp is reported. All2All is `direct`, the others are all_gather. **Why there are misses**:
halving-doubling under spraying with the `window` transport takes 3 % longer in packets: its ACKs share the links with
data (64 of every 4160 B, 1.5 %, which no fluid rate counts), and each exchange ends with the last of many random
queues.
"""


def run(quick: bool) -> Found:
    rows = []
    for algorithm in ("direct", "ring", "halving_doubling"):
        for policy in ("spray", "ethereal", "ecmp"):
            for transport in ("line_rate", "window"):
                for message in (4_000_000,) if quick else (4_000_000, 16_000_000):
                    found = agreement.compare(algorithm, policy, transport, message)
                    case = f"{policy}, {transport}, {message / 1e6:g} MB a message"
                    band = None if policy == "ecmp" else 0.02
                    rows.append(Row(case, algorithm, found.fluid / 1e6, found.packets / 1e6, "us", band))
    return Found(rows)
