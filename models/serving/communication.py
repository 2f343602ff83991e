"""Collectives inside an iteration, by the calibrated law of the GPU's own links, and the messages that flows carry.

All-reduces inside a node are vLLM's own where its kernels were measured (``models.serving.all_reduce``), else NCCL's.

Tensor parallelism: an all-reduce of the hidden states after attention and one after the feed-forward of every layer,
one after the embedding; the head gathers the logits of sampled rows. Data-parallel ranks that share experts gather the
tokens of all (hidden states, and 8 bytes for each chosen expert: weight and number) before every layer of experts and
reduce-scatter the results: vLLM's default for expert parallelism.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.comms.collective import CollectiveModel
from models.compute import GpuModel
from models.hardware import gpu as preset
from models.serving.all_reduce import all_reduce_us, measured
from models.serving.setup import Setup

WIDE = 2  # bytes of an activation
CHOICE = 8  # bytes of an expert's number and weight
NODE = 8  # GPUs of a node without a switch of its own
_Array = NDArray[np.float64]


class Message(NamedTuple):
    """One collective of an iteration: how often, over how many GPUs, bytes (as nccl-tests count them) a token."""

    collective: str
    repeats: int
    gpus: int
    nodes: int
    bytes: float  # of one token of each rank, or of one sampled row


def nodes_of(setup: Setup, gpus: int) -> int:
    """Nodes, or domains of the scale-up switch, that so many GPUs fill."""
    chip = preset(setup.chip)
    return -(-gpus // (chip.scale_up_size if chip.scale_up == "nvswitch" else NODE))


def token_messages(setup: Setup) -> list[Message]:
    """What grows with the tokens of a rank."""
    model, shards, ranks = setup.architecture, setup.tensor_parallel, setup.data_parallel
    wide = model.hidden * WIDE
    found = []
    if shards > 1:
        found.append(Message("all_reduce", 2 * model.layers + 1, shards, nodes_of(setup, shards), wide))
    if setup.lockstep:
        nodes = nodes_of(setup, shards * ranks)
        sent = ranks * (wide + model.top_k * CHOICE)
        found.append(Message("all_gather", model.moe_layers, ranks, nodes, sent))
        found.append(Message("reduce_scatter", model.moe_layers, ranks, nodes, ranks * wide))
    return found


def row_messages(setup: Setup) -> list[Message]:
    """What grows with the sampled rows."""
    shards = setup.tensor_parallel
    if shards == 1:
        return []
    return [Message("all_gather", 1, shards, nodes_of(setup, shards), setup.architecture.vocabulary * WIDE)]


def messages_us(setup: Setup, messages: list[Message], counts: _Array) -> _Array:
    """Their time by tokens of a rank, or by rows."""
    found = np.zeros(len(counts))
    if not messages:
        return found
    some = counts > 0
    for message in messages:
        size = np.maximum(counts[some] * message.bytes, 1.0)
        if message.collective == "all_reduce" and measured(setup.chip, message.gpus):
            found[some] += message.repeats * all_reduce_us(setup.chip, message.gpus, size)
            continue
        model = CollectiveModel(GpuModel(setup.gpu).body("collective"))
        each = np.ones(len(size))
        time, _ = model.rows(message.collective, "half", each * message.gpus, each * message.nodes, size)
        found[some] += message.repeats * time
    return found
