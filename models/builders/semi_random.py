"""Semi-random networks: connected, of a given size and mean degree, near nodes joined more often than far ones.

The setting of "Priority Flow Admission and Routing in SDN: Exact and Heuristic Approaches" (Lopez et al., NCA 2020,
arXiv 2009.10822) is "semi-random topologies and flows" of up to 50 nodes; how they were drawn is not published. This is
our reconstruction: nodes at random in a square, a random spanning tree, then further cables until the mean degree is
reached, all chosen with Waxman's probability exp(-distance / (locality x longest distance)) (Waxman, JSAC 6(9), 1988).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.builders.wide_area import start
from models.topology import Topology

RATES = (10**9, 10**10, 4 * 10**10, 10**11)


def build(
    nodes: int,
    degree: float,
    seed: int,
    rates: Sequence[int] = RATES,
    delay: int = 5 * 10**9,
    locality: float = 0.2,
    hosts_per_node: int = 1,
    host_link: tuple[int, int] = (4 * 10**11, 500_000),
) -> Topology:
    """Switches ``node0``, ``node1``, ... with cables of equally likely ``rates`` (bit/s).

    ``delay`` (ps) is that of the square's side, 1000 km of fibre unless given. ``hosts_per_node`` 0: the bare graph.
    ValueError where no such network exists.
    """
    if nodes < 2:
        raise ValueError(f"nodes is {nodes}; at least 2 are due")
    cables = round(nodes * degree / 2)
    if not nodes - 1 <= cables <= nodes * (nodes - 1) // 2:
        least, most = 2 * (nodes - 1) / nodes, nodes - 1
        raise ValueError(f"degree is {degree:g}; {nodes} nodes are connected by a mean degree of {least:.4g} to {most}")
    if not rates:
        raise ValueError("rates is empty; at least one is due")
    for number, rate in enumerate(rates):
        if rate < 1:
            raise ValueError(f"rates.{number} is {rate}; it must be above 0")
    if locality <= 0:
        raise ValueError(f"locality is {locality:g}; it must be above 0")
    rng = np.random.default_rng([seed, 0])
    place = rng.random((nodes, 2))
    distance = np.sqrt(((place[:, None, :] - place[None, :, :]) ** 2).sum(axis=2))
    chance = np.exp(-distance / (locality * np.sqrt(2.0)))
    if not chance.all():
        raise ValueError(f"locality is {locality:g}; so small that far nodes have no chance at all")
    # a node at a time joins the tree, in random order
    order = rng.permutation(nodes)
    joined = np.zeros((nodes, nodes), dtype=np.bool_)
    ends = []
    for number in range(1, nodes):
        weight = chance[order[number], order[:number]]
        other = order[rng.choice(number, p=weight / weight.sum())]
        ends.append((int(min(order[number], other)), int(max(order[number], other))))
        joined[ends[-1]] = True
    one, other = np.nonzero(np.triu(~joined, 1))
    more = cables - len(ends)
    if more:
        weight = chance[one, other]
        chosen = rng.choice(len(one), size=more, replace=False, p=weight / weight.sum())
        ends += zip(one[chosen].tolist(), other[chosen].tolist(), strict=True)
    ends.sort()
    drawn = rng.choice(np.array(rates, dtype=np.int64), size=len(ends)).tolist()
    positions = [(f"node{number}", (float(x), float(y))) for number, (x, y) in enumerate(place)]
    builder = start("semi_random", positions, host_link, hosts_per_node)
    for (a, b), each in zip(ends, drawn, strict=True):
        builder.add_cable(f"node{a}", f"node{b}", each, max(1, round(float(distance[a, b]) * delay)))
    return builder.freeze({0: "host", 1: "node"})
