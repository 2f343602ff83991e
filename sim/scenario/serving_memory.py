"""How much KV cache a pool's GPUs leave."""

from __future__ import annotations

from collections.abc import Sequence

from models.hardware import GPUS
from models.serving.memory import kv_blocks_of
from sim.scenario.moe import Gpus, ranks_of
from sim.scenario.serving import Pool


def gpu_memory(gpus: Gpus, hosts: Sequence[int]) -> int:
    """Bytes of the GPU among ``hosts`` that has least, as CUDA reports them."""
    kinds = dict.fromkeys(hosts, (gpus.kind, gpus.memory))
    for text, change in gpus.only.items():
        for host in kinds.keys() & set(ranks_of(text)):
            kind, memory = kinds[host]
            kinds[host] = (change.kind or kind, change.memory or (None if change.kind else memory))
    return min(memory or GPUS[kind].visible_bytes for kind, memory in set(kinds.values()))


def kinds_of(gpus: Gpus, hosts: Sequence[int]) -> list[str]:
    """The kinds of GPU among ``hosts``."""
    kinds = dict.fromkeys(hosts, gpus.kind)
    for text, change in gpus.only.items():
        if change.kind is not None:
            kinds |= dict.fromkeys(kinds.keys() & set(ranks_of(text)), change.kind)
    return sorted(set(kinds.values()))


def blocks_of(pool: Pool, memory: int) -> int:
    """KV blocks of a scheduler beside the weights in GPUs of ``memory`` bytes. InputError: there is no room."""
    engine = pool.engine
    return kv_blocks_of(
        pool.architecture, pool.dtype, memory, engine.memory_share, pool.tensor_parallel, pool.data_parallel,
        pool.expert_parallel, engine.token_budget, engine.block_tokens, engine.max_sequences,
    )  # fmt: skip
