"""What the numbers were measured on: GPU, driver, versions and clocks, and why nothing can be measured."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from typing import Any

QUERY = {
    "driver_version": "driver",
    "clocks.sm": "sm_mhz",
    "clocks.mem": "memory_mhz",
    "clocks.max.sm": "sm_max_mhz",
    "clocks.max.mem": "memory_max_mhz",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "temperature.gpu": "temperature_c",
}
# What the driver calls a GPU -> the preset of its form factor.
SYSTEMS = (
    (r"GB200", "gb200"),
    (r"B200", "b200_sxm"),
    (r"H200(?! NVL)", "h200_sxm"),
    (r"H800(?! PCIe)", "h800"),
    (r"H100(?! PCIe| NVL)", "h100_sxm"),
    (r"A100.SXM\d", "a100_sxm"),
    (r"RTX PRO 6000", "rtx_pro_6000"),
    (r"RTX 4090(?! D| Laptop)", "rtx_4090"),
)


def missing() -> str | None:
    """Why there is nothing to measure with, in one line; None where there is a GPU."""
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = "PyTorch is not installed" if isinstance(error, ModuleNotFoundError) else "PyTorch does not load"
        return f"{reason} ({str(error).splitlines()[0]})"
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no CUDA GPU"
    return None


def system_name(gpu: str) -> str:
    """The preset of a GPU by the driver's name of it; a name of the same form where there is no preset."""
    for pattern, name in SYSTEMS:
        if re.search(rf"\b{pattern}\b", gpu):
            return name
    return re.sub(r"[^a-z0-9]+", "_", gpu.lower().removeprefix("nvidia")).strip("_")


def parse_query(line: str) -> dict[str, object]:
    """One line of nvidia-smi's CSV in the order of ``QUERY``; what it cannot read is left out."""
    found: dict[str, object] = {}
    for name, cell in zip(QUERY.values(), (cell.strip() for cell in line.split(",")), strict=False):
        if name == "driver":
            found[name] = cell
        elif re.fullmatch(r"\d+(\.\d+)?", cell):
            found[name] = float(cell) if "." in cell else int(cell)
    return found


def clocks(device: int = 0) -> dict[str, object]:
    """Driver, clocks (MHz), power (W) and temperature (C) right now; empty where nvidia-smi does not answer."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    which = ["-i", f"GPU-{uuid}"] if uuid else []
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits", *which]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_query(done.stdout.splitlines()[0]) if done.stdout.strip() else {}


def describe(device: int = 0) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(device)
    nccl = getattr(torch.cuda, "nccl", None)
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "gpu": properties.name,
        "gpus": torch.cuda.device_count(),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "sms": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_bytes": l2_bytes(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": ".".join(map(str, nccl.version())) if nccl else None,
        "python": platform.python_version(),
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }
    return found | {"clocks": clocks(device)}


def l2_bytes(device: int = 0) -> int:
    """Size of the L2 cache; 128 MiB, more than any GPU of today has, where PyTorch does not tell."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    return int(getattr(properties, "L2_cache_size", 0) or 2**27)
