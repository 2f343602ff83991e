"""The version of the code: what a cell's digest holds beside its scenario, since other code may give other numbers."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from sim.run import versions

_ROOT = Path(__file__).resolve().parents[2]
_NOT_IN_NUMBERS = _ROOT / "sim" / "sweep"  # who runs a cell does not change it


@cache
def code_version() -> str:
    """Digest of the libraries' versions and of all files of models, solvers and sim, fitted tables included."""
    digest = hashlib.sha256(repr(sorted(versions().items())).encode())
    for folder in ("models", "solvers", "sim"):
        for path in sorted((_ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and _NOT_IN_NUMBERS not in path.parents:
                digest.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
