"""Links that wait for each other: the deadlock that priority flow control can come to."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray


def waits_of(ports: NDArray[Any], following: NDArray[np.int32], came: NDArray[np.int32]) -> dict[int, set[int]]:
    """What `cycle` asks for, of the packet engine: [links]; [packets] the next in its queue, the link it came by."""
    paused: list[int] = np.flatnonzero(ports["paused"]).tolist()
    waits: dict[int, set[int]] = {link: set() for link in paused}
    for link in paused:
        index = int(ports["data_head"][link])
        while index >= 0:
            if int(came[index]) in waits:
                waits[int(came[index])].add(link)
            index = int(following[index])
    return waits


def cycle(waits: Mapping[int, AbstractSet[int]]) -> list[int]:
    """Links of a cycle, beginning with the lowest; [] if there is none.

    ``waits`` of each paused link: the paused links at which packets that came over it wait. A cycle of these never
    ends by itself.
    """
    done: set[int] = set()
    for first in sorted(waits):
        way, branches = [first], [iter(sorted(waits[first]))]
        while way:
            link = next((link for link in branches[-1] if link not in done), None)
            if link is None:
                done.add(way.pop())
                branches.pop()
            elif link in way:
                found = way[way.index(link) :]
                lowest = found.index(min(found))
                return found[lowest:] + found[:lowest]
            else:
                way.append(link)
                branches.append(iter(sorted(waits[link])))
    return []
