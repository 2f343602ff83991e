"""Who sends to whom: the pairs of arriving flows, and the patterns of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]


class Pairs(Protocol):
    def draw(self, rng: np.random.Generator, number: int) -> tuple[Array, Array]:
        """[number] sources and destinations, never the same host."""
        ...

    def row(self, src: int) -> NDArray[np.float64]:
        """[hosts] how likely each pair from ``src`` is; the rows of all sources sum to 1."""
        ...


def derangement(rng: np.random.Generator, number: int) -> Array:
    """A uniformly random permutation without fixed points, by rejection (2.7 tries on average)."""
    if number < 2:
        raise ValueError(f"a permutation without fixed points needs at least 2 hosts, not {number}")
    identity = np.arange(number)
    while True:
        drawn = rng.permutation(number)
        if not (drawn == identity).any():
            return drawn.astype(np.int64)


class Uniform:
    """Any two different hosts."""

    def __init__(self, hosts: int) -> None:
        if hosts < 2:
            raise ValueError(f"pairs need at least 2 hosts; the fabric has {hosts}")
        self._hosts = hosts

    def draw(self, rng: np.random.Generator, number: int) -> tuple[Array, Array]:
        src = rng.integers(0, self._hosts, number)
        dst = (src + rng.integers(1, self._hosts, number)) % self._hosts
        return src, dst

    def row(self, src: int) -> NDArray[np.float64]:
        row = np.full(self._hosts, 1.0 / (self._hosts * (self._hosts - 1)))
        row[src] = 0.0
        return row


class Permutation:
    """A random host sends to its one partner; the partners are drawn once, from ``rng``."""

    def __init__(self, hosts: int, rng: np.random.Generator) -> None:
        self._partner = derangement(rng, hosts)

    def draw(self, rng: np.random.Generator, number: int) -> tuple[Array, Array]:
        src = rng.integers(0, len(self._partner), number)
        return src, self._partner[src]

    def row(self, src: int) -> NDArray[np.float64]:
        row = np.zeros(len(self._partner))
        row[self._partner[src]] = 1.0 / len(row)
        return row


class RackSkewed:
    """A share ``local`` of the flows stays in the source's rack, the others leave it. ``rack`` [hosts]: any labels."""

    def __init__(self, rack: Sequence[int], local: float) -> None:
        labels = np.asarray(rack)
        if not 0.0 <= local <= 1.0:
            raise ValueError(f"the local share {local:g} is outside 0 .. 1")
        self._order: Array = np.argsort(labels, kind="stable").astype(np.int64)  # hosts, rack by rack
        _, group, members = np.unique(labels, return_inverse=True, return_counts=True)
        if local > 0.0 and members.min() < 2:
            raise ValueError("rack_skewed sends inside racks, but a rack has only one host")
        if local < 1.0 and len(members) < 2:
            raise ValueError("rack_skewed sends between racks, but there is only one")
        self._local = local
        self._members: Array = members[group].astype(np.int64)  # of a host's rack
        self._begin: Array = (np.cumsum(members) - members)[group].astype(np.int64)  # place of the rack's first host
        self._place: Array = np.argsort(self._order).astype(np.int64)

    def draw(self, rng: np.random.Generator, number: int) -> tuple[Array, Array]:
        hosts = len(self._order)
        src = rng.integers(0, hosts, number)
        inside = rng.random(number) < self._local
        step = rng.random(number)
        members, begin = self._members[src], self._begin[src]
        near = 1 + (step * (members - 1)).astype(np.int64)  # 1 .. members-1
        far = (step * (hosts - members)).astype(np.int64)  # 0 .. hosts-members-1, counted from behind the rack
        at_home = begin + (self._place[src] - begin + near) % members
        abroad = (begin + members + far) % hosts
        return src, self._order[np.where(inside, at_home, abroad)]

    def row(self, src: int) -> NDArray[np.float64]:
        hosts, members = len(self._order), int(self._members[src])
        near = self._begin == self._begin[src]
        row = np.where(near, self._local / max(members - 1, 1), (1.0 - self._local) / max(hosts - members, 1))
        row[src] = 0.0
        return row / hosts


