"""The memory of the packet engine: record types, and intrinsics that reach a record by base address and index.

The kernel's functions get one pointer, the world's record; everything else is found through the addresses in it. An
array argument costs seven words a call, and there are twenty arrays: this way a call passes three or four registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types

from models.jit import intrinsic

INLINE = 4  # hops whose links are kept in the packet itself

WORLD = np.dtype(
    [
        # addresses
        *[(name, "i8") for name in ("links", "rare", "nics", "flows", "packets", "timers", "paths", "marks", "trail")],
        ("heap", "i8"),
        *[(name, "i8") for name in ("table", "table_port", "table_weight", "last_start", "last_link")],
        *[(name, "i8") for name in ("queues", "policy_state", "trace", "tells", "done", "distances")],
        # a flow's memory of its own at its host; (bytes x 1024, period) of each link; loads of all links for `tick`
        *[(name, "i8") for name in ("spreads", "loads", "load_view")],
        ("offers", "i8"),  # [packets x 2^offer_bits] ps; 0: not kept
        ("records", "i8"),  # of the packets that completed their streams (sim/engine/offers.py)
        *[(name, "i8") for name in ("holds", "senders", "owns", "notes", "telemetry", "came", "grants", "shares")],
        ("before", "i8"),  # [packets] of one that waits in a queue of data, the one before it; only where data is cut
        # sizes and settings
        *[(name, "i8") for name in ("link_count", "nic_count", "groups", "hops", "policy_words", "distance_bins")],
        ("offer_bits", "i8"),
        ("arrivals", "i8"),  # ids of events from here on are arrivals; below them are ends of serialisation
        # ports (sim/engine/queues.py, pause.py)
        *[(name, "i8") for name in ("scheduled", "eager", "split", "trim", "control_room", "bounce", "late_marks")],
        *[(name, "i8") for name in ("shared", "losses", "rates_changed")],  # the last two: whether there were any
        *[(name, "i8") for name in ("pause", "pause_limit", "pause_resume")],
        *[(name, "f8") for name in ("alpha", "pause_alpha")],
        # transport under a congestion control (sim/engine/sender.py, receiver.py, credit.py)
        *[(name, "i8") for name in ("controlled", "react", "own_words", "telemetry_bits", "uses_sent", "ack_every")],
        *[(name, "i8") for name in ("reorder", "reorder_buffer", "credit", "credit_packets")],
        ("credit_share", "f8"),
        # packet policies (sim/engine/balance.py)
        *[
            (name, "i8")
            for name in ("spread", "hear", "spread_words", "learn", "tick", "period", "stamps", "uses_loads")
        ],
        *[(name, "i8") for name in ("load_period", "load_keep", "tick_at", "live")],  # live: flows that have not ended
        *[(name, "i8") for name in ("mtu", "header", "ack", "rto", "acks", "go_back_n", "pick", "uses_queues", "key")],
        # state
        *[(name, "i8") for name in ("now", "timer_size", "timer_room", "frames", "free", "free_count", "events")],
        ("slowest_gap", "i8"),  # ps from packet to packet at the lowest pace of a congestion control so far
        *[(name, "i8") for name in ("heap_size", "hole", "base", "id_bits")],
        *[(name, "i8") for name in ("trace_size", "trace_room", "tell_count", "done_count", "record_count")],
        # totals
        *[
            (name, "i8")
            for name in ("data_sent", "data_arrived", "data_lost", "acks_sent", "acks_arrived", "acks_lost")
        ],
        *[(name, "i8") for name in ("delivered_bytes", "timeouts", "duplicates", "discarded")],
        *[(name, "i8") for name in ("lost_full", "lost_down", "lost_unreachable", "lost_random", "lost_header")],
        ("pauses", "i8"),
        *[(name, "i8") for name in ("trimmed", "bounced", "nacks", "grants_sent", "asked", "overtaken")],
    ]
)

# A directed link: a FIFO of packets from `head` (next to arrive) over `wire` (first not wholly sent) to `tail`.
# A packet's departure is known when it is accepted, so only arrivals are events. `last_ser` belongs to `last_size`.
LINK = np.dtype(
    [
        # first cache line: what every arrival and acceptance touches
        ("head", "i4"), ("tail", "i4"), ("wire", "i4"), ("dst", "i4"), ("queued", "i8"), ("busy_until", "i8"),
        ("delay", "i8"), ("last_ser", "i8"), ("last_size", "i4"),
        ("nic", "i4"),  # index, or -1 - the link's number for a switch port
        ("accepted", "i8"),  # wire bytes, less those lost when the link went down
        # second: acceptance only
        ("rate", "i8"), ("ack_ser", "i8"), ("buffer", "i8"), ("queue_max", "i8"), ("kmin", "i8"),
        ("accepted_packets", "i8"), ("up", "i4"), ("src", "i4"), ("dropped", "i8"),
    ]
)  # fmt: skip

# what of a link is rarely wanted; kept apart so that a link is two cache lines side by side
RARE = np.dtype(
    [
        ("kmax", "i8"), ("pmax", "f8"), ("marked", "i8"),
        ("sent_lost", "i8"),  # wire bytes that had left when the link went down, and never arrived
        ("trimmed", "i8"), ("loss", "f8"),  # share of packets lost at its far end
        ("old_rate", "i8"), ("old_until", "i8"),  # of the packet that was on the wire when the rate changed
        ("headroom", "i8"), ("paused_ps", "i8"),  # without a pause that lasts
    ]
)  # fmt: skip

# One cache line a link, where ports are scheduled (sim/engine/queues.py): what waits at a switch port. Its packets on
# the wire and in flight are the link's list. Of pauses (sim/engine/pause.py), two ends: the switch at the link's far
# end keeps the account of what came over it, `pausing` what it decided and `frames` how often; the sender is `paused`
# `since`, by frame `heard`.
PORT = np.dtype(
    [
        ("control_head", "i4"), ("control_tail", "i4"), ("data_head", "i4"), ("data_tail", "i4"),
        ("control_bytes", "i8"), ("data_bytes", "i8"),
        ("account", "i8"), ("since", "i8"), ("frames", "i4"), ("heard", "i4"),
        ("pausing", "i2"), ("paused", "i2"), ("lossless", "i4"),
    ]
)  # fmt: skip

# The sending side of a host's link: control packets first (ACKs, and others' traffic in switchless fabrics), then the
# ready flows, one packet each in turn.
NIC = np.dtype(
    [
        ("link", "i4"), ("armed", "i4"), ("control_head", "i4"), ("control_tail", "i4"), ("control_bytes", "i8"),
        ("ready_head", "i4"), ("ready_tail", "i4"), ("ready", "i8"),  # flows in the turn
    ]
)  # fmt: skip

# One cache line. `trail` holds the first links that a packet without a path took; the rest is in the world's.
PACKET = np.dtype(
    [
        ("end", "i8"),  # ps, of its serialisation on the link where it is
        ("next", "i4"), ("flow", "i4"), ("sequence", "i4"), ("size", "i4"),  # size on the wire
        ("path", "i4"), ("cumulative", "i4"), ("dst", "i4"), ("group", "i4"),
        ("hop", "i2"), ("kind", "i1"), ("marked", "i1"), ("transmission", "i4"),
        ("trail", "i4", (INLINE,)),
    ]
)  # fmt: skip

# Three cache lines, the first two what every packet touches.
FLOW = np.dtype(
    [
        ("id", "i8"), ("marks", "i8"), ("in_flight", "i8"), ("window", "i8"), ("deadline", "i8"),
        ("cap", "i8"), ("due", "i8"),  # a paced flow: bit/s, and ps before which it sends no more; else 0
        ("left", "i8"),  # payload bytes that have not arrived
        ("src", "i4"), ("dst", "i4"), ("nic", "i4"), ("packets", "i4"), ("last_bytes", "i4"),
        ("path", "i4"), ("length", "i4"), ("group", "i4"), ("edge", "i4"),
        ("next_new", "i4"), ("una", "i4"), ("resend", "i4"), ("resend_end", "i4"), ("sent_high", "i4"), ("epoch", "i4"),
        ("acked", "i4"), ("expected", "i4"), ("received", "i4"), ("highest", "i4"), ("in_network", "i4"),
        ("next_ready", "i4"), ("is_ready", "i1"), ("blocked", "i1"), ("timer", "i1"), ("paced", "i1"),
        ("over", "i1"),  # HALTED: nothing more is sent; 1: ended; 2: and none of its packets is left
        ("notify", "i1"), ("ask", "i1"), ("stopped", "i1"), ("retransmitted", "i4"), ("reordered", "i4"),
        ("lost", "i4"), ("first_link", "i4"), ("homes", "i4"), ("delivered", "i8"), ("end", "i8"),
    ]
)  # fmt: skip

# Both ends of a flow under a congestion control, beside its FLOW: a cache line each, and one of credit. What it knows
# of each packet: sim/engine/recovery.py.
SENDER = np.dtype(
    [
        # the sender: bit/s that the control wants (0: no pace), and bytes that it knows to have arrived
        ("rate", "i8"), ("known", "i8"),
        ("oldest", "i4"), ("newest", "i4"),  # outstanding packets in order of sending; -1: none
        ("waiting", "i4"), ("lowest", "i4"),  # packets to be sent again, and a number that none of them is below
        ("highest", "i4"), ("scanned", "i4"),  # highest acknowledged; below this one gaps have been looked for
        ("call", "i8"),  # ps of the control's own timer in the heap; 0: none
        ("since", "i8"),  # ps of the start, or of the last change of path
        ("rtt", "i8"),  # ps of the shortest round trip
        # the receiver: bytes on the wire so far and since the last ACK, packets beyond the next expected one
        ("total", "i8"), ("accepted", "i8"), ("gaps", "i4"), ("asked", "i2"), ("nacked", "i2"),
        ("waits", "i8"), ("held", "i8"),  # payload bytes that wait out of order, and at most
        # credit, bytes unless said; a quantum is 256
        ("credit", "i8"), ("most", "i8"), ("waiting_bytes", "i8"),
        ("granted", "i8"), ("target", "i8"), ("pulled", "i8"),  # quanta: heard of; asked for; granted by the receiver
        ("heard", "i8"), ("rts", "i8"),  # ps of the last control packet, and of the last RTS
        ("before", "i4"), ("after", "i4"),  # in its receiver's list
        ("listed", "i1"), ("speculating", "i1"), ("inside", "i2"), ("pulls", "i4"),
        ("group", "i4"),  # the table group of the source
        ("tries", "i4"),  # RTS since anything was heard
    ]
)  # fmt: skip

# Credit of one receiving host (and, apart, of its scale-up domain): flows that want more, and flows that have enough.
PACER = np.dtype(
    [
        ("active_first", "i4"), ("idle_first", "i4"), ("active_last", "i4"), ("idle_last", "i4"), ("armed", "i8"),
        ("quantum", "f8"),  # ps
    ]
)  # fmt: skip

NOTE = 4  # words beside a packet: DATA, RTS: pull target; ACK: total, base, bits, hops; NACK: total; PULL: granted

# Kinds of packets; odd ones go back, over the links that a data packet took. TRIMMED: data cut to the header. NACK: for
# one of these, or a gap. RTS: a sender that has no credit asks. BOUNCED: a header that found no room. PULL: credit.
DATA, ACK, TRIMMED, NACK, RTS, BOUNCED, PULL = 0, 1, 2, 3, 4, 5, 7
HALTED = -1
OUTSTANDING, ACKED, RECEIVED = 1, 2, 4  # marks of a flow's packets

# columns of the trace: one row a packet and link
TRACE = ("stream", "sequence", "transmission", "kind", "link", "offered", "start", "end", "marked")


def record_at(dtype: np.dtype[Any]) -> Any:
    """An intrinsic ``at(base, index)`` that gives the record of an array at address ``base``."""
    record = from_dtype(dtype)

    @intrinsic
    def at(typing_context: Any, base: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            offset = builder.mul(values[1], ir.Constant(ir.IntType(64), dtype.itemsize))
            return builder.inttoptr(builder.add(values[0], offset), context.get_value_type(record))

        return record(types.int64, types.int64), codegen

    return at


def _word(numba_type: Any, width: int) -> tuple[Any, Any]:
    @intrinsic
    def load(typing_context: Any, base: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            offset = builder.mul(values[1], ir.Constant(ir.IntType(64), width // 8))
            pointer = builder.inttoptr(builder.add(values[0], offset), ir.IntType(width).as_pointer())
            value = builder.load(pointer)
            return (
                value
                if width == 64
                else builder.sext(value, ir.IntType(64))
                if width > 8
                else builder.zext(value, ir.IntType(64))
            )

        return types.int64(types.int64, types.int64), codegen

    @intrinsic
    def store(typing_context: Any, base: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            offset = builder.mul(values[1], ir.Constant(ir.IntType(64), width // 8))
            pointer = builder.inttoptr(builder.add(values[0], offset), ir.IntType(width).as_pointer())
            builder.store(values[2] if width == 64 else builder.trunc(values[2], ir.IntType(width)), pointer)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return load, store


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Asks for a cache line that will be needed soon."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, kind, "llvm.prefetch.p0"
        )
        builder.call(function, [pointer, *(ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


world_at = record_at(WORLD)
link_at = record_at(LINK)
rare_at = record_at(RARE)
nic_at = record_at(NIC)
port_at = record_at(PORT)
flow_at = record_at(FLOW)
packet_at = record_at(PACKET)
sender_at = record_at(SENDER)
pacer_at = record_at(PACER)
load_long, store_long = _word(types.int64, 64)
load_int, store_int = _word(types.int32, 32)
load_byte, store_byte = _word(types.uint8, 8)

World = from_dtype(WORLD)  # Numba types for signatures
Link = from_dtype(LINK)
Port = from_dtype(PORT)
Flow = from_dtype(FLOW)
Packet = from_dtype(PACKET)
Sender = from_dtype(SENDER)


@intrinsic
def address_as_pointer(typing_context: Any, address: Any) -> Any:
    """int64 -> void pointer, for numba.carray."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


def block(dtype: np.dtype[Any] | str, count: int) -> np.ndarray[Any, Any]:
    """Zeroed records that begin on a pair of cache lines."""
    kind = np.dtype(dtype)
    raw = np.zeros(count * kind.itemsize + 128, dtype=np.uint8)
    skip = -raw.ctypes.data % 128
    return raw[skip : skip + count * kind.itemsize].view(kind)
