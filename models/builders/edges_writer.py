"""A topology as the CSV of its cables, which ``edges.py`` reads again."""

from __future__ import annotations

from models.topology import Topology
from models.units import show


def written(topology: Topology) -> str:
    """``src,dst,rate,delay[,name]``, a row a cable. ValueError where its two directions differ: a row has one rate."""
    plain = [f"{a}-{b}" for a, b in _ends(topology)]
    names = [label if label != ends else "" for label, ends in zip(topology.cable_name, plain, strict=True)]
    # cables that are parallel are numbered, and # is no part of a name: they go by a name of their own
    names = [name.replace("#", "_") for name in names]
    head = ["src", "dst", "rate", "delay"] + ["name"] * any(names)
    lines = [",".join(head)]
    for cable, (a, b) in enumerate(_ends(topology)):
        rate, back = topology.link_rate[2 * cable : 2 * cable + 2].tolist()
        delay, delay_back = topology.link_delay[2 * cable : 2 * cable + 2].tolist()
        if (rate, delay) != (back, delay_back):
            raise ValueError(f"the directions of {topology.cable_name[cable]} differ; a row of edges has one rate")
        lines.append(",".join([a, b, show(rate, "rate"), show(delay, "time"), *([names[cable]] if any(names) else [])]))
    return "\n".join(lines) + "\n"


def _ends(topology: Topology) -> list[tuple[str, str]]:
    name = topology.node_name
    ends = zip(topology.link_src[::2].tolist(), topology.link_dst[::2].tolist(), strict=True)
    return [(name[a], name[b]) for a, b in ends]
