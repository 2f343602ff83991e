"""Which flows can pass a link: by the path they took, or, where they spread over all equal-cost paths, by hops."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_SOURCES = 256  # whose distances are held at once


class Ways:
    """The fabric as a table ``links`` shows it."""

    def __init__(self, links: pd.DataFrame) -> None:
        self.ends = dict(zip(links["link"], zip(links["src"], links["dst"], strict=True), strict=True))
        names = list(dict.fromkeys([*links["src"], *links["dst"]]))
        self._index = {name: number for number, name in enumerate(names)}
        self._src = links["src"].map(self._index).to_numpy(dtype=np.int64)
        self._dst = links["dst"].map(self._index).to_numpy(dtype=np.int64)

    def fixed(self, link: str, paths: Iterable[str]) -> list[bool]:
        """Whether each path (a cell of ``flows.path``) names both ends of the link in a row."""
        a, b = self.ends[link]
        step = f">{a}>{b}>"
        return [any(step in f">{path}>" for path in cell.split(" ")) for cell in paths]

    def spread(self, link: str, src: pd.Series, dst: pd.Series) -> NDArray[np.bool_]:
        """Whether the link is on a shortest path (by hops) of each pair of hosts."""
        if not len(src):
            return np.zeros(0, dtype=np.bool_)
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        count = len(self._index)
        graph = csr_array((np.ones(len(self._src)), (self._src, self._dst)), shape=(count, count))
        first, last = (self._index[node] for node in self.ends[link])
        after = dijkstra(graph, indices=last, unweighted=True)
        before = dijkstra(graph.T.tocsr(), indices=first, unweighted=True)
        starts, which = np.unique(src.map(self._index).to_numpy(dtype=np.int64), return_inverse=True)
        ends = dst.map(self._index).to_numpy(dtype=np.int64)
        whole = np.empty(len(ends))
        for begin in range(0, len(starts), _SOURCES):
            distances = dijkstra(graph, indices=starts[begin : begin + _SOURCES], unweighted=True)
            here = np.flatnonzero((which >= begin) & (which < begin + _SOURCES))
            whole[here] = distances[which[here] - begin, ends[here]]
        return np.asarray(before[starts[which]] + 1 + after[ends] == whole, dtype=np.bool_)
