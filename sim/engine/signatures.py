"""The signature that packet policies are compiled with, and the call of one by its address.

A policy passed to a kernel as a function would recompile the kernel in every process; called by address there is one
compiled kernel for all policies, and it stays in the disk cache.
"""

from __future__ import annotations

from typing import Any

from numba import types

from models.jit import intrinsic, njit

_LONGS = types.int64[::1]

# pick(state, queues, n, now, node, source, destination, edge, flow, packet, key) -> index below n
#   state        the policy's memory, as its state() made it; may be written
#   queues       bytes queued at each of the n candidate links (filled only if the policy says uses_queues)
#   n            number of candidate links, at least 2, in order of link index
#   now          ps
#   node         where the packet is; source, destination: hosts; edge: the destination's edge switch (node indices)
#   flow, packet the stream's id and the packet's number in it
#   key          63-bit random number, a hash of (seed, flow, packet, transmission, hop)
PICK = types.int64(_LONGS, _LONGS, *[types.int64] * 9)


def compile_pick(function: Any) -> Any:
    """The dispatcher of a policy's plain function, compiled with PICK. The policy's file holds what it decorates."""
    return njit(PICK)(function)


def address_of(dispatcher: Any) -> int:
    """Where the compiled policy is. Keep the dispatcher: it owns the code."""
    compiled = dispatcher.get_compile_result(PICK)
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


@intrinsic
def call_pick(  # type: ignore[no-untyped-def]
    typing_context, address, state, queues, n, now, node, source, destination, edge, flow, packet, key
):
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from numba.core import cgutils

        pointer, *rest = values
        kind = context.call_conv.get_function_type(PICK.return_type, PICK.args)
        function = builder.inttoptr(pointer, kind.as_pointer())
        status, result = context.call_conv.call_function(builder, function, PICK.return_type, PICK.args, rest)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return result

    return PICK.return_type(types.int64, *PICK.args), codegen
