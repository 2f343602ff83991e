"""Writes a run: a folder that appears whole or not at all, its tables as Parquet, its summary and manifest as JSON.

Everything but ``run.json`` is byte-identical for the same content: no clock, no host name, no order of a set or hash.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import InputError, Problem
from models.records import MANIFEST, PROGRAM, SCHEMA, SWEEP, TABLES, validate
from models.summary import summarise
from models.topology import Topology

PS_PER_US = 1_000_000


def microseconds(picoseconds: NDArray[Any]) -> NDArray[np.float64]:
    """Times in ps as us; a negative time means "never" and becomes NaN (null in the table)."""
    times = np.asarray(picoseconds)
    return np.where(times < 0, np.nan, times / PS_PER_US)


def frame(name: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Table ``name`` from its columns, each an array, a list or one value for all rows, in the described types.

    A negative integer is null in a column that may be null.
    """
    arrays: dict[str, Any] = {}
    for column in TABLES[name]:
        values = columns[column.name]
        if column.type == "text":
            arrays[column.name] = values if np.size(values) else np.empty(0, dtype=object)
        else:
            arrays[column.name] = np.asarray(values, dtype=np.int64 if column.type == "int" else np.float64)
    unknown = set(columns) - set(arrays)
    if unknown:
        raise ValueError(f"table '{name}' has no column {', '.join(sorted(unknown))}")
    length = next((len(values) for values in arrays.values() if np.ndim(values)), 1)
    whole = {key: values if np.ndim(values) else np.full(length, values) for key, values in arrays.items()}
    for column in TABLES[name]:
        if column.type == "int" and column.null:
            whole[column.name] = pd.arrays.IntegerArray(whole[column.name], whole[column.name] < 0)
    return pd.DataFrame(whole, copy=False)


def fabric_facts(topology: Topology) -> dict[str, Any]:
    """What analysis must know of the fabric: its kind, the number of hosts, the switches of each tier by name.

    The hosts' names only where they are not host0, host1, ... by rank; where nodes are on a map if that is known.
    """
    tiers: dict[str, list[str]] = {}
    for node in range(topology.hosts, topology.nodes):
        tiers.setdefault(tier_name(topology, node), []).append(topology.node_name[node])
    facts: dict[str, Any] = {"kind": topology.kind, "hosts": topology.hosts, "tiers": tiers}
    names = topology.node_name[: topology.hosts]
    if names != [f"host{host}" for host in range(topology.hosts)]:
        facts["host_names"] = names
    if topology.place:
        facts["places"] = topology.place
    return facts


def tier_name(topology: Topology, node: int) -> str:
    """The word for a node's tier, as in the link class ``leaf->spine``."""
    if node < topology.hosts:
        return "host"
    return topology.tier_name.get(int(topology.tier[node]), "switch")


class ResultFolder:
    """``with ResultFolder(out) as partial:`` write below ``partial``; at the end it becomes ``out`` in one rename.

    An existing ``out`` is replaced, but only if it holds a Spillway manifest (InputError before anything is written).
    An exception leaves nothing behind; an interrupt keeps what was written, marked as interrupted.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(os.path.abspath(out))
        self.partial = self.out.with_name(self.out.name + ".partial")
        self._made: list[Path] = []  # parent folders that were not there before

    def __enter__(self) -> Path:
        for path in (self.out, self.partial):
            problem = _obstacle(path, may_be_empty=path == self.partial)
            if problem:
                raise InputError([Problem(str(path), 0, 0, problem)])
        self._made = [parent for parent in self.out.parents if not parent.exists()]
        try:
            if self.partial.exists():
                shutil.rmtree(self.partial)
            self.partial.mkdir(parents=True)
            write_json(self.partial / "manifest.json", {"program": PROGRAM, "schema": SCHEMA})
        except OSError as error:
            self._remove()
            raise InputError([Problem(str(self.out), 0, 0, f"can't write here: {error.strerror}")]) from None
        return self.partial

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if kind is None:
            self._publish()
        elif issubclass(kind, KeyboardInterrupt):
            mark_interrupted(self.partial)
            self._publish()
        else:
            self._remove()
        return False

    def _remove(self) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)
        for parent in self._made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _publish(self) -> None:
        if not self.out.exists():
            self.partial.rename(self.out)
            return
        if not holds_manifest(self.out):  # it came while we ran; keep both
            message = f"appeared during the run and holds no Spillway manifest; the results are in {self.partial}"
            raise InputError([Problem(str(self.out), 0, 0, message)])
        old = self.out.with_name(f".{self.out.name}.replaced-{os.getpid()}")
        self.out.rename(old)
        try:
            self.partial.rename(self.out)
        except OSError:
            old.rename(self.out)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _obstacle(path: Path, *, may_be_empty: bool) -> str | None:
    """Why ``path`` may not be replaced by results, or None."""
    if not path.exists() and not path.is_symlink():
        return None
    if path.is_symlink() or not path.is_dir():
        return "exists and is not a directory; choose another --out"
    if _kind(path) == SWEEP:
        return "holds a sweep, whose cells are not replaced by a run; choose another --out or remove it"
    if holds_manifest(path) or (may_be_empty and not any(path.iterdir())):
        return None
    return "exists and holds no Spillway manifest, so it is not replaced; choose another --out or remove it"


def holds_manifest(folder: Path) -> bool:
    """Whether ``folder`` was written by this program."""
    return _kind(folder) is not None


def _kind(folder: Path) -> str | None:
    """The kind of a folder of ours, '' of a run; None of anything else."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(manifest.get("kind", "")) if isinstance(manifest, dict) and manifest.get("program") == PROGRAM else None


