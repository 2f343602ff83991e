"""What admitted demands put on the links, by packets against the fluid engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim import load
from sim.build import World, build
from sim.progress import Progress
from sim.run import broken_laws, run_world
from sim.tables import tables_of
from validations._row import Found, Row

TITLE = "Admitted demands by packets and in fluid"
KIND = "another way to compute it"
SOURCE = "the fluid engine"
ABOUT = """\
Demands of 1 to 8 Gbps between 8 hosts (4 leaves, 2 spines, 40 Gbps), Poisson at load 0.6, holds of 2 ms in the mean.
A demand is a capped flow in the fluid engine and a paced source of packets in the other: bandwidths count with headers.
Admission is the same in both. Compared are the links' utilisation, mean and busiest, and the share of bandwidth x time
that arrived. Fluid has no ACKs, so 64 of 4160 B of a link's utilisation are added to that of the other direction: what
admission does not reserve either. Band: 0.5 %.
"""
ENGINES = ("fluid", "packet")
ACK_SHARE = 64 / 4160
BAND = 0.005


def run(quick: bool) -> Found:
    worlds = {engine: _run(engine, 60 if quick else 400) for engine in ENGINES}
    tables = {engine: tables_of(world) for engine, world in worlds.items()}
    fluid, packet = (tables[engine]["demands"] for engine in ENGINES)
    case = f"{len(fluid):,} demands"
    same = float((fluid["path"].fillna("") == packet["path"].fillna("")).mean())
    rows = [Row(case, "demands with the same answer and path", 1.0, same, band=0.0)]
    flowing, sent = (tables[engine]["links"]["utilisation"].to_numpy() for engine in ENGINES)
    back = np.arange(len(flowing)) ^ 1  # the other direction of each cable
    flowing = flowing + ACK_SHARE * flowing[back]
    rows.append(Row(case, "mean utilisation of the links", float(flowing.mean()), float(sent.mean()), "", BAND))
    rows.append(Row(case, "utilisation of the busiest link", float(flowing.max()), float(sent.max()), "", BAND))
    got = [float(np.nanmean(table["carried"])) for table in (fluid, packet)]
    rows.append(Row(case, "carried share of what was admitted", *got, "", BAND))
    return Found(rows)


def _run(engine: str, count: int) -> World:
    cable = {"rate": "40Gbps", "delay": "500ns"}
    work: dict[str, Any] = {
        "kind": "demands",
        "arrivals": {"kind": "poisson", "load": 0.6},
        "hold": {"kind": "exponential", "mean": "2ms"},
        "bandwidth": {"kind": "uniform", "low": "1Gbps", "high": "8Gbps"},
        "count": count,
    }
    scenario = {
        "name": "admitted_traffic",
        "engine": engine,
        "fabric": {
            "topology": {"kind": "leaf_spine", "leaves": 4, "spines": 2, "hosts_per_leaf": 2, "host_link": cable,
                         "fabric_link": cable},
            "switch": {"buffer": "unlimited"},
        },
        "workload": [work],
    }  # fmt: skip
    world = build(load(scenario).runs[0])
    status, reasons = run_world(world, Progress(world, True, ""))
    broken = broken_laws(world)
    if status != "completed" or broken:
        raise RuntimeError(f"{engine}: {status}: {'; '.join([*reasons, *broken])}")
    return world
