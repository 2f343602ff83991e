"""Random small networks for the twin tests."""

from __future__ import annotations

import random

from models.builders import fat_tree, gpu_cluster, leaf_spine, rail, star, torus
from models.topology import Topology, TopologyBuilder

GBPS = 10**9
Cable = tuple[int, int]  # rate, delay


def _cable(rng: random.Random) -> Cable:
    return rng.choice([100, 100, 100, 50, 25, 7, 400]) * GBPS, rng.choice([80_000, 80_000, 1, 500_000, 33_333])


def make_topology(rng: random.Random) -> Topology:
    kinds = ["star", "leaf_spine", "leaf_spine", "fat_tree", "torus", "graph", "graph", "dual", "rails", "mesh"]
    kind = rng.choice([*kinds, "cluster", "cluster", "cluster"])
    host, fabric = _cable(rng), _cable(rng)
    if rng.random() < 0.3:
        fabric = host  # many events of one instant
    if kind == "star":
        return star.build(rng.randint(2, 5), host)
    if kind == "leaf_spine":
        return leaf_spine.build(rng.randint(2, 3), rng.randint(1, 3), rng.randint(1, 3), host, fabric)
    if kind == "fat_tree":
        return fat_tree.build(host, (host[0], fabric[1]), k=4, tiers=rng.choice([2, 3]))
    if kind == "torus":
        return torus.build(rng.choice([[3], [4], [2, 2], [2, 3], [3, 3]]), host, fabric)
    if kind == "cluster":
        return _cluster(rng, host, fabric)
    return _graph(rng, kind)


def _cluster(rng: random.Random, host: Cable, fabric: Cable) -> Topology:
    """Hosts with links of their own to each other or to switches, and NICs of their own or shared ones."""
    nodes, gpus = rng.choice([(1, 3), (2, 2), (2, 2), (2, 3), (3, 2)])
    nics = rng.choice([1, 2, 1 / gpus])
    rate = rng.choice([300, 700]) * GBPS
    scale_up = rng.choice(
        [gpu_cluster.ScaleUp("mesh", rate, fabric[1]), gpu_cluster.ScaleUp("nvswitch", rate, 7, rng.randint(1, 2))]
    )
    pcie = rng.choice([host, _cable(rng)])
    if rng.random() < 0.4:
        spines = rng.randint(0, 2) if gpus * nics < 2 else rng.randint(1, 2)
        return rail.build(nodes, gpus, nics, scale_up, pcie, host, fabric, spines=spines)
    between = rng.choice(
        [
            leaf_spine.build(nodes, rng.randint(1, 3), round(gpus * nics), host, fabric),
            star.build(round(nodes * gpus * nics), host),
        ]
    )
    return gpu_cluster.build(between, nodes, gpus, nics, scale_up, pcie)


def _graph(rng: random.Random, kind: str) -> Topology:
    """A connected multigraph: switches and hosts, some with several links; or hosts alone ("mesh")."""
    builder = TopologyBuilder(kind)
    hosts = rng.randint(2, 5)
    nodes = rng.randint(2, 4)
    for host in range(hosts):
        builder.add_node(f"host{host}", host=True, tier=-1)
    names = [f"host{host}" for host in range(hosts)]
    alike = _cable(rng) if kind == "rails" or rng.random() < 0.4 else None

    def join(a: str, b: str) -> None:
        rate, delay = alike or _cable(rng)
        builder.add_cable(a, b, rate, delay, back=_cable(rng) if alike is None and rng.random() < 0.2 else None)

    if kind != "mesh":
        names = [f"switch{number}" for number in range(nodes)]
        for name in names:
            builder.add_node(name, host=False, tier=-1)
        for host in range(hosts):
            for _ in range({"dual": rng.randint(1, 3), "rails": 3}.get(kind, 1)):
                join(f"host{host}", rng.choice(names))
    for number in range(1, len(names)):
        join(names[number], names[rng.randrange(number)])
    for _ in range(rng.randint(0, 4)):
        a, b = rng.sample(names, 2)
        join(a, b)
    return builder.freeze()
