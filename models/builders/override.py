"""Rates and delays of single links replaced in a finished topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from models.topology import Topology


def with_links(topology: Topology, changes: Mapping[int, tuple[int | None, int | None]]) -> Topology:
    """A copy with {directed link: (bit/s or None, ps or None)}; None keeps what is there. ValueError if impossible."""
    rate = topology.link_rate.copy()
    delay = topology.link_delay.copy()
    for link, (new_rate, new_delay) in changes.items():
        if not 0 <= link < topology.links:
            raise ValueError(f"no link {link}; there are {topology.links}")
        if new_rate is not None:
            if new_rate <= 0:
                raise ValueError(f"the rate of {topology.link_name[link]} must be above 0")
            rate[link] = new_rate
        if new_delay is not None:
            if new_delay < 0:
                raise ValueError(f"the delay of {topology.link_name[link]} is negative")
            delay[link] = new_delay
    return replace(topology, link_rate=rate, link_delay=delay)
