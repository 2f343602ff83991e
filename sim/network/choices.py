"""From a packet policy's module to what the engines call."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from models.topology import Topology
from sim.network.settings import PacketChoice


def packet_choice(
    module: ModuleType, topology: Topology, params: Any, key: int, window: int, buffer: int
) -> PacketChoice | None:
    """None where the module has nothing to call. ``window``: packets of a bandwidth-delay product.

    ``buffer`` bytes of a switch port, 2^62: no limit; for modules with ``uses_buffer``.
    """
    spread = getattr(module, "spread", None)
    if module.pick is None and spread is None:
        return None
    facts = (buffer,) if getattr(module, "uses_buffer", False) else ()
    memory = getattr(module, "memory", None)
    options: dict[str, Any] = {name: getattr(module, name, None) for name in ("learn", "tick", "hear")}
    for name in ("period", "load_period", "load_alpha"):
        if hasattr(module, name):
            options[name] = getattr(module, name)(params)
    return PacketChoice(
        pick=module.pick,
        state=_words(module.state(topology, params, key, *facts)),
        uses_queues=module.uses_queues,
        uses_loads=getattr(module, "uses_loads", False),
        stamps=getattr(module, "stamps", ""),
        spread=spread,
        own=_words(memory(topology, params, window, key)) if memory else None,
        **options,
    )


def _words(array: Any) -> Any:
    return np.ascontiguousarray(array, dtype=np.int64)
