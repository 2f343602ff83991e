"""The network as a map, its links coloured by the share of their capacity that is reserved.

A cable is two lines, one a direction, on the right of the way it goes. Nodes are where their file says, else where
springs put them; those too close to each other are moved apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from analysis.admission.booked import booked
from analysis.load import Results
from analysis.plots.labels import place_labels
from analysis.plots.style import TEXT, elide, sheet
from analysis.report.fabric import draw as lay_out

_MOST = 6  # maps side by side
_LABELS = {1: 60, 2: 24, 3: 14}  # by maps in a row: nodes up to which all are named; beyond, ends of the busiest links
_NEAR = 0.055  # nodes closer than this share of the map are moved apart
_COLOURS = "viridis_r"  # pale: empty, dark: full; readable without colour vision and in grey
_UNUSED = "#D0D0D0"
_MARGIN = 0.07  # around the nodes, for their names
_TALL = 0.68  # height of a map over its width, at most


@dataclass(frozen=True)
class Loaded:
    """A network: the two ends of each link, its reserved share of the capacity, places of nodes by name."""

    ends: Sequence[tuple[str, str]]
    share: Sequence[float]
    tiers: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(node for pair in self.ends for node in pair))


def of_runs(runs: Mapping[str, Results]) -> Figure | None:
    """A map a run that reserved something, of the means over the run."""
    found = {}
    for name, run in runs.items():
        if run.rows("reservations"):
            table = booked(run)
            ends = list(zip(table["src"], table["dst"], strict=True))
            places = run.manifest.get("fabric", {}).get("places", {})
            found[name] = Loaded(ends, table["mean_share"].tolist(), run.tier_of, places)
    return draw(found, "Reserved bandwidth, mean over the run") if found else None


def of_plan(known: Mapping[str, Any], label: str) -> Figure:
    """The map of a plan.json: its switches, or where there are none, its hosts."""
    hosts = set(known["hosts"])
    inner = [link for link in known["links"] if hosts.isdisjoint((link["src"], link["dst"]))]
    links = inner or known["links"]
    share = [one["reserved_mbps"] / one["capacity_mbps"] if one["capacity_mbps"] else 0.0 for one in links]
    network = Loaded([(one["src"], one["dst"]) for one in links], share, places=known.get("places", {}))
    return draw({label: network}, f"Reserved bandwidth: {label}, {known['status']}")


def draw(networks: Mapping[str, Loaded], title: str) -> Figure:
    """One map, or several side by side with one scale."""
    shown = dict(list(networks.items())[:_MOST])
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 3
    rows = -(-len(shown) // columns)
    width = {1: 7.4, 2: 4.6, 3: 4.0}[columns]
    at = {name: _places(network) for name, network in shown.items()}
    flat = max(place[:, 1].max() for place in at.values())
    cell = (width, width * max(flat, 0.4))
    if len(networks) > _MOST:
        title += f" (first {_MOST} of {len(networks)} variants)"
    drawn = sheet(rows, columns, cell, title, left=0.25, bottom=0.2, right=1.1, gap=(0.2, 0.35), headed=columns > 1)
    scale = ScalarMappable(Normalize(0, 1), _COLOURS)
    for place in range(rows * columns):
        ax = drawn.axes[place // columns, place % columns]
        ax.set_axis_off()
        if place < len(shown):
            name, network = list(shown.items())[place]
            _draw_one(ax, network, at[name], scale, cell, _LABELS[columns])
            if columns > 1:
                ax.set_title(elide(name, 40), fontsize=9, loc="left")
    width, height = drawn.figure.get_size_inches()
    bar = drawn.figure.colorbar(
        scale, cax=drawn.figure.add_axes((1 - 0.95 / width, 0.35 / height, 0.14 / width, 1 - 1.0 / height))
    )
    bar.set_label("reserved share of the capacity (grey: nothing)", fontsize=8.5)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    bar.ax.tick_params(labelsize=8.5)
    return drawn.figure


def _draw_one(
    ax: Axes, network: Loaded, at: NDArray[np.float64], scale: ScalarMappable, cell: tuple[float, float], most: int
) -> None:
    names = network.names
    index = {name: number for number, name in enumerate(names)}
    centre = at[:, 1].max() / 2
    half = cell[1] / cell[0] / 2
    ax.set_xlim(-_MARGIN, 1 + _MARGIN)
    ax.set_ylim(centre - half - _MARGIN * 2 * half, centre + half + _MARGIN * 2 * half)
    share = np.asarray(network.share, dtype=float)
    lines = _lines([(index[a], index[b]) for a, b in network.ends], at, 0.06 / cell[0])
    order = np.argsort(share, kind="stable")
    colours = [scale.to_rgba(share[link]) if share[link] > 0 else _UNUSED for link in order]
    thin = 1.0 if len(names) <= _LABELS[2] else 0.75
    widths = [thin * (1.0 if share[link] == 0 else 1.3 + 2.2 * min(share[link], 1.0)) for link in order]
    ax.add_collection(LineCollection(lines[order], colors=colours, linewidths=widths, capstyle="butt", zorder=1))
    dots = 16 if len(names) <= _LABELS[1] else 6
    ax.scatter(at[:, 0], at[:, 1], s=dots, color="white", edgecolors=TEXT, linewidths=0.9, zorder=3)
    named = range(len(names)) if len(names) <= most else _ends_of_busiest(network, index, most)
    place_labels(ax, at, {number: elide(names[number], 18) for number in named}, lines, 7.5, cell)


def _ends_of_busiest(network: Loaded, index: Mapping[str, int], most: int) -> list[int]:
    order = np.argsort(-np.asarray(network.share), kind="stable")
    return list(dict.fromkeys(index[node] for link in order for node in network.ends[link]))[: max(most // 2, 12)]


def _lines(ends: Sequence[tuple[int, int]], at: NDArray[np.float64], apart: float) -> NDArray[np.float64]:
    """[links, 2, 2] each link's line: beside the other direction, parallel ones further out."""
    seen: dict[tuple[int, int], int] = defaultdict(int)
    lines = np.zeros((len(ends), 2, 2))
    for link, (a, b) in enumerate(ends):
        along = at[b] - at[a]
        length = float(np.hypot(*along)) or 1.0
        right = np.array([along[1], -along[0]]) / length
        shift = right * apart * (0.5 + seen[a, b])
        seen[a, b] += 1
        lines[link] = at[a] + shift, at[b] + shift
    return lines


