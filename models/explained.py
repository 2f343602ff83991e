"""The tables that explain a run: where each flow's time went, hop by hop; what GPUs and links did when.

Times that must add up exactly are int64 picoseconds; the others are microseconds, as everywhere.
"""

from __future__ import annotations

from models.columns import Column, Table, count, key, text


def _ps(name: str, meaning: str, *, statistics: bool = True) -> Column:
    return Column(name, "int", "ps", meaning, statistics=statistics)


# the parts of a flow's time, in the order in which they are told; they add up to total_ps
PARTS = (
    "hold_ps",
    "sending_ps",
    "source_ps",
    "recovery_ps",
    "serialisation_ps",
    "propagation_ps",
    "queueing_ps",
    "sharing_ps",
    "reordering_ps",
    "ack_ps",
)

_FLOW_TIMES = Table(
    "flow_times",
    "a finished flow, and where its time went; the parts add up to total_ps exactly. In packet engines along the "
    "packet whose arrival completed the flow (of a flow in pieces: the piece that came last)",
    (
        key("id", "Number of the flow, as in `flows`."),
        text("job", "What it was sent for: `collective:3`, `moe:0.5.dispatch` (step, layer), `workload.0`."),
        Column(
            "released_by",
            "int",
            "",
            "The flow whose arrival let this one start; null where nothing that the network carried did.",
            null=True,
            statistics=False,
        ),
        _ps("total_ps", "Flow completion time: from the start to the last ACK (no ACKs: to the last byte's arrival)."),
        _ps(
            "hold_ps",
            "From the start until the network had it: the path policy's batch timer and jitter, or a gate.",
        ),
        _ps("sending_ps", "Serialisation at the source of the flow's packets that went before."),
        _ps("source_ps", "Waiting at the source: for other flows at the NIC, for the window to open, for its pace."),
        _ps(
            "recovery_ps",
            "Waiting for retransmission timers before the completing packet was sent. 0 under a congestion "
            "control, which may hear of a loss before: there it is in source_ps.",
        ),
        _ps(
            "serialisation_ps",
            "Serialisation of the completing packet on every link of its way; in fluid: the bytes at the rate that "
            "the flow would have alone, its cap included.",
        ),
        _ps("propagation_ps", "Propagation over the links of its way."),
        _ps("queueing_ps", "Waiting in the queues of its way, hop by hop in `hops`."),
        _ps("sharing_ps", "Fluid: what sharing links with other flows has cost, and links that were down."),
        _ps(
            "reordering_ps",
            "Waiting at the receiver for earlier packets: 0, since what completes a flow is the last missing one.",
        ),
        _ps("ack_ps", "From the last byte's arrival until the sender had the last ACK."),
        text(
            "bottleneck",
            "The link that cost most: with the longest wait in its queue, in fluid the one that held the flow's rate "
            "down at the cost of most time; null where no link did.",
            null=True,
        ),
    ),
    "no flow finished",
)

_HOPS = Table(
    "hops",
    "one link on the way of the packet that completed a flow",
    (
        key("flow", "Number of the flow."),
        key("hop", "0 is the source's own link."),
        text("link", "Name of the link."),
        Column("arrived_us", "float", "us", "When the packet came to the link's queue.", statistics=False),
        _ps("queueing_ps", "Waiting for the packets before it.", statistics=False),
        _ps("serialisation_ps", "Its own bits onto the wire.", statistics=False),
        _ps("propagation_ps", "The link's delay.", statistics=False),
    ),
    "no flow finished, or the engine has no packets",
)

_KERNELS = Table(
    "kernels",
    "a kernel on a GPU's compute stream",
    (
        key("gpu", "Rank of the GPU."),
        text("kernel", "What it computed: attention, dense, gate, send, shared, experts, receive; or compute."),
        text("job", "Whom it served: `moe:0.5` (step, layer); `workload.0`, between two of its collectives."),
        Column("start_us", "float", "us", "When it began to run.", statistics=False),
        Column("duration_us", "float", "us", "How long it ran.", statistics=False),
    ),
    "no workload computes on GPUs",
)

_LINK_SERIES = Table(
    "link_series",
    "one link at one sample time, the last at the end of the run; at most about 300,000 rows, so that samples of large "
    "fabrics are further apart",
    (
        Column("time_us", "float", "us", "When the sample was taken.", statistics=False),
        text("link", "Name of the link."),
        Column(
            "utilisation",
            "float",
            "",
            "Use since the sample before; times the rate and that time: its bytes.",
            statistics=False,
        ),
        count("queue_bytes", "Queue at that time.", "B", statistics=False),
    ),
    "the engine has no links, or the fabric has more than 15,000",
)

EXPLAINED = (_FLOW_TIMES, _HOPS, _KERNELS, _LINK_SERIES)
