"""The keys of the workload ``moe`` and of the section ``gpus``: models, routing of tokens, GPUs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from models.architectures import ARCHITECTURES, Architecture
from models.errors import nearest
from models.hardware import GPUS
from models.moe_layer import DENSE, EXPERTS, LayerMemory
from sim.scenario.fields import Kinds, Section, absent, fault, key, list_of, mapping_of, one_of, shown, words
from sim.scenario.quantities import Size

MESSAGES = ("none", "nccl", "efa", "efa_size_only", "deepep_normal", "deepep_low_latency")
_LLEP = "set-up of LLEP (Nguyen et al. 2026)"
_DTYPES = ("bf16", "fp8")


class Balanced(Section):
    """Every expert gets the same number of tokens: copy k of token i goes to expert (i + k) mod N."""

    kind: Literal["balanced"] = "balanced"

    def word(self) -> str:
        return self.kind


class Hot(Section):
    """The generator of LLEP's test: a share of the tokens goes to a few hot experts, the rest spreads evenly."""

    kind: Literal["hot"] = "hot"
    share: float = key(says="share of the tokens that choose only hot experts", ge=0, le=1)
    experts: int | Literal["local"] = key(1, "hot experts, numbered from 0; local: as many as a GPU holds")

    @model_validator(mode="after")
    def _some(self) -> Hot:
        if self.experts != "local" and self.experts < 1:
            raise fault(f"there is at least 1 hot expert, not {self.experts}", "experts")
        return self


class _Drifting(Section):
    drift: float = key(0.0, "share of every expert's popularity that is new in each step; 1: all of it", ge=0, le=1)


class Zipf(_Drifting):
    """Popularity by rank to the power of minus the exponent, ranks drawn at random for each layer."""

    kind: Literal["zipf"] = "zipf"
    exponent: float = key(says="exponent; 0 is uniform", ge=0, le=10)


class LogNormal(_Drifting):
    """Log-normal popularity."""

    kind: Literal["log_normal"] = "log_normal"
    sigma: float = key(says="sigma of the log-popularity; 0 is uniform", ge=0, le=10)


class Dirichlet(_Drifting):
    """Popularity drawn from a symmetric Dirichlet distribution."""

    kind: Literal["dirichlet"] = "dirichlet"
    concentration: float = key(says="concentration; large is even, small is skewed", gt=0, le=1e6)


class Counts(_Drifting):
    """Popularity from measured counts of tokens per expert."""

    kind: Literal["counts"] = "counts"
    file: str = key(says="CSV file beside the scenario, one row a layer or one row an expert")
    model: str | None = key(None, "rows of this model, where the file has several")
    selection: str | None = key(None, "rows of this selection (topk, top1), where the file has several")
    domain: str | None = key(None, "rows of this domain, where the file has several")
    layers: list_of(int, "layers", least=1) | None = key(None, "the file's layers to take, in order; absent: all")


class Trace(Section):
    """Measured choices token by token; sequences are dealt to the GPUs and repeat when more tokens are asked for."""

    kind: Literal["trace"] = "trace"
    file: str = key(says="CSV file (or .csv.gz) beside the scenario: layer,sequence,position,e0,e1,...")
    layers: list_of(int, "layers", least=1) | None = key(None, "the file's layers to take, in order; absent: all")


def _bare_routing(word: str) -> dict[str, Any]:
    if word not in ROUTINGS.models:
        raise ValueError(f"unknown routing {shown(word)}{nearest(word, ROUTINGS.models)}")
    return {"kind": word}


ROUTINGS = Kinds(
    "routing",
    {
        "balanced": Balanced,
        "hot": Hot,
        "zipf": Zipf,
        "log_normal": LogNormal,
        "dirichlet": Dirichlet,
        "counts": Counts,
        "trace": Trace,
    },
    (),
    _bare_routing,
)


class Preset(Section):
    """A published model (``list models``)."""

    kind: Literal["preset"] = "preset"
    name: str = key(says="its name")

    def word(self) -> str:
        return self.name

    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.name]


