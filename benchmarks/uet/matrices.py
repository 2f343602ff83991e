"""Who sends to whom in the suite, as htsim's connection matrices.

``permutation`` and ``incast`` are patterns of the scenario file. The rest is written here: ``one`` flow between pods,
``pair``: one each way; ``overlapped``: 2 MB and, 40 us later, twice 250 kB to the same host, all from other pods;
``outcast_incast``: three hosts send to host 0, and two of them to nine others each; ``apart``: a random permutation
in which every flow leaves its pod (no flow of the suite's 16-node runs is faster than one that does).
"""

from __future__ import annotations

import numpy as np

from models.builders.fat_tree import hosts_of

PATTERNS = ("permutation", "incast")
Flow = tuple[int, int, int, int]  # source, destination, start in ps, bytes


def flows(matrix: str, nodes: int, size: int, seed: int) -> list[Flow]:
    """The flows of a matrix that is no pattern of the scenario file."""
    if matrix == "one":
        return [(0, 13, 0, size)]
    if matrix == "pair":
        return [(0, 13, 0, size), (13, 0, 0, size)]
    if matrix == "overlapped":
        return [(127, 0, 0, size), (95, 0, 40_000_000, size // 8), (61, 0, 40_000_000, size // 8)]
    if matrix == "outcast_incast":
        two = [(src, dst, 0, size) for src, first in ((2, 4), (3, 13)) for dst in (0, *range(first, first + 9))]
        return [(1, 0, 0, size), *two]
    if matrix == "apart":
        return [(src, dst, 0, size) for src, dst in enumerate(_apart(nodes, seed))]
    raise ValueError(f"no matrix '{matrix}'")


def text(matrix: str, nodes: int, size: int, seed: int) -> str:
    """As a ``.cm`` file."""
    rows = flows(matrix, nodes, size, seed)
    lines = [f"{src}->{dst} id {number} start {start} size {bytes_}"
             for number, (src, dst, start, bytes_) in enumerate(rows, 1)]  # fmt: skip
    return "\n".join([f"Nodes {nodes}", f"Connections {len(rows)}", *lines]) + "\n"


def _apart(nodes: int, seed: int) -> list[int]:
    """By rejection: the pods of a k-ary fat-tree have k^2/4 hosts."""
    k = next(k for k in range(2, 100, 2) if hosts_of(k, 3) == nodes)
    pod = np.arange(nodes) // (k * k // 4)
    rng = np.random.default_rng(seed)
    while True:
        partner = rng.permutation(nodes)
        if (pod[partner] != pod).all():
            return [int(host) for host in partner]
