"""The keys of an inference engine: its scheduler's limits, its KV cache, what an iteration costs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from models.errors import nearest
from sim.scenario.fields import Kinds, Section, absent, fault, key, one_of, shown, words
from sim.scenario.quantities import Rate, Time

_VLLM = "vLLM's default"
_MOST = 2**31 - 1  # tokens of a batch, of a request
_MOST_BLOCKS = 2**26  # of one scheduler


class Calibrated(Section):
    """From the fitted models of the GPU: attention by mixed batch, dense layers, experts, collectives."""

    kind: Literal["calibrated"] = "calibrated"

    def word(self) -> str:
        return self.kind


class Linear(Section):
    """A sum: so much an iteration, a prompt token, a sequence in decode and a token of these sequences' contexts."""

    kind: Literal["linear"] = "linear"
    step: Time = key(0, "of every iteration")
    prefill_token: Time = key(0, "of each prompt token computed")
    decode_sequence: Time = key(0, "of each sequence in decode")
    context_token: Time = key(0, "of each token in the contexts of the sequences in decode")

    @model_validator(mode="after")
    def _passes(self) -> Linear:
        if not self.step and not (self.prefill_token and (self.decode_sequence or self.context_token)):
            text = "an iteration could take no time: give step, or prefill_token with decode_sequence or context_token"
            raise fault(text, "kind")
        return self


class Splitwise(Section):
    """Measured whole iterations on DGX A100 and H100 (llama-2-70b, bloom-176b), between the points linear."""

    kind: Literal["splitwise"] = "splitwise"
    capped: bool = key(False, "the DGX H100 under a power cap")


def _bare_cost(word: str) -> dict[str, str]:
    if word not in COSTS.models:
        raise ValueError(f"unknown cost {shown(word)}{nearest(word, COSTS.models)}")
    return {"kind": word}


COSTS = Kinds("cost", {"calibrated": Calibrated, "linear": Linear, "splitwise": Splitwise}, (), _bare_cost)


class Overhead(Section):
    """Time of the engine's own software in an iteration."""

    step: Time = key(0, "of every iteration")
    sequence: Time = key(0, "of each sequence in it")


class Speculation(Section):
    """Speculative decoding: a draft of some tokens a step, of which the first right ones are kept, and one more."""

    tokens: int = key(says="drafted tokens a step", ge=1, le=32)
    acceptance: float = key(says="probability that a drafted token is right where those before it are", ge=0, le=1)
    draft: Time = key(0, "time to draft all tokens of a step")


def _count(value: object) -> object:
    """A whole number from 1 on, or ``auto``."""
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST):
        raise ValueError(f"auto or a whole number from 1 to {_MOST:,} is due, not {shown(value)}")
    return value


CountOrAuto = Annotated[int | Literal["auto"], BeforeValidator(_count)]


class EngineKeys(Section):
    """One inference engine, after vLLM v1 and Sarathi-Serve: continuous batching with chunked prefill."""

    token_budget: int = key(2048, "tokens computed in one iteration at most", _VLLM, ge=1, le=_MOST)
    max_sequences: int = key(128, "sequences that run at once at most", "vidur's default", ge=1, le=2**20)
    kv_blocks: CountOrAuto = key(
        "auto", "blocks of KV cache of one scheduler; auto: what the GPUs' memory leaves beside the weights"
    )
    block_tokens: int = key(16, "tokens of a block", _VLLM, ge=1, le=4096)
    watermark: float = key(0.01, "share of the blocks kept free when a request is admitted", _VLLM, ge=0, lt=1)
    memory_share: float = key(0.9, "share of a GPU's memory that weights and KV cache may take", _VLLM, gt=0, le=1)
    context: CountOrAuto = key(
        "auto", "tokens of a request at most, prompt and answer; longer ones are rejected; auto: the model's"
    )
    preemption: words("recompute", "swap") = key(
        "recompute", "what becomes of the KV cache of a request that must make room: dropped, or moved to the host"
    )
    swap_rate: Rate = key(256 * 10**9, "swap: rate between a GPU and its host", "PCIe 4.0 x16", ge=10**8)
    host_blocks: CountOrAuto = key("auto", "swap: blocks that the host holds; auto: of 4 GiB a GPU", _VLLM)
    prefix_cache: bool = key(True, "whether blocks are found again by their prefix", _VLLM)
    chunked_prefill: bool = key(True, "false: a prompt is prefilled whole in one iteration, before all decodes", _VLLM)
    async_scheduling: bool = key(
        False,
        "compose an iteration while the one before runs, as vLLM from 0.14 on does by default: an arrival waits for "
        "one more",
        "synchronous scheduling",
    )
    overhead: Overhead | Literal["auto"] = key("auto", "time of the engine's own software; auto: as calibrated")
    speculation: Speculation | None = key(None, "speculative decoding; absent: one token a step")
    cost: one_of(COSTS) = key(Calibrated(), "what an iteration costs")
    communication: words("model", "flows") = key(
        "model", "collectives inside an iteration: by cost model, or as flows on the fabric"
    )
    noise: float = key(0.0, "sigma of a log-normal factor on every iteration's time", ge=0, le=5)

    @model_validator(mode="after")
    def _fits(self) -> EngineKeys:
        given = self.model_fields_set
        if self.preemption != "swap":
            for name in ("swap_rate", "host_blocks"):
                if name in given:
                    raise fault(f"'{name}' belongs to preemption: swap", name)
        if self.kv_blocks != "auto" and self.kv_blocks > _MOST_BLOCKS:
            raise fault(f"more than {_MOST_BLOCKS:,} blocks", "kv_blocks")
        if self.kv_blocks != "auto" and "memory_share" in given:
            raise fault("'memory_share' has no effect beside a number of kv_blocks", "memory_share")
        if self.overhead != "auto" and not self.overhead.model_fields_set:
            raise absent("step", "an overhead names step, sequence or both")
        return self

    def idle(self) -> set[str]:
        idle = set() if self.preemption == "swap" else {"swap_rate", "host_blocks"}
        return idle | ({"memory_share"} if self.kv_blocks != "auto" else set())
