"""What kind of folder it is, which of its runs are explored, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.index import Index, is_sweep, read_index
from analysis.load import Results, find_runs, load
from analysis.report.data import EXPLORED, told
from analysis.report.pack import Packer
from analysis.report.sweep import cells, curves
from models.errors import InputError, Problem
from models.records import PROGRAM, SCHEMA

_VARIANTS = 24  # of a scenario; more are thinned like the runs of a folder of many


def read(folder: Path, packer: Packer, quiet: bool = True) -> dict[str, Any]:
    """The content of the page. InputError where ``folder`` holds no results of this version."""
    if is_sweep(folder):
        return _sweep(folder, packer, quiet)
    if (folder / "manifest.json").is_file():
        results = load(folder)
        title = str(results.manifest.get("name", folder.name))
        kind = "variants" if results.variants else "run"
        runs = results.runs()
        names = [list(runs)[place] for place in _spread(len(runs), _VARIANTS)]
        head = {"title": title, "kind": kind, "count": len(runs)}
        return told(head, {name: runs[name] for name in names}, packer, quiet)
    if not folder.is_dir():
        raise InputError([Problem(str(folder), 0, 0, "is not a directory with results")])
    found = find_runs(folder)
    if not found:
        raise InputError([Problem(str(folder), 0, 0, "no results here or up to 3 levels below (no manifest.json)")])
    names = [run.folder.relative_to(folder).as_posix() for run in found]
    picked = _spread(len(found))
    head = {"title": folder.resolve().name, "kind": "runs", "count": len(found)}
    return told(head, {names[place]: found[place] for place in picked}, packer, quiet)


def _sweep(folder: Path, packer: Packer, quiet: bool) -> dict[str, Any]:
    """A sweep, or a comparison, which is a sweep with a certificate."""
    certificate = _certificate(folder)
    head: dict[str, Any] = {"kind": "sweep", "certificate": certificate}
    if (folder / "index.parquet").is_file():
        index = read_index(folder)
        head |= {"title": index.name, "count": len(index.frame), "cells": cells(index)}
        runs = _named_by_index(folder, index)
        content = told(head, runs, packer, quiet)
        content["charts"] = curves(index, packer) + content["charts"]
        return content
    found = [load(path) for path in sorted((folder / "cells").glob("*")) if path.name.isalnum() and _ran(path)]
    if not found:
        raise InputError([Problem(str(folder), 0, 0, "no cell of this sweep has finished")])
    title = certificate["name"] if certificate else str(found[0].manifest.get("name", folder.name))
    return told(head | {"title": title, "count": len(found)}, _named_by_manifest(found), packer, quiet)


def _ran(cell: Path) -> bool:
    return (cell / "manifest.json").is_file()


def _certificate(folder: Path) -> dict[str, Any] | None:
    """What a comparison decided: its sentence, and the whole text."""
    path = folder / "certificate.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["program"] != PROGRAM or content["schema"] != SCHEMA:
            message = f"is not a certificate of this version (schema {SCHEMA}): compare again"
            raise InputError([Problem(str(path), 0, 0, message)])
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        return {"name": str(content["name"]), "sentence": str(content["sentence"]), "text": text}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError([Problem(str(path), 0, 0, "can't be read; run the comparison again")]) from None


def _spread(count: int, most: int = EXPLORED) -> list[int]:
    """Places of at most ``most`` runs, evenly over all, both ends included."""
    return list(dict.fromkeys(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _named_by_index(folder: Path, index: Index) -> dict[str, Results]:
    """Finished cells of the first seed, by variant and what was varied: all policies at points over the whole range."""
    done = index.frame[index.frame["status"] != "failed"]
    done = done[done["seed"] == done["seed"].min()]
    if done.empty:
        raise InputError([Problem(str(folder), 0, 0, "no cell of this sweep has finished")])
    varied = [axis for axis in index.axes if done[axis.key].nunique() > 1]
    numeric = [axis.key for axis in varied if axis.numeric]
    points = list(done.groupby(numeric, sort=True)) if numeric else [((), done)]
    arms = max(len(part) for _, part in points)
    named: dict[str, Results] = {}
    for place in _spread(len(points), max(1, EXPLORED // arms)):
        part = points[place][1]
        for number in _spread(len(part)):
            row = part.iloc[number]
            words = [str(row["variant"])] if done["variant"].nunique() > 1 else []
            for axis in varied:
                words.append(f"{axis.short} {row[f'{axis.key}.text']}" if axis.numeric else str(row[axis.key]))
            named[_unused(", ".join(words) or f"seed {row['seed']}", named)] = load(folder / "cells" / row["cell"])
    return named


def _named_by_manifest(found: Sequence[Results]) -> dict[str, Results]:
    """Runs of the first seed, by what differs between their manifests."""
    first = min(run.manifest["seed"] for run in found)
    kept = [run for run in found if run.manifest["seed"] == first]
    facts = [_facts(run) for run in kept]
    told = list(dict.fromkeys(name for fact in facts for name in fact))
    different = [name for name in told if len({fact[name] for fact in facts if name in fact}) > 1]
    named: dict[str, Results] = {}
    for place in _spread(len(kept)):
        words = [str(facts[place][name]) for name in different if facts[place].get(name)]
        named[_unused(", ".join(words) or f"seed {first}", named)] = kept[place]
    return dict(sorted(named.items()))


def _facts(run: Results) -> dict[str, str]:
    policies = run.manifest.get("policies", {})
    facts = {"variant": str(run.manifest.get("variant") or "")}
    for level, policy in policies.items():
        given = ", ".join(f"{key} {value}" for key, value in policy.items() if key != "kind")
        facts |= {level: str(policy["kind"]), f"{level} of {policy['kind']}": given}
    loads = run.manifest.get("loads", [])
    return facts | {"load": f"load {', '.join(f'{load:g}' for load in loads)}" if loads else ""}


def _unused(name: str, named: Mapping[str, object]) -> str:
    number = 2
    while name in named:
        name = f"{name} ({number})" if number == 2 else f"{name.rsplit(' (', 1)[0]} ({number})"
        number += 1
    return name
