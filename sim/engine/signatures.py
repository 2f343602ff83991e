"""The signatures that packet policies and congestion controls are compiled with, and the calls by their addresses.

A policy passed to a kernel as a function would recompile the kernel in every process; called by address there is one
compiled kernel for all policies, and it stays in the disk cache.
"""

from __future__ import annotations

from typing import Any

from numba import types

from models.jit import intrinsic, njit

_LONGS = types.int64[::1]
_FLOATS = types.float64[::1]

# pick(state, queues, n, now, node, source, destination, edge, flow, packet, key) -> index below n
#   state        the policy's memory, as its state() made it; may be written
#   queues       bytes queued at each of the n candidate links (filled only if the policy says uses_queues). Of a policy
#                with uses_loads, two more blocks of n: their loads in 1/1024 of the rate (DOWN where the link is
#                down), and their link numbers
#   n            number of candidate links, at least 2, in order of link index
#   now          ps
#   node         where the packet is; source, destination: hosts; edge: the destination's edge switch (node indices)
#   flow, packet the stream's id and the packet's number in it
#   key          63-bit random number, a hash of (seed, flow, packet, transmission, hop)
PICK = types.int64(_LONGS, _LONGS, *[types.int64] * 9)

# learn(state, now, edge, far, link, metric, key): the source's edge switch hears what a packet met on its way
#   edge, far    the edge switches of source and destination (node indices)
#   link         the link by which the packet left `edge`
#   metric       the largest load (1/1024 of the rate) or queue (1/1024 of the buffer) of the switch links on its way
LEARN = types.void(_LONGS, *[types.int64] * 6)

# tick(state, loads, now): every period of the policy; loads of all links, in 1/1024 of the rate
TICK = types.void(_LONGS, _LONGS, types.int64)

# spread(own, now, flow, packet, window, key) -> the packet's entropy, from 0, which switches hash with the flow
#   own          the flow's own memory, a copy of what memory() made; may be written
#   packet       its number in the stream, or the highest one sent if it is sent again
#   window       packets that the flow may have in flight
SPREAD = types.int64(_LONGS, *[types.int64] * 5)

# hear(own, now, kind, entropy, key): what became of a packet of this entropy (-1: not known); kinds in words.py
HEAR = types.void(_LONGS, *[types.int64] * 4)

# react(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, next, key)
#   own          float64: the flow's own memory, a copy of what memory() made; the control writes own[WINDOW], own[RATE]
#                and own[TIMER]; places and events are named in sim/engine/words.py
#   path, hops   telemetry of the ACK's packet, if the control says uses_telemetry: for each of the hops QUEUE, SENT,
#                TIME, SPEED of the link when it left there; hops 0 otherwise
#   event        ON_ACK, ON_NACK (a packet was cut or a gap seen), ON_TIMEOUT, ON_TIMER (own[TIMER] has come),
#                ON_SENT (only of a control that says uses_sent: acked has the packet's bytes)
#   now, rtt     ps; rtt of the ACK's packet, -1 where it can't be told (it was sent more than once)
#   marked       1: the packet that the ACK is for was marked
#   acked, lost  bytes on the wire that were newly received, or found lost
#   in_flight    bytes on the wire, after that
#   sequence     the packet that the event is about; next: the number of the next new packet
REACT = types.void(_FLOATS, _FLOATS, *[types.int64] * 11)


def compiled(signature: Any, function: Any) -> Any:
    """The dispatcher of a policy's plain function. The policy's file holds what it decorates."""
    return njit(signature)(function)


def address_of(dispatcher: Any, signature: Any) -> int:
    """Where the compiled policy is. Keep the dispatcher: it owns the code."""
    found = dispatcher.get_compile_result(signature)
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address


def _call(signature: Any) -> tuple[Any, Any]:
    """Numba signature and code of a call by address; errors raised in there go on."""

    def codegen(context: Any, builder: Any, _: Any, values: Any) -> Any:
        from numba.core import cgutils

        pointer, *rest = values
        kind = context.call_conv.get_function_type(signature.return_type, signature.args)
        function = builder.inttoptr(pointer, kind.as_pointer())
        status, result = context.call_conv.call_function(builder, function, signature.return_type, signature.args, rest)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value() if signature.return_type == types.void else result

    return signature.return_type(types.int64, *signature.args), codegen


# an intrinsic takes no *arguments


@intrinsic
def call_pick(  # type: ignore[no-untyped-def]
    typing_context, address, state, queues, n, now, node, source, destination, edge, flow, packet, key
):
    return _call(PICK)


@intrinsic
def call_learn(typing_context, address, state, now, edge, far, link, metric, key):  # type: ignore[no-untyped-def]
    return _call(LEARN)


@intrinsic
def call_tick(typing_context, address, state, loads, now):  # type: ignore[no-untyped-def]
    return _call(TICK)


@intrinsic
def call_spread(typing_context, address, own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    return _call(SPREAD)


@intrinsic
def call_hear(typing_context, address, own, now, kind, entropy, key):  # type: ignore[no-untyped-def]
    return _call(HEAR)


@intrinsic
def call_react(  # type: ignore[no-untyped-def]
    typing_context, address, own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    return _call(REACT)