class Own(Section):
    """A shape of one's own: a mixture-of-experts transformer with SwiGLU experts."""

    kind: Literal["own"] = "own"
    hidden: int = key(says="hidden dimension", ge=1, le=2**20)
    expert_inner: int = key(says="inner dimension of an expert", ge=1, le=2**20)
    experts: int = key(says="routed experts of a layer", ge=1, le=2**16)
    top_k: int = key(says="experts that a token is sent to", ge=1)
    layers: int = key(1, "layers in all", ge=1, le=2**16)
    shared_experts: int = key(0, "experts that see every token", ge=0, le=2**16)

    @model_validator(mode="after")
    def _enough(self) -> Own:
        if self.top_k > self.experts:
            raise fault(f"top_k is {self.top_k}, but a layer has {self.experts} experts", "top_k")
        return self

    def architecture(self) -> Architecture:
        return Architecture(
            name="own", layers=self.layers, moe_layers=self.layers, hidden=self.hidden, expert_inner=self.expert_inner,
            experts=self.experts, top_k=self.top_k, shared_experts=self.shared_experts, dense_inner=0, heads=1,
            kv_heads=1, head_dim=1, vocabulary=1, parameters=0.0, active=0.0, source="the scenario",
        )  # fmt: skip


def _bare_model(word: str) -> dict[str, Any]:
    if word not in ARCHITECTURES:
        raise ValueError(f"unknown model '{word}'{nearest(word, ARCHITECTURES)}")
    return {"kind": "preset", "name": word}


MODELS = Kinds("model", {"preset": Preset, "own": Own}, (), _bare_model, "own")


class Memory(Section):
    """What counts towards a GPU's memory beside the buffers of the tokens under way."""

    experts: words("own", "all") = key(
        "own", "weights of a layer on each GPU: its own share, or all experts (as in LLEP's test)"
    )
    kept: words("layer", "model") = key("layer", "weights that stay on the GPU: of one layer, or of the whole model")
    buffers: words("all", "batch") = key(
        "all", "buffers of the inner dimension: for all tokens of a GPU at once, or for one expert's at a time"
    )


