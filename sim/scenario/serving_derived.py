"""What an engine takes from its model and GPUs, so that `check` and a run's scenario show it as numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

from models.errors import InputError
from sim.scenario.moe import ranks_of
from sim.scenario.schema import Scenario
from sim.scenario.serving import Pool, Requests
from sim.scenario.serving_engine import EngineKeys
from sim.scenario.serving_memory import blocks_of, gpu_memory


class _Value(NamedTuple):
    value: int
    reason: str


def with_engine_values(scenario: Scenario) -> Scenario:
    """``kv_blocks`` and ``context`` where they are ``auto``; the first only if all GPUs have one memory.

    What does not fit stays, and is refused later.
    """
    if not any(isinstance(item, Requests) for item in scenario.workload):
        return scenario
    memories = {gpu_memory(scenario.gpus, [rank]) for rank in _different(scenario)}
    memory = memories.pop() if len(memories) == 1 else None
    items = tuple(_filled(item, memory) if isinstance(item, Requests) else item for item in scenario.workload)
    return scenario.model_copy(update={"workload": items})


def _different(scenario: Scenario) -> list[int]:
    """A GPU of each entry of ``gpus.only``, and one beyond them all."""
    ranks = [ranks_of(text) for text in scenario.gpus.only]
    return [*(one[0] for one in ranks), max((one[-1] for one in ranks), default=-1) + 1]


def _filled(item: Requests, memory: int | None) -> Requests:
    """Values that all pools of the workload's engine share go there, those of pools with their own to these."""
    shared: list[dict[str, _Value]] = []
    pools: dict[str, Any] = {}
    for pool in item.pool_list():
        own = item.pools.get(pool.name)
        if own is not None and own.engine is not None:
            pools[pool.name] = own.model_copy(update={"engine": _put(own.engine, _values(pool, memory))})
        else:
            shared.append(_values(pool, memory))
    update: dict[str, Any] = {"pools": item.pools | pools}
    if shared:
        alike = {name: one for name, one in shared[0].items() if all(other.get(name) == one for other in shared)}
        update["engine"] = _put(item.engine, alike)
    return item.model_copy(update=update)


def _put(engine: EngineKeys, values: dict[str, _Value]) -> EngineKeys:
    for name, one in values.items():
        engine = engine.with_values({name: one.value}, one.reason)
    return engine


def _values(pool: Pool, memory: int | None) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    if pool.engine.context == "auto":
        found["context"] = _Value(pool.architecture.context, f"that of {pool.model}")
    if pool.engine.kv_blocks == "auto" and memory is not None:
        share = f"{pool.engine.memory_share:g} of {memory / 2**30:.1f} GiB"
        try:
            blocks = blocks_of(pool, memory)
        except InputError:
            return found
        found["kv_blocks"] = _Value(blocks, f"what {share} leave beside weights and work of {pool.model}")
    return found
