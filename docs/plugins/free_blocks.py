"""The replica with the most free KV blocks; a request waits at the router until its prompt fits somewhere.

Source: own, after the KV-aware queues of Patel et al., "Splitwise", ISCA 2024 (kv_jsq of its simulator).
"""

from sim.dispatch.api import HOLD, RouterParams

LEVEL = "request"


class Params(RouterParams):  # counted, telemetry, routers, ties, hold, reject, ... come with it
    pass


class Policy:
    def __init__(self, params, view):
        self.view = view  # read-only arrays by replica: requests, waiting, running, tokens, decode_blocks, ...

    def choose(self, request, replicas, rng):
        """One of ``replicas``, HOLD or REJECT."""
        view = self.view
        free = view.kv_blocks - view.decode_blocks
        room = replicas[free[replicas] * view.block_tokens[replicas] >= request.prompt]
        return view.pick(-free, room, rng) if len(room) else HOLD
