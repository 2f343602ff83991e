"""The only importer of Numba's decorators, so that the compiled cache is in one place and never stale.

Numba's disk cache looks only at a kernel's own file: a helper edited in another file would silently give the old
result. So the cache folder is named by a digest of every compiled source. Where the user's cache folder can't be
written, a temporary one is used.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.extending import intrinsic

__all__ = ["intrinsic", "njit"]

_ROOT = Path(__file__).resolve().parent.parent
# words that a source has that is compiled, or whose numbers are compiled into others
_COMPILED = (
    b"models.jit",
    b"@packet_policy",
    b"@switch_feedback",
    b"@periodic",
    b"@entropy",
    b"@congestion",
    b"HOP_WORDS",
)


def _digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:3]}".encode())
    for folder in ("models", "solvers", "sim"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            text = path.read_bytes()
            if path.name == "jit.py" or any(word in text for word in _COMPILED):
                digest.update(str(path.relative_to(_ROOT)).encode())
                digest.update(text)
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spillway"
    folder = base / _digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        print(f"spillway: {base} can't be written; compiling into a temporary folder", file=sys.stderr)
        return tempfile.mkdtemp(prefix="spillway-")
    return str(folder)


numba.config.CACHE_DIR = _cache_folder()


def njit(
    *signature: Any, internal: bool = False, inline: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` with our settings: cached on disk, no fastmath (results must be the same everywhere).

    ``internal``: called from compiled code only, so it needs no door from Python and compiles faster. ``inline``: such
    a function becomes part of its callers.
    """
    doors = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True} if internal or inline else {}
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(
        *signature, cache=True, nogil=True, error_model="numpy", forceinline=inline, **doors
    )
    return decorator