def _places(network: Loaded) -> NDArray[np.float64]:
    """[nodes, 2] x in 0..1, y from 0 to at most 0.68."""
    names = network.names
    if len(network.places) and sum(name in network.places for name in names) * 2 >= len(names):
        at = _on_map(names, network)  # one scale for both axes: a map keeps its shape
        low, span = at.min(axis=0), np.ptp(at, axis=0)
        factor = min(1 / max(span[0], 1e-9), _TALL / max(span[1], 1e-9))
        at = (at - low) * factor
        at[:, 0] += (1 - span[0] * factor) / 2
    else:
        drawing = lay_out(network.ends, network.tiers, list(network.share))
        place = dict(zip(drawing.labels, drawing.places, strict=True))
        at = np.array([place.get(name, (0.5, 0.5)) for name in names])
        low, span = at.min(axis=0), np.ptp(at, axis=0)
        span[span == 0] = 1.0
        at = (at - low) / span * np.array([1.0, _TALL])
    at = _apart(at)
    return at - np.array([0.0, at[:, 1].min()])


def _on_map(names: Sequence[str], network: Loaded) -> NDArray[np.float64]:
    """Longitudes shrunk as at the middle latitude; a node without a place is put amid its neighbours."""
    known = {name: np.array(network.places[name], dtype=float) for name in names if name in network.places}
    latitudes = [place[1] for place in known.values()]
    middle = (max(latitudes) + min(latitudes)) / 2
    shrink = np.array([np.cos(np.radians(middle)) if abs(middle) < 85 else 1.0, 1.0])
    near: dict[str, list[str]] = defaultdict(list)
    for a, b in network.ends:
        near[a].append(b)
    centre = np.mean(list(known.values()), axis=0)
    for name in names:
        if name not in known:
            there = [known[other] for other in near[name] if other in known]
            known[name] = np.mean(there, axis=0) if there else centre
    return np.array([known[name] * shrink for name in names])


def _apart(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nodes that lie on each other pushed apart, little by little; the same for the same places."""
    at = at.copy()
    least = min(_NEAR, 0.6 / np.sqrt(len(at)))
    turn = np.arange(len(at)) * 2.399963  # the golden angle: nodes in one spot go different ways
    away = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for _ in range(60):
        gap = at[:, None] - at[None]
        distance = np.hypot(gap[..., 0], gap[..., 1])
        np.fill_diagonal(distance, np.inf)
        close = distance < least
        if not close.any():
            break
        push = np.where(distance[..., None] > 1e-9, gap / np.maximum(distance, 1e-9)[..., None], away[:, None])
        at += 0.5 * (np.where(close, least - distance, 0.0)[..., None] * push).sum(axis=1)
    return at