class Gravity:
    """Pairs with a probability in proportion to the product of their ``masses`` [hosts]."""

    def __init__(self, masses: NDArray[np.float64]) -> None:
        if not (masses > 0).sum() >= 2:
            raise ValueError("gravity needs at least 2 hosts behind switches that are joined to others")
        self._mass = masses / masses.sum()
        self._until = np.cumsum(self._mass)
        # a source as likely as its mass times that of all others
        self._from = np.cumsum(self._mass * (1.0 - self._mass))

    def draw(self, rng: np.random.Generator, number: int) -> tuple[Array, Array]:
        src = np.searchsorted(self._from, rng.random(number) * self._from[-1], side="right").astype(np.int64)
        place = rng.random(number) * (1.0 - self._mass[src])
        place += np.where(place >= self._until[src] - self._mass[src], self._mass[src], 0.0)  # past the source itself
        dst = np.searchsorted(self._until, place, side="right").astype(np.int64)
        last = len(self._mass) - 1
        dst = np.minimum(dst, last)
        # rounding can only hit the source or a host without mass at the seam of two intervals
        wrong = (dst == src) | (self._mass[dst] == 0.0)
        if wrong.any():
            heaviest = np.argsort(-self._mass, kind="stable")[:2]
            dst = np.where(wrong, np.where(src == heaviest[0], heaviest[1], heaviest[0]), dst)
        return np.minimum(src, last), dst

    def row(self, src: int) -> NDArray[np.float64]:
        row = self._mass[src] * self._mass / self._from[-1]
        row[src] = 0.0
        return row


class Fixed:
    """One pair. ``hosts``: how many there are, where somebody asks for ``row``."""

    def __init__(self, src: int, dst: int, hosts: int | None = None) -> None:
        if src == dst:
            raise ValueError("a flow needs two different hosts")
        self._pair, self._hosts = (src, dst), hosts or max(src, dst) + 1

    def draw(self, rng: np.random.Generator, number: int) -> tuple[Array, Array]:
        return np.full(number, self._pair[0], dtype=np.int64), np.full(number, self._pair[1], dtype=np.int64)

    def row(self, src: int) -> NDArray[np.float64]:
        row = np.zeros(self._hosts)
        if src == self._pair[0]:
            row[self._pair[1]] = 1.0
        return row


def pattern(
    name: str,
    hosts: int,
    rng: np.random.Generator,
    *,
    by: int = 0,
    senders: int | None = None,
    receivers: int | None = None,
) -> list[tuple[int, int]]:
    """The (source, destination) pairs of a matrix, in order of source; ValueError where it can't be.

    permutation: a random derangement. tornado: i -> i + H div 2. shift: i -> i + ``by`` (mod H). incast: hosts
    1..``senders`` to host 0. outcast: host 0 to hosts 1..``receivers``. all_to_all: i to i+1, i+2, ... (mod H).
    """
    if hosts < 2:
        raise ValueError(f"the pattern {name} needs at least 2 hosts; the fabric has {hosts}")
    if name == "permutation":
        return list(enumerate(derangement(rng, hosts).tolist()))
    if name in ("tornado", "shift"):
        step = hosts // 2 if name == "tornado" else by
        if step % hosts == 0:
            raise ValueError(f"shift by {by} sends each of the {hosts} hosts to itself")
        return [(host, (host + step) % hosts) for host in range(hosts)]
    if name in ("incast", "outcast"):
        given = senders if name == "incast" else receivers
        others = hosts - 1 if given is None else given
        if not 1 <= others < hosts:
            word = "senders" if name == "incast" else "receivers"
            raise ValueError(f"{others} {word} and host 0 do not fit into {hosts} hosts")
        return [(other, 0) if name == "incast" else (0, other) for other in range(1, others + 1)]
    if name == "all_to_all":
        return [(src, (src + step) % hosts) for src in range(hosts) for step in range(1, hosts)]
    raise ValueError(f"unknown pattern '{name}'")
