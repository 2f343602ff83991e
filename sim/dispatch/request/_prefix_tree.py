"""What a router believes to be in its replicas' prefix caches: the prompts that it sent there, least recent ones out.

A block's hash stands for the whole prefix up to it, so a table of hashes is the tree. A replica's blocks are kept in
the order of their last use, leaves before their roots, so the first one is always the least recently used leaf. What
of a prompt has no hash matches nothing, but takes room: one leaf.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import Incoming

_Node = int | tuple[int]  # a block's hash, or the number of the request whose last leaf it is


class PrefixTree:
    """The trees of one copy of a router, one for each replica. ``sizes`` [replicas]: tokens in them."""

    def __init__(self, replicas: int, most: int, hash_tokens: int) -> None:
        """``most``: tokens that a replica's tree holds; ``hash_tokens``: of a block."""
        self._most = most
        self._hash_tokens = hash_tokens
        self._nodes: list[OrderedDict[_Node, int]] = [OrderedDict() for _ in range(replicas)]  # -> tokens
        self._owners: dict[int, int] = {}  # block -> bits of the replicas that have it
        self._latest: dict[int, int] = {}  # block -> the replica that had it last
        self._sizes = array("q", bytes(8 * replicas))
        self.sizes: NDArray[np.int64] = np.frombuffer(self._sizes, dtype=np.int64)
        self._asked = (b"", 0)  # candidates of the last question, and their bits

    def longest(self, request: Incoming, candidates: NDArray[np.int64]) -> tuple[int, int]:
        """The most tokens of a prompt that a candidate has, and which; (0, -1) if none has any.

        Of several the one that used them last, else the first.
        """
        mask = self._bits(candidates)
        found, owners, node = 0, 0, -1
        for block in self.blocks(request).tolist():
            here = self._owners.get(block, 0) & mask
            if not here:
                break
            found, owners, node = found + 1, here, block
        if not found:
            return 0, -1
        latest = self._latest[node]
        owner = latest if owners >> latest & 1 else (owners & -owners).bit_length() - 1
        return found * self._hash_tokens, owner

    def matches(self, request: Incoming, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """[candidates] tokens of a prompt, from its first on, that each has."""
        result = np.zeros(len(candidates), dtype=np.int64)
        owners = self._bits(candidates)
        depth = 0
        for block in self.blocks(request).tolist():
            here = self._owners.get(block, 0) & owners
            if here != owners:
                if depth:
                    result[_places(owners & ~here, candidates)] = depth
                owners = here
                if not owners:
                    return result
            depth += self._hash_tokens
        if depth:
            result[_places(owners, candidates)] = depth
        return result

    def insert(self, request: Incoming, replica: int) -> None:
        """A prompt goes to a replica; what does not fit into its tree goes out."""
        nodes, owners, latest, bit = self._nodes[replica], self._owners, self._latest, 1 << replica
        blocks = self.blocks(request).tolist()
        rest = request.prompt - self._hash_tokens * len(blocks)
        size = self._sizes[replica]
        if rest:
            size += rest - nodes.pop((request.id,), 0)
            nodes[(request.id,)] = rest
        for block in reversed(blocks):
            if block in nodes:
                nodes.move_to_end(block)
            else:
                nodes[block] = self._hash_tokens
                size += self._hash_tokens
                owners[block] = owners.get(block, 0) | bit
            latest[block] = replica
        while size > self._most:
            node, tokens = nodes.popitem(last=False)
            size -= tokens
            if isinstance(node, int):
                owners[node] &= ~bit
                if not owners[node]:
                    del owners[node], latest[node]
        self._sizes[replica] = size

    def blocks(self, request: Incoming) -> NDArray[np.int64]:
        """The hashes of the prompt's full blocks; a session's hashes go on with the output."""
        return request.hashes[: request.prompt // self._hash_tokens]

    def _bits(self, candidates: NDArray[np.int64]) -> int:
        written = candidates.tobytes()
        if written != self._asked[0]:
            self._asked = written, sum(1 << candidate for candidate in candidates.tolist())
        return self._asked[1]


def _places(bits: int, candidates: NDArray[np.int64]) -> list[int]:
    """Where the replicas of some bits are among the candidates."""
    return [place for place, candidate in enumerate(candidates.tolist()) if bits >> candidate & 1]
