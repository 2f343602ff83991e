"""What a run's flows are called by and measured against: the names of their paths, and their unloaded times."""

from __future__ import annotations

from collections.abc import Sequence

from models.ideal import Unloaded
from models.paths import Routes
from models.topology import Topology
from sim.dispatch.api import Flow, Piece

Path = tuple[int, ...]


class FlowPaths:
    """Two columns; row i is flow i. Flows on one path, which need no tables, are described when somebody asks."""

    def __init__(self, topology: Topology, unloaded: Unloaded) -> None:
        self._topology, self._unloaded = topology, unloaded
        names = topology.node_name
        self._from = [names[node] for node in topology.link_src.tolist()]  # parts of paths' names, by link
        self._to = [f">{names[node]}" for node in topology.link_dst.tolist()]
        self._ideal: list[int] = []
        self._path: list[str | None] = []
        self._lone: list[int] = []  # flows on one path that are not described yet
        self._sizes: list[int] = []
        self._ways: list[Path] = []
        self._caps: list[int | None] = []

    def extend(self, count: int) -> None:
        """So many more flows, which are not sent yet."""
        self._ideal += [-1] * count
        self._path += [None] * count

    def note(self, flow: Flow, pieces: Sequence[Piece], cap: int | None, routes: Routes) -> None:
        """The pieces that a flow is sent in, under the tables of this moment."""
        if len(pieces) == 1:
            path = pieces[0].path
            if path is None:
                self._path[flow.id] = f"spray:{routes.count(flow.src, flow.dst)}"
                self._ideal[flow.id] = self._unloaded.spread(routes, flow.src, flow.dst, flow.bytes)
                return
            self._lone.append(flow.id)
            self._sizes.append(flow.bytes)
            self._ways.append(path)
            self._caps.append(cap)
            return
        paths = [piece.path for piece in pieces if piece.path is not None]
        self._path[flow.id] = " ".join(self._name(path) for path in paths)
        nic = int(self._topology.host_rate[flow.src])
        # pieces share at most what the pair's equal-cost paths carry; each path alone is a lower bound of that
        rate = min(nic, max(routes.max_flow(flow.src, flow.dst), 1))
        self._ideal[flow.id] = self._unloaded.over_pieces([piece.bytes for piece in pieces], paths, rate)

    def _describe_lone(self) -> None:
        if not self._lone:
            return
        names: dict[Path, str] = {}
        ideals = self._unloaded.over_paths(self._sizes, self._ways, self._caps)
        for ident, path, ideal in zip(self._lone, self._ways, ideals, strict=True):
            self._ideal[ident] = ideal
            name = names.get(path)
            if name is None:
                name = names[path] = self._name(path)
            self._path[ident] = name
        self._lone, self._sizes, self._ways, self._caps = [], [], [], []

    def _name(self, path: Path) -> str:
        return self._from[path[0]] + "".join([self._to[link] for link in path])

    @property
    def path(self) -> list[str | None]:
        """Names of the nodes on the way, or of several ways; None of a flow that was not sent."""
        self._describe_lone()
        return self._path

    @property
    def ideal(self) -> list[int]:
        """ps with the fabric to itself, -1 of a flow that was not sent."""
        self._describe_lone()
        return self._ideal