def write_run(
    folder: Path,
    *,
    effective: str,
    manifest: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    status: str,
    reasons: Sequence[str] = (),
    empty: Mapping[str, str] | None = None,
    wall: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write one run into ``folder`` and return its summary. ``effective`` is the text of scenario.yaml.

    ValueError where a table differs from its description in models/records.py or a manifest key has none.
    """
    for name, table in tables.items():
        validate(name, table)
    summary = summarise(tables, status, reasons, empty or {})
    _write_manifest(folder, manifest)
    (folder / "scenario.yaml").write_text(effective, encoding="utf-8", newline="\n")
    for name in TABLES:
        if name in tables and len(tables[name]):
            write_table(folder / f"{name}.parquet", name, tables[name])
    write_json(folder / "run.json", dict(wall or {}), sort=True)
    write_json(folder / "summary.json", summary)  # last: a folder with a summary is whole
    return summary


def write_variants(
    folder: Path,
    variants: Mapping[str, str],
    *,
    effective: str,
    manifest: Mapping[str, Any],
    wall: Mapping[str, Any] | None = None,
) -> None:
    """The directory above the variants: manifest with every variant's name and status, in their order."""
    listed = [{"name": name, "status": status} for name, status in variants.items()]
    _write_manifest(folder, {**manifest, "variants": listed})
    (folder / "scenario.yaml").write_text(effective, encoding="utf-8", newline="\n")
    write_json(folder / "run.json", dict(wall or {}), sort=True)


def mark_interrupted(folder: Path) -> None:
    """Say in the manifest, and in the summary where the run came so far, that the run was interrupted."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["interrupted"] = True
    variants = sorted(child for child in folder.iterdir() if holds_manifest(child))
    if variants and "variants" not in manifest:
        found = {child.name: json.loads((child / "summary.json").read_text(encoding="utf-8")) for child in variants}
        manifest["variants"] = [{"name": name, "status": summary["status"]} for name, summary in found.items()]
    write_json(folder / "manifest.json", manifest, sort=True)
    if variants:
        return
    path = folder / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8")) if path.exists() else summarise({}, "stopped", [], {})
    said = any("interrupted" in reason for reason in summary["reasons"])
    reasons = summary["reasons"] if said else [*summary["reasons"], "interrupted"]
    write_json(path, {**summary, "status": "stopped", "reasons": reasons})


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    unknown = set(manifest) - set(MANIFEST)
    if unknown:
        raise ValueError(f"models/records.py does not describe the manifest key {', '.join(sorted(unknown))}")
    write_json(folder / "manifest.json", {"program": PROGRAM, "schema": SCHEMA, **manifest}, sort=True)


def write_table(path: Path, name: str, table: pd.DataFrame) -> None:
    """One Parquet file, its types taken from the description, NaN as null, no pandas metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    types |= {"category": pa.dictionary(pa.int32(), pa.string())}  # of few texts in many rows: the same file, faster
    kinds = {c.name: "category" if table[c.name].dtype == "category" else c.type for c in TABLES[name]}
    arrays = [pa.array(table[column], type=types[kind], from_pandas=True) for column, kind in kinds.items()]
    content = pa.Table.from_arrays(arrays, names=TABLES[name].names())
    texts = [column.name for column in TABLES[name] if column.type == "text"]
    # fixed version, page layout and codec; the schema's pandas metadata would only repeat the types. Dictionaries of
    # numbers cost time and make the files larger
    pq.write_table(
        content,
        path,
        version="2.6",
        compression="zstd",
        compression_level=3,
        store_schema=False,
        use_dictionary=texts or False,
    )


def write_json(path: Path, content: Mapping[str, Any], *, sort: bool = False) -> None:
    """JSON with shortest exact floats, null for what is not a number, keys in the given or in sorted order."""
    text = json.dumps(_plain(content), indent=2, allow_nan=False, sort_keys=sort, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _plain(value: Any) -> Any:
    """Only what JSON knows: no NumPy, no NaN, no sets (their order is not fixed)."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no place in a result's JSON")
