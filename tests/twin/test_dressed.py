"""The compiled packet engine against its specification: scheduled ports, congestion controls, loss, changing rates."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sim.clock
from sim.network.packet import PacketNetwork
from sim.network.reference import ReferenceNetwork
from tests.twin.dressed import make_dressed
from tests.twin.stories import tell
from tests.twin.test_twin import differences

STORIES = 200
INTERRUPTED = 30


@pytest.mark.parametrize("number", range(STORIES))
def test_the_engine_agrees_with_its_specification(number: int) -> None:
    """Without a trace, too: switch ports then decide later who goes next."""
    story = make_dressed(number)
    specified, compiled = tell(story, ReferenceNetwork), tell(story, PacketNetwork)
    assert specified.broken == []
    assert differences(specified, compiled) == []
    late = tell(story, PacketNetwork, traced=False)
    assert differences(replace(compiled, trace=[]), late) == []


@pytest.mark.parametrize("number", range(INTERRUPTED))
def test_interruptions_change_nothing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks of 1 ns to 1 us, and calls of few events."""
    story = make_dressed(number)
    until = min(story.stop, 3_000_000)
    whole = tell(story, PacketNetwork, until=until, traced=False)
    monkeypatch.setattr(sim.clock, "BUDGET", 1 + 7 * number % 100)
    for tick in (None, 1_000 + 13 * number, 1_000_000):
        assert differences(whole, tell(story, PacketNetwork, tick, until, traced=False)) == []


def test_stories_are_not_dull() -> None:
    """What the twins must agree in does happen, in the stories of every kind of port."""
    counters: dict[tuple[str, str], int] = {}
    happened = dict.fromkeys(("marked", "trimmed", "paused_ps"), 0)
    held = retransmitted = 0
    for number in range(0, STORIES, 3):
        outcome = tell(make_dressed(number), PacketNetwork, traced=False)
        for what, times in outcome.counters.items():
            counters[what] = counters.get(what, 0) + times
        for name in happened:
            happened[name] += sum(value > 0 for value in outcome.totals[name])
        held += sum(done.held > 0 for done in outcome.done)
        retransmitted += sum(done.retransmitted > 0 for done in outcome.done)
    assert counters.keys() >= {
        *(("packets lost", why) for why in ("buffer full", "link down", "no way on", "random loss")),
        ("packets lost", "header queue full"),
        *(("packets discarded", why) for why in ("duplicate", "out of order (go-back-N)", "beyond the reorder buffer")),
        ("packets", "sent back"),
        ("pauses", "sent"),
        ("control packets", "NACK"),
        ("timers", "retransmission timeout"),
    }
    assert min(counters.values()) > 20
    assert min(*happened.values(), held, retransmitted) > 20
