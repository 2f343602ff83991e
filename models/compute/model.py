"""One GPU's costs: GEMM, grouped GEMM of experts, attention, memory traffic, launch. What the simulator asks."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Body, body_of, fitted_file
from models.hardware import GPUS, gpu, nearest_gpu


class GpuModel:
    """Costs of one GPU in microseconds; each kind's fit is read when it is first asked.

    ``hardware``: a preset's name, or the path of a file that ``calibrate`` wrote for a preset's system; kinds that the
    file lacks come from that preset. Answers outside a fit's range are counted in ``extrapolated`` by model kind.
    """

    def __init__(self, hardware: str) -> None:
        self.hardware = hardware
        self.name = hardware if hardware in GPUS else _system(hardware)
        self.gpu = gpu(self.name)
        self.launch_us = self.gpu.launch_us
        self.extrapolated: Counter[str] = Counter()

    def body(self, kind: str) -> Body:
        """The fit of a kind: the file's own, else the preset's."""
        own = self.hardware != self.name and kind in fitted_file(self.hardware)[self.name]
        return body_of(self.hardware if own else self.name, kind)

    @functools.cached_property
    def _gemm(self) -> Any:
        from models.compute.gemm import GemmModel

        return GemmModel(self.body("gemm"))

    @functools.cached_property
    def _grouped(self) -> Any:
        from models.compute.moe import GroupedModel

        return GroupedModel(self.body("moe"))

    @functools.cached_property
    def _attention(self) -> Any:
        from models.compute.attention import AttentionModel

        return AttentionModel(self.body("attention"))

    @functools.cached_property
    def _memory(self) -> Any:
        from models.compute.memory import MemoryModel

        return MemoryModel(self.body("memory"))

    def _counted(self, kind: str, answer: tuple[float, bool]) -> float:
        if answer[1]:
            self.extrapolated[kind] += 1
        return answer[0]

    def gemm(self, dtype: str, m: int, n: int, k: int) -> float:
        """y[m, n] = x[m, k] W[k, n]; 0 without rows."""
        return self._counted("gemm", self._gemm.us(dtype, m, n, k)) if m > 0 else 0.0

    def grouped(
        self, dtype: str, hidden: int, inner: int, tokens: NDArray[np.int64], kernel: str | None = None
    ) -> float:
        """Fused SwiGLU experts of this GPU: ``tokens[expert]`` rows each, ``inner`` of its shard."""
        return self._counted("moe", self._grouped.us(dtype, hidden, inner, tokens, kernel))

    def expert_kernels(self, dtype: str) -> list[str]:
        """The kernels of experts that have times of a dtype; empty if there are none."""
        name = self._grouped.kernel_of(dtype, "")[0]
        return [kernel for one, kernel in self._grouped.laws if one == name]

    def attention(
        self,
        phase: str,
        batch: int,
        isl: int,
        kv_len: int,
        heads: int,
        kv_heads: int,
        head_dim: int = 128,
        dtype: str = "bfloat16",
    ) -> float:
        """``context``: isl new tokens that end at kv_len, for each of batch; ``generation``: one token each."""
        answer = self._attention.us(phase, batch, isl, kv_len, heads, kv_heads, head_dim, dtype)
        return self._counted("attention", answer)

    def memory(self, size: int) -> float:
        """Element-wise work or a copy: bytes read plus bytes written; 0 for none."""
        return self._counted("memory", self._memory.us(size)) if size > 0 else 0.0


def _system(path: str) -> str:
    """The system of a fitted file; an unknown name and a file of several systems are wrong input."""
    from models.errors import InputError, Problem

    if not Path(path).is_file():
        raise InputError([Problem("hardware", 0, 0, f"unknown GPU '{path}'{nearest_gpu(path)}")])
    systems = list(fitted_file(path))
    if len(systems) != 1 or systems[0] not in GPUS:
        message = f"holds {', '.join(systems)}; one system that is a preset is expected: {', '.join(GPUS)}"
        raise InputError([Problem(path, 0, 0, message)])
    return systems[0]


def gpu_model(hardware: str) -> GpuModel:
    """A GPU's costs, with its own count of extrapolated answers."""
    return GpuModel(hardware)
