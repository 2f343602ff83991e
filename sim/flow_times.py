"""Where the time of every finished flow went: the tables ``flow_times`` and ``hops``, in whole picoseconds.

Packets: along the one whose arrival completed the flow. Its engine noted when it was offered to each link; its
serialisation follows from its size and the link's rate, and what is left until it is offered to the next link, less
the delay, is its wait in the queue. What lies before it was sent is cut into the serialisation of the packets before
it, timeouts (not under a congestion control, where other news of a loss may come first), and the rest. Without packets:
the delay of the way, the bytes at the rate that the flow would have alone, and the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.explained import PARTS
from models.topology import Topology
from sim.flows import Flows
from sim.network.protocol import Drains, LastPackets
from sim.record import PS_PER_US, frame

_BYTE_PS = 8 * 10**12  # ps x bit/s a byte
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Transport:
    """What of the transport counts here."""

    wire_mtu: int  # bytes of a full packet
    timeout: int  # ps that whatever is sent again has waited for; 0: not known


def explain(
    flows: Flows, found: LastPackets | Drains, topology: Topology, transport: Transport
) -> dict[str, pd.DataFrame]:
    """The tables, by name, as far as they have rows. A flow in pieces is explained by the piece that came last."""
    row, flow = _last_streams(flows, found)
    if not len(row):
        return {}
    stream, delivered = found.stream[row], found.delivered[row]
    start, end = (_column(values)[flow] for values in ([one.start for one in flows.flow], flows.end))
    begun = _column(flows.stream_start)[stream]
    parts = {name: np.zeros(len(flow), dtype=np.int64) for name in PARTS}
    parts["hold_ps"], parts["ack_ps"] = begun - start, end - delivered
    tables = {}
    if isinstance(found, LastPackets):
        hops = hops_of(found, row, topology)
        parts |= _of_packets(found, row, hops, begun, topology, transport)
        bottleneck = hops.slowest()
        tables["hops"] = _hops_table(hops, flow, topology)
    else:
        left = delivered - begun - found.latency[row]
        # a flow that was moved has the ideal of its first way
        alone = np.clip(_column(flows.ideal)[flow] - found.latency[row], 0, left)
        parts |= {"propagation_ps": found.latency[row], "serialisation_ps": alone, "sharing_ps": left - alone}
        bottleneck = found.link[row]
    links = np.array([*topology.link_name, None], dtype=object)  # -1: none
    numbers = flow.tolist()
    columns: dict[str, Any] = {
        "id": flow,
        "job": [flows.job[number] for number in numbers],
        "released_by": _column(flows.released_by)[flow],
        "total_ps": end - start,
        **parts,
        "bottleneck": links[bottleneck],
    }
    return {"flow_times": frame("flow_times", columns)} | tables


def broken_parts(tables: dict[str, pd.DataFrame]) -> list[str]:
    """What must hold, and does not: a row for every finished flow, no part negative, all adding up to the total."""
    times = tables.get("flow_times")
    if times is None:
        return []
    parts = times[list(PARTS)].to_numpy()
    wrong = times["id"].to_numpy()[(parts.min(axis=1) < 0) | (parts.sum(axis=1) != times["total_ps"].to_numpy())]
    broken = []
    if len(wrong):
        broken.append(f"the parts of {len(wrong)} flows' times do not add up, such as of flow {wrong[0]}")
    finished = int((tables["flows"]["status"] == "finished").sum())
    if finished != len(times):
        broken.append(f"{finished} flows finished, but the times of {len(times)} are explained")
    hops = tables.get("hops")
    if hops is not None:
        begin = np.flatnonzero(hops["hop"].to_numpy() == 0)
        for name in ("queueing_ps", "serialisation_ps", "propagation_ps"):
            values = hops[name].to_numpy()
            if values.min() < 0 or np.any(np.add.reduceat(values, begin) != times[name].to_numpy()):
                broken.append(f"{name} of some flow is not what its links add up to")
    return broken


def _column(values: Any) -> Longs:
    return np.array(values, dtype=np.int64)


def _last_streams(flows: Flows, found: LastPackets | Drains) -> tuple[Longs, Longs]:
    """Rows of ``found`` that explain a finished flow, and its number, by flow: of its streams the last delivered one.

    Of several at one instant the one with the highest number.
    """
    finished = np.array([status == "finished" for status in flows.status], dtype=np.bool_)
    flow = _column(flows.stream_flow)[found.stream]
    order = np.lexsort((found.stream, found.delivered, flow))
    flow = flow[order]
    last = np.append(flow[1:] != flow[:-1], True)[: len(flow)]
    last &= finished[flow]
    return order[last], flow[last]


@dataclass(frozen=True)
class Hops:
    """Links of the ways of some packets, way after way. Times in ps."""

    begin: Longs  # [packets] where each way begins
    count: Longs  # [packets] links
    link: Longs  # [sum of count], as the rest
    offered: Longs
    queueing: Longs
    serialisation: Longs
    propagation: Longs

    def total(self, values: Longs) -> Longs:
        """[packets] sums over each way."""
        sums: Longs = np.add.reduceat(values, self.begin)
        return sums

    def slowest(self) -> Longs:
        """[packets] the link with the longest wait, the first of several; -1 where there was none."""
        longest = np.maximum.reduceat(self.queueing, self.begin)
        at = np.flatnonzero(self.queueing == np.repeat(longest, self.count))
        way = np.repeat(np.arange(len(self.begin)), self.count)[at]
        first = at[np.append(True, way[1:] != way[:-1])]
        return np.where(longest > 0, self.link[first], -1)


def _serialisation(size: Longs, rate: Longs) -> Longs:
    return np.maximum(-(-size * _BYTE_PS // rate), 1)


def hops_of(found: LastPackets, row: Longs, topology: Topology) -> Hops:
    """The links of the ways in some rows of ``found``, and what each took."""
    count = found.hops[row]
    begin = np.cumsum(count) - count
    source = np.repeat((np.cumsum(found.hops) - found.hops)[row] - begin, count) + np.arange(count.sum())
    link, offered = found.link[source].astype(np.int64), found.offered[source]
    serialisation = _serialisation(np.repeat(found.size[row], count), topology.link_rate[link])
    propagation = topology.link_delay[link].astype(np.int64)
    onward = np.append(offered[1:], 0)  # when it came to the next link, or arrived
    onward[begin + count - 1] = found.delivered[row]
    return Hops(begin, count, link, offered, onward - propagation - serialisation - offered, serialisation, propagation)


def _of_packets(
    found: LastPackets, row: Longs, hops: Hops, begun: Longs, topology: Topology, transport: Transport
) -> dict[str, Longs]:
    """The parts between the start of the streams and their completion."""
    left = hops.offered[hops.begin] - begun  # until the packet was sent
    rate = topology.link_rate[hops.link[hops.begin]]
    one = _serialisation(np.full(len(row), transport.wire_mtu), rate)
    sending = _times(found.sequence[row], one, left)
    left = left - sending
    recovery = np.zeros_like(left)
    if transport.timeout:
        recovery = _times(found.transmission[row], np.full(len(row), transport.timeout), left)
    return {
        "sending_ps": sending,
        "recovery_ps": recovery,
        "source_ps": left - recovery,
        "queueing_ps": hops.total(hops.queueing),
        "serialisation_ps": hops.total(hops.serialisation),
        "propagation_ps": hops.total(hops.propagation),
    }


def _times(count: Longs, length: Longs, most: Longs) -> Longs:
    """``count`` x ``length``, at most ``most``; without an overflow on the way."""
    return np.where(count > most // length, most, count * np.minimum(length, most))


def _hops_table(hops: Hops, flow: Longs, topology: Topology) -> pd.DataFrame:
    return frame(
        "hops",
        {
            "flow": np.repeat(flow, hops.count),
            "hop": np.arange(len(hops.link)) - np.repeat(hops.begin, hops.count),
            "link": np.array(topology.link_name, dtype=object)[hops.link],
            "arrived_us": hops.offered / PS_PER_US,
            "queueing_ps": hops.queueing,
            "serialisation_ps": hops.serialisation,
            "propagation_ps": hops.propagation,
        },
    )
