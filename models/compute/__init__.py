"""Costs of compute on one GPU, evaluated by Numba from fitted tables. ``gpu_model(name)`` holds them together."""

from models.compute.model import GpuModel, gpu_model

__all__ = ["GpuModel", "gpu_model"]
