"""The simulator. In Python, and so in a notebook: ``from sim import load, run, sweep`` (docs/python.md)."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.api import load, run, sweep

__all__ = ["load", "run", "sweep"]


class _Package(ModuleType):
    """Nothing is imported before it is used. ``sim.run`` and ``sim.sweep`` are modules too, which an import would put
    in the place of the functions: the functions win, and ``from sim.run import ...`` finds the modules all the same."""

    def __getattr__(self, name: str) -> Any:
        if name in __all__:
            return getattr(import_module("sim.api"), name)
        raise AttributeError(f"module 'sim' has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in __all__ or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
