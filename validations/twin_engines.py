"""The compiled packet engine against the reference engine, packet by packet."""

from __future__ import annotations

from sim.network.packet import PacketNetwork
from sim.network.reference import ReferenceNetwork
from tests.twin.stories import make, tell
from tests.twin.test_twin import STORIES, differences
from validations._row import Found, Row

TITLE = "The compiled engine against its specification"
KIND = "another way to compute it"
SOURCE = "the reference engine: the same packets as plain SimPy processes"
ABOUT = """\
Random scenarios (topologies, transports, buffers, policies, faults, losses), told by both engines: every packet on
every link, every counter and every time must be the same, to the picosecond.
"""


def run(quick: bool) -> Found:
    rows = []
    blocks = range(0, STORIES, 50)
    for first in blocks[:1] if quick else blocks:
        seeds = range(first, first + 50)
        wrong = sum(bool(differences(tell(make(s), ReferenceNetwork), tell(make(s), PacketNetwork))) for s in seeds)
        rows.append(Row(f"scenarios {first} to {first + 49}", "scenarios that differ", 0, wrong, side="at most"))
    return Found(rows)


def draw(found: Found) -> None:
    """No picture: nothing differs."""
