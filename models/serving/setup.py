"""What decides the cost of an iteration: the model, the GPUs that share it, and the choices of its engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.architectures import Architecture
from models.compute import GpuModel

Kind = Literal["calibrated", "linear", "splitwise"]


@dataclass(frozen=True)
class Setup:
    """One replica: ``data_parallel`` ranks that step together, each on ``tensor_parallel`` GPUs of kind ``gpu``.

    ``gpu``: a preset, or a file that ``calibrate`` wrote. ``communication``: whether collectives are part of the cost
    (flows carry them otherwise). ``step_us``, ``sequence_us``: the engine's own time an iteration and a sequence in it;
    None: none, as vLLM prepares an iteration while the GPU runs the one before. ``skew``: spread of the experts'
    popularity; None: as measured models of this granularity have it (``models.serving.experts``).
    """

    architecture: Architecture
    gpu: str
    tensor_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    dtype: str = "bf16"  # of the linear layers: bf16, fp8, nvfp4; mxfp4: experts only, the others bf16
    cache_dtype: str = "bf16"  # of the KV cache: bf16, fp8
    token_budget: int = 2048
    max_sequences: int = 128
    draft_tokens: int = 0
    step_us: float | None = None
    sequence_us: float = 0.0
    communication: bool = True
    kind: Kind = "calibrated"
    capped: bool = False  # whole iterations: under the measured power cap
    skew: float | None = None
    # of the linear law, microseconds
    linear_step_us: float = 0.0
    prefill_token_us: float = 0.0
    decode_sequence_us: float = 0.0
    context_token_us: float = 0.0

    @property
    def chip(self) -> str:
        """The preset of the GPU, also where ``gpu`` is a file."""
        return GpuModel(self.gpu).name

    @property
    def lockstep(self) -> bool:
        """Whether the ranks need each other in every layer: they share the experts."""
        return self.data_parallel > 1 and self.architecture.moe_layers > 0

    @property
    def captured(self) -> int:
        """Largest batch that a CUDA graph is captured for: vLLM's default."""
        return min(2 * self.max_sequences, 512)

    @property
    def most_tokens(self) -> int:
        """Of one rank's iteration."""
        return max(self.token_budget, self.max_sequences * (1 + self.draft_tokens), self.captured)
