"""What an iteration costs a pool's replicas: the choices of its engine as the cost models take them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.serving.costs import costs_of
from models.serving.setup import Setup
from sim.scenario.serving import Pool
from sim.scenario.serving_engine import Linear, Splitwise

_PS_PER_US = 1e6


@lru_cache(maxsize=32)
def cost_of(setup: Setup) -> NDArray[np.float64]:
    """Once made, shared by all replicas and runs. InputError: there are no numbers for the model on these GPUs."""
    return costs_of(setup)


def setup_of(pool: Pool, gpu: str) -> Setup:
    """On GPUs of the kind ``gpu``."""
    engine, cost = pool.engine, pool.engine.cost
    linear: dict[str, float] = {}
    if isinstance(cost, Linear):
        names = ("prefill_token", "decode_sequence", "context_token")
        linear = {f"{name}_us": getattr(cost, name) / _PS_PER_US for name in names}
        linear["linear_step_us"] = cost.step / _PS_PER_US
    overhead = None if engine.overhead == "auto" else engine.overhead
    return Setup(
        architecture=pool.architecture,
        gpu=gpu,
        tensor_parallel=pool.tensor_parallel,
        data_parallel=pool.data_parallel,
        expert_parallel=pool.expert_parallel,
        dtype=pool.dtype,
        token_budget=engine.token_budget,
        max_sequences=engine.max_sequences,
        draft_tokens=engine.speculation.tokens if engine.speculation is not None else 0,
        step_us=None if overhead is None else overhead.step / _PS_PER_US,
        sequence_us=0.0 if overhead is None else overhead.sequence / _PS_PER_US,
        communication=engine.communication == "model",
        kind=cost.kind,
        capped=isinstance(cost, Splitwise) and cost.capped,
        **linear,
    )
