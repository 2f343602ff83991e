"""A network from a file of any kind that we read, by the end of its name; and the demands that it may hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.demands import Demands
from models.errors import InputError, Problem, nearest
from models.topology import Topology

HOST_LINK = (400 * 10**9, 500_000)  # bit/s, ps: of the host that readers of wide-area networks give each node
SUFFIXES = (".graphml", ".txt", ".xml", ".csv", ".topo")


class Open(NamedTuple):
    """What a file may leave open: bit/s and ps of GraphML links, and what a number of SNDlib counts."""

    rate: int = 10 * 10**9
    delay: int = 10**9
    unit: int = 10**6
    modules: int = 1


def read(path: Path, left_open: Open) -> Topology:
    """InputError: faults of the file, or a name that does not end in one of SUFFIXES."""
    readers: dict[str, Callable[[], Topology]] = {
        ".graphml": lambda: _graphml(path, left_open),
        ".txt": lambda: _sndlib(path, left_open),
        ".xml": lambda: _sndlib(path, left_open),
        ".csv": lambda: _edges(path),
        ".topo": lambda: _htsim(path),
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        message = f"no network is read from '{path.suffix or path.name}'{nearest(suffix, [*SUFFIXES, '.yaml'])}"
        raise InputError([Problem(str(path), 0, 0, message)])
    return readers[suffix]()


def is_sndlib(path: Path) -> bool:
    """Whether a file is read as SNDlib's, which may hold demands."""
    return path.suffix.lower() in (".txt", ".xml")


def own_demands(path: Path, topology: Topology, left_open: Open) -> Demands:
    """The demands of an SNDlib file."""
    from models.builders import sndlib

    return sndlib.demands(path, topology, left_open.unit)


def _graphml(path: Path, left_open: Open) -> Topology:
    from models.builders import graphml

    return graphml.build(path, HOST_LINK, left_open.rate, left_open.delay)


def _sndlib(path: Path, left_open: Open) -> Topology:
    from models.builders import sndlib

    return sndlib.build(path, HOST_LINK, left_open.unit, left_open.modules, left_open.delay)


def _edges(path: Path) -> Topology:
    from models.builders import edges

    return edges.build(path)


def _htsim(path: Path) -> Topology:
    from models.builders import htsim

    return htsim.build(path)