class Moe(Section):
    """Layers of a mixture of experts on a group of GPUs: gate, dispatch, experts, combine, step after step."""

    kind: Literal["moe"] = "moe"
    model: one_of(MODELS) = key(says="a preset's name (list models), or the shape of a model of one's own")
    tokens_per_gpu: int = key(says="tokens that enter a layer on each GPU", ge=1, le=2**24)
    routing: one_of(ROUTINGS) = key(Balanced(), "which experts the tokens choose")
    layers: int | Literal["all"] = key(1, "MoE layers of a step; all: the model's")
    steps: int = key(1, "steps, one after another", ge=1)
    scope: words("moe", "model") = key("moe", "moe: MoE blocks alone; model: attention and dense blocks too")
    phase: words("prefill", "decode") = key("prefill", "scope model: attention over new sequences, or one token each")
    sequence: int = key(4096, "scope model: tokens of a sequence (prefill) or of its context (decode)", ge=1)
    expert_parallel: int | None = key(None, "GPUs that share the experts; absent: all of them", ge=1)
    tensor_parallel: int = key(1, "GPUs that share every expert's inner dimension", ge=1)
    dispatch_dtype: words(*_DTYPES) = key("bf16", "tokens on the way to their experts; fp8 with a scale per 128", _LLEP)
    combine_dtype: words(*_DTYPES) = key("bf16", "tokens on the way back", _LLEP)
    expert_dtype: words(*_DTYPES) = key("bf16", "weights and arithmetic of the experts", _LLEP)
    kernels: words("grouped", "loop") = key(
        "grouped", "grouped: one fused kernel for all experts of a GPU; loop: three kernels an expert, tokens sorted"
    )
    micro_batches: int = key(1, "parts of a step whose computing overlaps the other parts' communication", ge=1, le=8)
    messages: words("auto", *MESSAGES) = key("auto", "measured cost of messages; auto: as the collective policy's")
    memory: Memory = key(Memory(), "what counts towards a GPU's memory")

    @model_validator(mode="after")
    def _fits(self) -> Moe:
        given = self.model_fields_set
        if self.architecture().dense:
            able = ", ".join(name for name, one in ARCHITECTURES.items() if not one.dense)
            raise fault(f"{self.architecture().name} is dense; models with experts: {able}", "model")
        if self.layers != "all" and self.layers < 1:
            raise fault(f"there is at least 1 layer, not {self.layers}", "layers")
        if self.tokens_per_gpu % self.micro_batches:
            text = f"{self.tokens_per_gpu} tokens don't divide into {self.micro_batches} micro-batches"
            raise fault(text, "micro_batches")
        if self.scope == "moe":
            for name in sorted(given & {"phase", "sequence"}):
                raise fault(f"'{name}' belongs to scope: model", name)
        elif isinstance(self.model, Own):
            raise fault("scope: model needs a preset, which knows the attention", "scope")
        return self

    def idle(self) -> set[str]:
        return {"phase", "sequence"} if self.scope == "moe" else set()

    def architecture(self) -> Architecture:
        architecture: Architecture = self.model.architecture()
        return architecture

    def layer_kinds(self) -> list[str]:
        """Of one step, in order: with the whole model the dense layers come first."""
        arch = self.architecture()
        dense = arch.dense_layers if self.scope == "model" and self.layers == "all" else 0
        return [DENSE] * dense + [EXPERTS] * (arch.moe_layers if self.layers == "all" else self.layers)

    def group_size(self, hosts: int) -> int:
        """GPUs that hold the experts once: expert_parallel ranks of tensor_parallel GPUs."""
        return (self.expert_parallel or max(1, hosts // self.tensor_parallel)) * self.tensor_parallel

    def groups(self, hosts: int) -> list[list[int]]:
        """Hosts of each group, in order of number."""
        size = self.group_size(hosts)
        return [list(range(first, first + size)) for first in range(0, hosts, size)]

    def layer_memory(self) -> LayerMemory:
        return LayerMemory(self.architecture(), self.expert_dtype, self.memory.buffers == "batch", self.tensor_parallel)

    def weights(self, group: int) -> int:
        """Bytes of weights on every GPU of a group of that many."""
        arch, memory = self.architecture(), self.layer_memory()
        whole = self.memory.kept == "model"
        experts = arch.experts if self.memory.experts == "all" else arch.experts * self.tensor_parallel // group
        size = (arch.moe_layers if whole else 1) * (experts + arch.shared_experts) * memory.expert_bytes
        if self.scope == "model":
            size += (arch.layers if whole else 1) * memory.attention_bytes
            size += arch.dense_layers * memory.dense_bytes if whole else 0
        return size


_RANKS = re.compile(r"(\d+)(?:-(\d+))?\Z")


def ranks_of(text: str) -> range:
    """The GPUs that ``3`` or ``0-7`` names. ValueError for anything else."""
    found = _RANKS.match(text)
    if not found:
        raise ValueError(f"a GPU or a range of GPUs is due, such as 3 or 0-7, not '{text}'")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError(f"the range '{text}' runs backwards")
    return range(first, last + 1)


def _kind(value: object) -> object:
    if not isinstance(value, str) or value not in GPUS:
        hint = nearest(value, GPUS) if isinstance(value, str) else ""
        raise ValueError(f"unknown GPU {shown(value)}{hint}")
    return value


Kind = Annotated[str, BeforeValidator(_kind)]


class GpuChange(Section):
    """What is different on some GPUs."""

    kind: Kind | None = key(None, "preset; absent: as the others")
    memory: Size | None = key(None, "memory; absent: the preset's", gt=0)
    slowdown: float | None = key(None, "a straggler: factor on every kernel's time", gt=0, le=1e6)
    noise: float | None = key(None, "sigma of a log-normal factor on every kernel's time", ge=0, le=5)

    @model_validator(mode="after")
    def _something(self) -> GpuChange:
        if not self.model_fields_set:
            raise absent("kind", "a change names kind, memory, slowdown or noise")
        return self


def _changes(value: object) -> object:
    """Ranks as text: YAML reads a bare 3 as a number."""
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for name, change in value.items():
        try:
            ranks_of(str(name))
        except ValueError as error:
            raise fault(str(error), name) from None
        result[str(name)] = change
    return result


class Gpus(Section):
    """The GPUs behind the hosts: rank r is host r."""

    kind: Kind = key("h200_sxm", "preset (list hardware): memory and cost models", _LLEP)
    memory: Size | None = key(None, "memory; absent: the preset's", gt=0)
    slowdown: float = key(1.0, "factor on every kernel's time", gt=0, le=1e6)
    noise: float = key(0.0, "sigma of a log-normal factor on every kernel's time, drawn for each", ge=0, le=5)
    only: Annotated[mapping_of(GpuChange, "GPUs to changes"), BeforeValidator(_changes)] = key(
        {}, "what is different on some GPUs, by rank (3) or range (0-7); later entries win"
    )
