"""The replicas of a workload of requests: where they are, what their schedulers may do, what an iteration costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from models.serving.law import TABLE
from models.serving.memory import kv_bytes_per_token, weight_bytes
from models.serving.setup import Setup
from models.units import PS_PER_SECOND
from sim.engine.serving.state import EngineSettings
from sim.processes.gpu import Device, Gpus
from sim.processes.serving.serving import OFF, UP, Replica
from sim.scenario.load import Loaded
from sim.scenario.request_arrivals import Trace
from sim.scenario.serving import Pool, Requests
from sim.scenario.serving_costs import cost_of, setup_of
from sim.scenario.serving_hosts import Placed
from sim.scenario.serving_inputs import hash_tokens_of, trace_of
from sim.scenario.serving_memory import blocks_of, gpu_memory

_HOST_MEMORY = 4 * 2**30  # bytes of swap space for each GPU, vLLM's default
Stretch = Callable[[int], int]  # nominal ps of a step -> ps


@dataclass
class Fleet:
    """``settings`` and ``costs`` by scheduler; ``setups``, ``stretch``, ``memory`` (bytes on each GPU) by replica."""

    models: list[str]  # of the pools
    replicas: list[Replica] = field(default_factory=list)
    settings: list[EngineSettings] = field(default_factory=list)
    costs: list[NDArray[np.float64]] = field(default_factory=list)
    setups: list[Setup] = field(default_factory=list)
    stretch: list[Stretch | None] = field(default_factory=list)  # None: its GPUs take what the cost model says
    memory: list[int] = field(default_factory=list)


def fleet_of(loaded: Loaded, gpus: Gpus, item: Requests, placed: Placed) -> Fleet:
    """InputError where there are no cost models for a pool's GPUs."""
    trace = trace_of(item, loaded.beside) if isinstance(item.arrivals, Trace) else None
    hash_tokens = hash_tokens_of(item, trace)
    pools = item.pool_list()
    fleet = Fleet([pool.model for pool in pools])
    for number, (pool, replicas) in enumerate(zip(pools, placed, strict=True)):
        settings = cache(partial(_settings, pool, hash_tokens))
        for place, hosts in enumerate(replicas):
            devices = [gpus.device(host) for host in hosts]
            setup = setup_of(pool, devices[0].settings.kind)
            memory = gpu_memory(loaded.scenario.gpus, hosts)
            engine = settings(memory)
            fleet.replicas.append(
                Replica(
                    len(fleet.replicas), number, pool.name, pool.role,
                    float("nan") if pool.quality is None else pool.quality, tuple(hosts),
                    len(fleet.settings), pool.data_parallel, pool.tensor_parallel,
                    UP if place < pool.replicas else OFF,
                )
            )  # fmt: skip
            fleet.settings += [engine] * pool.data_parallel
            cost = cost_of(setup)
            fleet.costs += [cost.copy() if cost[0] == TABLE else cost] * pool.data_parallel  # a table counts in itself
            fleet.setups.append(setup)
            own = any(one.settings.slowdown != 1.0 or one.settings.noise for one in devices)
            fleet.stretch.append(partial(_slowest, devices) if own else None)
            fleet.memory.append(_occupied(pool, engine))
    return fleet


def _slowest(devices: Sequence[Device], duration: int) -> int:
    """ps that a step of nominal ``duration`` takes on GPUs that wait for each other."""
    return max(1, *(device.takes(duration) for device in devices))


def _settings(pool: Pool, hash_tokens: int, memory: int) -> EngineSettings:
    """Of a scheduler of the pool on GPUs of ``memory`` bytes."""
    engine = pool.engine
    block = engine.block_tokens * kv_bytes_per_token(pool.architecture, tensor_parallel=pool.tensor_parallel)
    drafts = engine.speculation
    return EngineSettings(
        token_budget=engine.token_budget,
        max_sequences=engine.max_sequences,
        kv_blocks=blocks_of(pool, memory) if engine.kv_blocks == "auto" else engine.kv_blocks,
        block_tokens=engine.block_tokens,
        watermark=engine.watermark,
        swap=engine.preemption == "swap",
        swap_ps_per_block=-(-8 * block * PS_PER_SECOND // engine.swap_rate),
        host_blocks=_HOST_MEMORY // block if engine.host_blocks == "auto" else engine.host_blocks,
        prefix_cache=engine.prefix_cache,
        hash_tokens=hash_tokens,
        chunked=engine.chunked_prefill,
        async_scheduling=engine.async_scheduling,
        draft_tokens=drafts.tokens if drafts is not None else 0,
        acceptance=drafts.acceptance if drafts is not None else 0.0,
        draft_ps=drafts.draft if drafts is not None else 0,
        context=pool.architecture.context if engine.context == "auto" else engine.context,
        noise=engine.noise,
    )


def _occupied(pool: Pool, engine: EngineSettings) -> int:
    """Bytes that weights and KV cache take on a GPU."""
    weights = weight_bytes(
        pool.architecture, pool.dtype, pool.tensor_parallel, pool.data_parallel, pool.expert_parallel
    )
    token = kv_bytes_per_token(pool.architecture, tensor_parallel=pool.tensor_parallel)
    return weights + engine.kv_blocks * engine.block_tokens * token
