"""Of two random equal-cost paths, the one whose busiest link has less to carry.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001, applied to paths.
"""

from sim.dispatch.api import Piece, PolicyParams

LEVEL = "path"


class Params(PolicyParams):
    pass  # a parameter would be: k: int = Field(default=2, ge=1, description="Paths that are compared.")


class Policy:
    batch_timer = 0  # ps that a host gathers flows before it asks; 0: asks at once
    jitter = 0  # ps: each piece starts after a random delay up to this
    reroutes = True  # once tables know of a broken link, flows on it are assigned anew

    def __init__(self, params, view):
        self.view = view  # read-only: topology, routes, loads [links] in outstanding bytes

    def assign(self, flows, rng):
        """One list of pieces for each flow; here one piece, the whole flow."""
        return [[Piece(flow.bytes, self.choose(flow, rng))] for flow in flows]

    def choose(self, flow, rng):
        paths = self.view.routes.paths(flow.src, flow.dst)  # tuples of link numbers
        if not paths:
            return ()  # unreachable: the flow is rejected and counted
        first, second = rng.integers(len(paths), size=2)  # randomness only from the generator that is given
        return min(paths[first], paths[second], key=self.busiest)

    def busiest(self, path):
        """Bytes on the path's busiest link; the hosts' own links, which all paths share, tell nothing."""
        return max(self.view.load(link) for link in path[1:-1] or path)
