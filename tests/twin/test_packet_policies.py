"""Packet policies that hosts or feedback have a part in: the engine and its specification ask and tell them alike."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from sim.network.packet import PacketNetwork
from sim.network.reference import ReferenceNetwork
from tests.twin.stories import make, tell
from tests.twin.test_twin import differences

HOSTS = ("oblivious", "reps", "reps_v1", "bitmap", "mixed", "plb")
SWITCHES = ("adaptive", "switch_round_robin", "letflow", "conga", "hula", "stochastic_automaton")
STORIES = 16  # of each policy
# stories last microseconds
SHORT = {
    "letflow": {"gap": "500ns"},
    "conga": {"gap": "500ns", "period": "300ns", "age": "5us"},
    "hula": {"gap": "500ns", "probes": "1us"},
    "stochastic_automaton": {"gap": "0ns"},
}


@pytest.mark.parametrize("name", HOSTS + SWITCHES)
def test_both_engines_agree(name: str) -> None:
    module = importlib.import_module(f"sim.dispatch.packet.{name}")
    moved = 0
    for seed in range(STORIES):
        story = replace(make(seed), policy=(module, SHORT.get(name, {})))
        specified, compiled = tell(story, ReferenceNetwork), tell(story, PacketNetwork)
        assert specified.broken == []
        assert differences(specified, compiled) == []
        moved += specified.trace != tell(replace(story, policy=None), PacketNetwork).trace
    assert moved >= 2
