"""Language models by name, dense and mixtures of experts: the numbers that decide what is computed, kept and sent.

Every row is the model's published configuration (the ``config.json`` of the repository that ``source`` names, as of
2025), the total of its parameters the one its authors state. Sizes are counts of elements, not bytes: precision is the
scenario's choice. Biases, norms and router weights are left out of the derived sizes; together they stay below 0.5 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InputError, Problem, nearest


@dataclass(frozen=True)
class Architecture:
    """One model. All blocks have attention; ``moe_layers`` of the ``layers`` have experts, the first ones do not.

    A dense model has no ``moe_layers``: then ``experts``, ``top_k`` and ``expert_inner`` are 0.

    ``expert_groups`` and ``top_groups``: a token's experts come from at most so many of so many groups of consecutive
    experts (group-limited routing); 1 and 1 where the model has none. ``kv_rank``, ``query_rank``, ``rope_dim``: the
    low ranks of multi-head latent attention, whose cache holds kv_rank + rope_dim elements a token and layer; 0 for
    grouped-query attention. ``head_dim`` is the width of a head's value; with latent attention its query and key have
    ``rope_dim`` more.
    """

    name: str
    layers: int
    moe_layers: int
    hidden: int
    expert_inner: int  # inner width of one routed expert, and of one shared expert
    experts: int
    top_k: int
    shared_experts: int
    dense_inner: int  # inner width of the feed-forward in the blocks without experts; 0 if there are none
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    parameters: float  # in all, as published
    active: float  # used by one token, as published
    source: str
    kv_rank: int = 0
    query_rank: int = 0
    rope_dim: int = 0
    expert_groups: int = 1
    top_groups: int = 1
    gated: bool = True  # SwiGLU: three matrices a feed-forward block, else two
    tied: bool = False  # the output head is the embedding
    context: int = 131_072  # most tokens of a sequence, as configured without extensions

    @property
    def dense(self) -> bool:
        """Without experts."""
        return self.moe_layers == 0

    @property
    def dense_layers(self) -> int:
        return self.layers - self.moe_layers

    @property
    def matrices(self) -> int:
        """Weight matrices of one feed-forward block."""
        return 3 if self.gated else 2

    @property
    def expert_parameters(self) -> int:
        """Elements of one routed expert of one layer."""
        return self.matrices * self.hidden * self.expert_inner

    @property
    def attention_parameters(self) -> int:
        """Elements of one block's attention."""
        if self.kv_rank == 0:
            return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        wide = self.heads * (self.head_dim + self.rope_dim)
        query = self.query_rank * (self.hidden + wide) if self.query_rank else self.hidden * wide
        key_value = self.hidden * (self.kv_rank + self.rope_dim) + self.kv_rank * self.heads * 2 * self.head_dim
        return query + key_value + self.heads * self.head_dim * self.hidden

    @property
    def kv_elements(self) -> int:
        """Elements of the key-value cache, a token and layer."""
        return self.kv_rank + self.rope_dim if self.kv_rank else 2 * self.kv_heads * self.head_dim

    @property
    def embedding_parameters(self) -> int:
        """Elements of the embedding and of the output head, one matrix where they are tied."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    @property
    def derived_parameters(self) -> int:
        """Elements in all, from the dimensions: attention, feed-forward, embedding and output head."""
        experts = self.moe_layers * (self.experts + self.shared_experts) * self.expert_parameters
        dense = self.dense_layers * self.matrices * self.hidden * self.dense_inner
        return experts + dense + self.layers * self.attention_parameters + self.embedding_parameters


_MODELS = (
    Architecture(
        name="gpt-oss-20b", layers=24, moe_layers=24, hidden=2880, expert_inner=2880, experts=32, top_k=4,
        shared_experts=0, dense_inner=0, heads=64, kv_heads=8, head_dim=64, vocabulary=201_088,
        parameters=20.9e9, active=3.6e9, source="huggingface.co/openai/gpt-oss-20b; model card arXiv 2508.10925",
        context=131_072,
    ),
    Architecture(
        name="gpt-oss-120b", layers=36, moe_layers=36, hidden=2880, expert_inner=2880, experts=128, top_k=4,
        shared_experts=0, dense_inner=0, heads=64, kv_heads=8, head_dim=64, vocabulary=201_088,
        parameters=116.8e9, active=5.1e9, source="huggingface.co/openai/gpt-oss-120b; model card arXiv 2508.10925",
        context=131_072,
    ),
    Architecture(
        name="deepseek-v3", layers=61, moe_layers=58, hidden=7168, expert_inner=2048, experts=256, top_k=8,
        shared_experts=1, dense_inner=18_432, heads=128, kv_heads=128, head_dim=128, vocabulary=129_280,
        parameters=671e9, active=37e9, source="huggingface.co/deepseek-ai/DeepSeek-V3; arXiv 2412.19437",
        kv_rank=512, query_rank=1536, rope_dim=64, expert_groups=8, top_groups=4, context=163_840,
    ),
    Architecture(
        name="deepseek-v2-lite", layers=27, moe_layers=26, hidden=2048, expert_inner=1408, experts=64, top_k=6,
        shared_experts=2, dense_inner=10_944, heads=16, kv_heads=16, head_dim=128, vocabulary=102_400,
        parameters=15.7e9, active=2.4e9, source="huggingface.co/deepseek-ai/DeepSeek-V2-Lite; arXiv 2405.04434",
        kv_rank=512, rope_dim=64, context=163_840,
    ),
    Architecture(
        name="kimi-k2", layers=61, moe_layers=60, hidden=7168, expert_inner=2048, experts=384, top_k=8,
        shared_experts=1, dense_inner=18_432, heads=64, kv_heads=64, head_dim=128, vocabulary=163_840,
        parameters=1.04e12, active=32.6e9, source="huggingface.co/moonshotai/Kimi-K2-Instruct; arXiv 2507.20534",
        kv_rank=512, query_rank=1536, rope_dim=64, context=131_072,
    ),
    Architecture(
        name="mixtral-8x7b", layers=32, moe_layers=32, hidden=4096, expert_inner=14_336, experts=8, top_k=2,
        shared_experts=0, dense_inner=0, heads=32, kv_heads=8, head_dim=128, vocabulary=32_000,
        parameters=46.7e9, active=12.9e9, source="huggingface.co/mistralai/Mixtral-8x7B-v0.1; arXiv 2401.04088",
        context=32_768,
    ),
    Architecture(
        name="mixtral-8x22b", layers=56, moe_layers=56, hidden=6144, expert_inner=16_384, experts=8, top_k=2,
        shared_experts=0, dense_inner=0, heads=48, kv_heads=8, head_dim=128, vocabulary=32_000,
        parameters=141e9, active=39e9, source="huggingface.co/mistralai/Mixtral-8x22B-v0.1",
        context=65_536,
    ),
    Architecture(
        name="qwen3-30b-a3b", layers=48, moe_layers=48, hidden=2048, expert_inner=768, experts=128, top_k=8,
        shared_experts=0, dense_inner=0, heads=32, kv_heads=4, head_dim=128, vocabulary=151_936,
        parameters=30.5e9, active=3.3e9, source="huggingface.co/Qwen/Qwen3-30B-A3B; arXiv 2505.09388",
        context=40_960,
    ),
    Architecture(
        name="qwen3-235b-a22b", layers=94, moe_layers=94, hidden=4096, expert_inner=1536, experts=128, top_k=8,
        shared_experts=0, dense_inner=0, heads=64, kv_heads=4, head_dim=128, vocabulary=151_936,
        parameters=235e9, active=22e9, source="huggingface.co/Qwen/Qwen3-235B-A22B; arXiv 2505.09388",
        context=40_960,
    ),
    Architecture(
        name="olmoe-1b-7b", layers=16, moe_layers=16, hidden=2048, expert_inner=1024, experts=64, top_k=8,
        shared_experts=0, dense_inner=0, heads=16, kv_heads=16, head_dim=128, vocabulary=50_304,
        parameters=6.9e9, active=1.3e9, source="huggingface.co/allenai/OLMoE-1B-7B-0924; arXiv 2409.02060",
        context=4096,
    ),
    Architecture(
        name="llama-3.1-8b", layers=32, moe_layers=0, hidden=4096, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=14_336, heads=32, kv_heads=8, head_dim=128, vocabulary=128_256,
        parameters=8.03e9, active=8.03e9, source="huggingface.co/meta-llama/Llama-3.1-8B; arXiv 2407.21783",
        context=131_072,
    ),
    Architecture(
        name="llama-3.1-70b", layers=80, moe_layers=0, hidden=8192, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=28_672, heads=64, kv_heads=8, head_dim=128, vocabulary=128_256,
        parameters=70.6e9, active=70.6e9, source="huggingface.co/meta-llama/Llama-3.1-70B; arXiv 2407.21783",
        context=131_072,
    ),
    Architecture(
        name="llama-2-70b", layers=80, moe_layers=0, hidden=8192, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=28_672, heads=64, kv_heads=8, head_dim=128, vocabulary=32_000,
        parameters=69e9, active=69e9, source="huggingface.co/meta-llama/Llama-2-70b-hf; arXiv 2307.09288",
        context=4096,
    ),
    Architecture(
        name="qwen3-32b", layers=64, moe_layers=0, hidden=5120, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=25_600, heads=64, kv_heads=8, head_dim=128, vocabulary=151_936,
        parameters=32.8e9, active=32.8e9, source="huggingface.co/Qwen/Qwen3-32B; arXiv 2505.09388",
        context=40_960,
    ),
    Architecture(
        name="qwen3-8b", layers=36, moe_layers=0, hidden=4096, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=12_288, heads=32, kv_heads=8, head_dim=128, vocabulary=151_936,
        parameters=8.2e9, active=8.2e9, source="huggingface.co/Qwen/Qwen3-8B; arXiv 2505.09388",
        context=40_960,
    ),
    Architecture(
        name="qwen2.5-7b", layers=28, moe_layers=0, hidden=3584, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=18_944, heads=28, kv_heads=4, head_dim=128, vocabulary=152_064,
        parameters=7.61e9, active=7.61e9, source="huggingface.co/Qwen/Qwen2.5-7B; arXiv 2412.15115",
        context=131_072,
    ),
    Architecture(
        name="bloom-176b", layers=70, moe_layers=0, hidden=14_336, expert_inner=0, experts=0, top_k=0,
        shared_experts=0, dense_inner=57_344, heads=112, kv_heads=112, head_dim=128, vocabulary=250_880,
        parameters=176.2e9, active=176.2e9, source="huggingface.co/bigscience/bloom; arXiv 2211.05100",
        gated=False, tied=True, context=2048,
    ),
)  # fmt: skip

ARCHITECTURES: dict[str, Architecture] = {model.name: model for model in _MODELS}


def architecture(name: str) -> Architecture:
    """The model of this name. InputError with the nearest name otherwise."""
    if name not in ARCHITECTURES:
        raise InputError([Problem("model", 0, 0, f"unknown model '{name}'{nearest(name, ARCHITECTURES)}")])
    return ARCHITECTURES[name]
