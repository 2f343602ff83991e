"""Links that wait for each other: the deadlock that priority flow control can come to."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet


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
