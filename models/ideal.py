"""Unloaded times: how long a flow takes with the fabric to itself. Exact for one path, a lower bound for several.

The denominator of every slowdown, and a guard: no flow may end before it. (The fair-share ideal is no such guard: a
schedule may legally beat it.)
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain

import numpy as np

from models.paths import Routes
from models.topology import Topology
from models.units import PS_PER_SECOND, serialisation_ps

Path = tuple[int, ...]


def pipeline_ps(size: int, mtu: int, header: int, hops: Sequence[tuple[int, int]], cap: int | None = None) -> int:
    """ps until the last of ``size`` payload bytes, in packets of ``mtu``, has come over ``hops`` of (rate, delay).

    With a ``cap`` in bit/s a packet may be sent when the one before it would have left a link of that rate.
    Store and forward, first in, first out: a packet starts on a link when it has wholly arrived and the one before has
    left. All packets but the last are equal, so the last full one leaves link h at the sum of the packet times and
    delays up to h, plus (n - 1) times the longest packet time up to h.
    """
    count = -(-size // mtu)
    last = size - (count - 1) * mtu + header
    full = mtu + header
    through = 0  # when a lone full packet would have left this link
    longest = 0 if cap is None else serialisation_ps(full, cap)
    free = 0  # when the last full packet has left this link
    arrived = (count - 1) * longest  # when the last packet has arrived before this link
    for rate, delay in hops:
        if count > 1:
            packet = serialisation_ps(full, rate)
            through += packet
            longest = max(longest, packet)
            free = through + (count - 2) * longest
            through += delay
        arrived = max(arrived, free) + serialisation_ps(last, rate) + delay
    return arrived


class Unloaded:
    """Unloaded times of flows over given paths.

    ``ack`` bytes: the time of the last ACK at the sender is added (packet engines whose transport has ACKs).
    ``efficiency``: fluid engines, where links carry payload at that share of their rate.
    """

    def __init__(
        self, topology: Topology, mtu: int, header: int, *, ack: int | None = None, efficiency: float | None = None
    ) -> None:
        self._topology, self._mtu, self._header = topology, mtu, header
        self._ack, self._efficiency = ack, efficiency
        stretch = 1 / Fraction(efficiency or 1.0)
        self._work, self._grain = 8 * PS_PER_SECOND * stretch.numerator, stretch.denominator
        self._rate: list[int] = topology.link_rate.tolist()
        self._delay: list[int] = topology.link_delay.tolist()
        # links that are alike, both ways: a path's classes are all that counts
        alike: dict[tuple[int, ...], int] = {}
        both = zip(self._rate, self._delay, [link ^ 1 for link in range(topology.links)], strict=True)
        self._class = [
            alike.setdefault((rate, delay, self._rate[back], self._delay[back]), link)
            for link, (rate, delay, back) in enumerate(both)
        ]  # [links] the first link of each class
        self._known: dict[tuple[object, ...], int] = {}
        self._spreads: dict[tuple[int, ...], int] = {}
        self._routes: Routes | None = None  # that the spreads were computed under

    def _profile(self, path: Path) -> tuple[tuple[int, int], ...]:
        return tuple((self._rate[link], self._delay[link]) for link in path)

    def _back(self, path: Path) -> int:
        """ps of an ACK on the reverse path."""
        if self._ack is None:
            return 0
        return sum(serialisation_ps(self._ack, self._rate[link ^ 1]) + self._delay[link ^ 1] for link in path)

    def over_paths(self, sizes: Sequence[int], paths: Sequence[Path], caps: Sequence[int | None]) -> list[int]:
        """Pieces that each have one path, and bit/s that they may take of it at most (None: all)."""
        if self._efficiency is None:
            return list(map(self._over_path, sizes, paths, caps))
        count = np.fromiter(map(len, paths), dtype=np.int64, count=len(paths))
        link = np.fromiter(chain.from_iterable(paths), dtype=np.int64, count=int(count.sum()))
        begin = np.cumsum(count) - count
        delays = np.add.reduceat(self._topology.link_delay[link], begin).tolist()
        rates = np.minimum.reduceat(self._topology.link_rate[link], begin).tolist()
        drains: dict[tuple[int, int], int] = {}
        unloaded = []
        for size, link_rate, delay, cap in zip(sizes, rates, delays, caps, strict=True):
            rate = link_rate if cap is None else min(link_rate, cap)
            drain = drains.get((size, rate))
            if drain is None:
                drain = drains[size, rate] = self._drain(size, rate)
            unloaded.append(delay + drain)
        return unloaded

    def _over_path(self, size: int, path: Path, cap: int | None) -> int:
        classes = self._class
        key = (size, cap, *[classes[link] for link in path])
        known = self._known.get(key)
        if known is None:
            known = pipeline_ps(size, self._mtu, self._header, self._profile(path), cap) + self._back(path)
            self._known[key] = known
        return known

    def _drain(self, size: int, rate: int) -> int:
        """ps of ``size`` payload bytes in fluid, rounded up."""
        return -(-size * self._work // (rate * self._grain))

    def over_pieces(self, sizes: Sequence[int], paths: Sequence[Path], rate: int) -> int:
        """Pieces of one flow on paths of their own, which carry up to ``rate`` bit/s together."""
        classes = self._class
        homes, ends = len({path[0] for path in paths}), len({path[-1] for path in paths})
        key = (-rate, homes, ends, tuple(sizes), frozenset([tuple([classes[link] for link in path]) for path in paths]))
        known = self._known.get(key)
        if known is None:
            back = min(self._back(path) for path in paths)
            profiles = {self._profile(path) for path in paths}
            known = self._known[key] = self._bound(sizes, profiles, rate, homes, ends) + back
        return known

    def _bound(
        self, sizes: Sequence[int], profiles: set[tuple[tuple[int, int], ...]], rate: int, homes: int, ends: int
    ) -> int:
        """The largest of what can't be beaten, over ``homes`` first and ``ends`` last links.

        The source's links send every packet, and then the last one, and the last full one, still have the rest of their
        way to go; the receiver's links take every packet, but not before one has come; and the paths carry ``rate``.
        """
        delay = min(sum(delay for _, delay in profile) for profile in profiles)
        if self._efficiency is not None:
            return delay + self._drain(sum(sizes), rate)
        full = self._mtu + self._header
        lasts = [(size - 1) % self._mtu + 1 + self._header for size in sizes]
        fulls = sum((size - 1) // self._mtu for size in sizes)
        nic, end = (max(profile[hop][0] for profile in profiles) for hop in (0, -1))

        def way(size: int, stop: int | None) -> int:
            """ps that a packet takes on the links behind the first, up to ``stop``, on the fastest path."""
            return min(sum(serialisation_ps(size, hop[0]) for hop in profile[1:stop]) for profile in profiles)

        def all_over(rate: int) -> int:
            return fulls * serialisation_ps(full, rate) + sum(serialisation_ps(last, rate) for last in lasts)

        bounds = [all_over(nic) // homes + way(min(lasts), None)]
        bounds.append((fulls * full + sum(lasts)) * 8 * PS_PER_SECOND // rate)
        sent = fulls * serialisation_ps(full, nic) // homes
        if fulls:
            bounds.append(sent + way(full, None))
        if min(map(len, profiles)) > 1:
            soonest = serialisation_ps(min(lasts), nic) + way(min(lasts), -1)
            if fulls and len(sizes) == 1:  # the short packet is sent after all full ones, but may overtake them
                soonest = min(serialisation_ps(full, nic) + way(full, -1), sent + soonest)
            bounds.append(soonest + all_over(end) // ends)
        return delay + max(bounds)

    def spread(self, routes: Routes, src: int, dst: int, size: int) -> int:
        """A flow over all equal-cost paths of its pair: of the links at each hop, the best counts."""
        if routes is not self._routes:
            self._routes = routes
            self._spreads.clear()
        key: tuple[int, ...] = (size, *routes.pair_class(src, dst))
        first, last = routes.first_link[src], routes.last_link[dst]
        if first >= 0 and last >= 0:
            key += (self._class[first], self._class[last])
        known = self._spreads.get(key)
        if known is None:
            known = self._spreads[key] = self._spread(routes, src, dst, size)
        return known

    def _spread(self, routes: Routes, src: int, dst: int, size: int) -> int:
        links, _ = routes.share(src, dst)
        row = routes.rows(int(routes.group_of_host[dst]))[0]
        place = np.maximum(self._topology.link_src[links] - routes.first_forwarding, 0)
        level = -row[place].astype(int)
        level[self._topology.link_dst[links] == dst] = 1
        level[self._topology.link_src[links] == src] = -(10**6)  # the first hop, which is in no row
        hops: list[tuple[int, int]] = []
        back = 0
        for depth in sorted(set(level.tolist())):
            here = links[level == depth].tolist()
            hops.append((max(self._rate[link] for link in here), min(self._delay[link] for link in here)))
            if self._ack is not None:
                back += min(serialisation_ps(self._ack, self._rate[link ^ 1]) + self._delay[link ^ 1] for link in here)
        rate = routes.max_flow(src, dst)
        homes = int((self._topology.link_src[links] == src).sum())
        ends = int((self._topology.link_dst[links] == dst).sum())
        return self._bound([size], {tuple(hops)}, rate, homes, ends) + back
