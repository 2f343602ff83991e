"""The only importer of Numba's decorators, so that the compiled cache is in one place and never stale.

Numba's disk cache looks only at a kernel's own file: a helper edited in another file would silently give the old
result. So a source's cache folder is named by a digest of all compiled ones that it imports, and a change elsewhere
compiles nothing again. Where the user's cache folder can't be written, a temporary one is used.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.extending import intrinsic

__all__ = ["intrinsic", "njit"]

_ROOT = Path(__file__).resolve().parent.parent
_IMPORT = re.compile(
    rb"^\s*(?:from ((?:models|solvers|sim)[\w.]*) import ([^\n]+)|import ((?:models|solvers|sim)\.[\w.]+))", re.M
)
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


@functools.cache
def _source(module: str) -> tuple[bytes, frozenset[str]]:
    """The text of one of our modules, empty if there is none, and the modules that it may import."""
    path = _ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = file.read_bytes() if file.is_file() else b""
    found: set[str] = set()
    for base, names, plain in _IMPORT.findall(text):
        found.add((base or plain).decode())
        found |= {f"{base.decode()}.{name}" for name in re.findall(r"\w+", names.decode())} if base else set()
    return text, frozenset(found)


def _digest(file: Path) -> str:
    """Of a source and of every compiled one of ours that it imports, directly or not, and of the versions."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:3]}".encode())
    digest.update(file.read_bytes() if file.is_file() else b"")
    ours = file.is_relative_to(_ROOT)
    first = ".".join(file.relative_to(_ROOT).with_suffix("").parts) if ours else "sim.dispatch.api"
    seen, todo = {"models.jit", first}, [first]
    while todo:
        new = _source(todo.pop())[1] - seen
        seen |= new
        todo += new
    for module in sorted(seen):
        text = _source(module)[0]
        if any(word in text for word in _COMPILED):
            digest.update(module.encode() + text)
    return digest.hexdigest()[:16]


@functools.cache
def _base() -> Path:
    """The folder of all caches: the user's, or a temporary one where that can't be written."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spillway"
    try:
        base.mkdir(parents=True, exist_ok=True)
        probe = base / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        print(f"spillway: {base} can't be written; compiling into a temporary folder", file=sys.stderr)
        return Path(tempfile.mkdtemp(prefix="spillway-"))
    return base


@functools.cache
def _cache_folder(file: str) -> str:
    return str(_base() / _digest(Path(file)))


def njit(
    *signature: Any, internal: bool = False, inline: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` with our settings: cached on disk, no fastmath (results must be the same everywhere).

    ``internal``: called from compiled code only, so it needs no door from Python and compiles faster. ``inline``: such
    a function becomes part of its callers.
    """
    doors = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True} if internal or inline else {}

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        numba.config.CACHE_DIR = _cache_folder(function.__code__.co_filename)  # read when the cache is made
        decorator = numba.njit(*signature, cache=True, nogil=True, error_model="numpy", forceinline=inline, **doors)
        made: Callable[..., Any] = decorator(function)
        return made

    return compiled
