"""GPU presets: what a data sheet states, each number with its source. ``GPUS`` by name; ``gpu(name)`` complains well.

Peaks are dense (no sparsity), in flop/s, with float32 accumulation. Rates of links are bit/s in one direction. Fitted
kernel times are in ``models/calibrated``; ``calibrated`` says which system's fit stands in where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from models.errors import InputError, Problem, nearest

G, T = 10**9, 10**12
MIB = 2**20

A100 = "NVIDIA A100 80GB data sheet, 2021"
H100 = "NVIDIA H100 Tensor Core GPU data sheet, 2023"
H200 = "NVIDIA H200 Tensor Core GPU data sheet, 2024"
B200 = "NVIDIA DGX B200 data sheet, 2024 (a GPU's share of 8)"
GB200 = "NVIDIA GB200 NVL72 data sheet, 2024 (a GPU's share of 72; tensor figures halved: they are with sparsity)"
RTX_PRO = "NVIDIA RTX PRO Blackwell architecture white paper, 2025"
ADA = "NVIDIA Ada GPU architecture white paper, 2022"
FLOOR = "shortest kernel of models/measured: it includes that kernel's own time"
CUDA = "total memory that CUDA reports, as printed by PyTorch and vLLM"


@dataclass(frozen=True)
class Gpu:
    """One GPU. Bytes, bytes/s, flop/s, bit/s per direction, microseconds; ``source`` by attribute."""

    name: str
    memory_bytes: int
    memory_bandwidth: int  # bytes/s
    peak: MappingProxyType[str, int]  # dense flop/s by dtype; a dtype that is absent has no tensor-core support
    sms: int
    l2_bytes: int
    scale_up: str  # nvswitch | pcie
    scale_up_rate: int  # bit/s, one direction
    scale_up_size: int  # GPUs in one scale-up domain of the vendor's system
    nic_rate: int  # bit/s of the NIC that belongs to a GPU in the vendor's system; 0: none stated
    launch_us: float  # a kernel that does next to nothing, in a CUDA graph
    visible_bytes: int  # memory that a process can have: sheets round it, the driver keeps a little
    source: MappingProxyType[str, str]
    calibrated: MappingProxyType[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # kind of model -> system standing in

    def peak_of(self, dtype: str) -> int:
        """Dense flop/s of a dtype of the tables; block-scaled FP8 runs at the FP8 rate."""
        name = {"fp8_block": "fp8", "float16": "bfloat16", "w4a16_mxfp4": "bfloat16", "nvfp4": "fp4"}.get(dtype, dtype)
        if name not in self.peak:
            message = f"{self.name} has no {dtype}{nearest(dtype, self.peak)}"
            raise InputError([Problem("hardware", 0, 0, message)])
        return self.peak[name]


def _gpu(
    name: str,
    memory: tuple[int, int, str],
    peak: tuple[dict[str, int], str],
    chip: tuple[int, int, str],
    scale_up: tuple[str, int, int, str],
    nic: tuple[int, str],
    launch: tuple[float, str],
    visible: tuple[float, str],  # GiB
    calibrated: dict[str, str] | None = None,
) -> Gpu:
    source = {
        "memory_bytes": memory[2],
        "memory_bandwidth": memory[2],
        "peak": peak[1],
        "sms": chip[2],
        "l2_bytes": chip[2],
        "scale_up": scale_up[3],
        "scale_up_rate": scale_up[3],
        "scale_up_size": scale_up[3],
        "nic_rate": nic[1],
        "launch_us": launch[1],
        "visible_bytes": visible[1],
    }
    source |= {
        f"calibrated.{kind}": f"no measurements of its own: {other}'s" for kind, other in (calibrated or {}).items()
    }
    return Gpu(
        name=name,
        memory_bytes=memory[0],
        memory_bandwidth=memory[1],
        peak=MappingProxyType(peak[0]),
        sms=chip[0],
        l2_bytes=chip[1],
        scale_up=scale_up[0],
        scale_up_rate=scale_up[1],
        scale_up_size=scale_up[2],
        nic_rate=nic[0],
        launch_us=launch[0],
        visible_bytes=round(visible[0] * 2**30),
        source=MappingProxyType(source),
        calibrated=MappingProxyType(calibrated or {}),
    )


_HOPPER_PEAK = {"bfloat16": 989 * T, "fp8": 1979 * T}
_KINDS = ("gemm", "moe", "attention", "memory")

_ALL = (
    _gpu(
        "a100_sxm",
        memory=(80 * G, 2_039 * G, A100),
        peak=({"bfloat16": 312 * T}, A100),
        chip=(108, 40 * MIB, "NVIDIA A100 architecture white paper, 2020"),
        scale_up=("nvswitch", 2_400 * G, 8, f"{A100}: NVLink 3, 600 GB/s both directions"),
        nic=(200 * G, "NVIDIA DGX A100 data sheet: 8 ConnectX-6 for 8 GPUs"),
        launch=(2.53, FLOOR),
        visible=(79.15, CUDA),
    ),
    _gpu(
        "h100_sxm",
        memory=(80 * G, 3_350 * G, H100),
        peak=(_HOPPER_PEAK, H100),
        chip=(132, 50 * MIB, "NVIDIA H100 architecture white paper, 2022"),
        scale_up=("nvswitch", 3_600 * G, 8, f"{H100}: NVLink 4, 900 GB/s both directions"),
        nic=(400 * G, "NVIDIA DGX H100 data sheet: 8 ConnectX-7 for 8 GPUs"),
        launch=(2.65, FLOOR),
        visible=(79.19, CUDA),
    ),
    _gpu(
        "h200_sxm",
        memory=(141 * G, 4_800 * G, H200),
        peak=(_HOPPER_PEAK, H200),
        chip=(132, 50 * MIB, "NVIDIA H100 architecture white paper, 2022 (the same die)"),
        scale_up=("nvswitch", 3_600 * G, 8, f"{H200}: NVLink 4, 900 GB/s both directions"),
        nic=(400 * G, "NVIDIA DGX H200 data sheet: 8 ConnectX-7 for 8 GPUs"),
        launch=(2.61, FLOOR),
        visible=(139.80, CUDA),
    ),
    _gpu(
        "b200_sxm",
        memory=(180 * G, 8_000 * G, B200),
        peak=({"bfloat16": 2_250 * T, "fp8": 4_500 * T, "fp4": 9_000 * T}, B200),
        chip=(148, 126 * MIB, "cudaDeviceProp of a B200: 148 multiprocessors, 126 MiB L2"),
        scale_up=("nvswitch", 7_200 * G, 8, f"{B200}: NVLink 5, 1.8 TB/s both directions"),
        nic=(400 * G, "NVIDIA DGX B200 data sheet: 8 ConnectX-7 for 8 GPUs"),
        launch=(1.86, FLOOR),
        visible=(178.35, CUDA),
    ),
    _gpu(
        "gb200",
        memory=(186 * G, 8_000 * G, GB200),
        peak=({"bfloat16": 2_500 * T, "fp8": 5_000 * T, "fp4": 10_000 * T}, GB200),
        chip=(148, 126 * MIB, "as b200_sxm: the same die"),
        scale_up=("nvswitch", 7_200 * G, 72, f"{GB200}: NVLink 5, 1.8 TB/s both directions"),
        nic=(400 * G, "NVIDIA DGX GB200 data sheet: 4 ConnectX-7 for 4 GPUs of a tray"),
        launch=(1.86, "as b200_sxm"),
        visible=(184.31, CUDA),
        calibrated={kind: "b200_sxm" for kind in _KINDS if kind != "moe"},
    ),
    _gpu(
        "h800",
        memory=(80 * G, 3_350 * G, "as h100_sxm"),
        peak=(_HOPPER_PEAK, "as h100_sxm: the same die, tensor rates uncut"),
        chip=(132, 50 * MIB, "as h100_sxm: the same die"),
        scale_up=(
            "nvswitch",
            1_600 * G,
            8,
            "NVLink cut to 400 GB/s both directions: DeepSeek-AI, ISCA 2025, arXiv:2505.09343",
        ),
        nic=(400 * G, "DeepSeek-AI, ISCA 2025, arXiv:2505.09343: 8 ConnectX-7 for 8 GPUs"),
        launch=(2.65, "as h100_sxm"),
        visible=(79.19, "as h100_sxm"),
        calibrated=dict.fromkeys((*_KINDS, "collective"), "h100_sxm"),
    ),
    _gpu(
        "rtx_pro_6000",
        memory=(96 * G, 1_792 * G, f"{RTX_PRO}, Workstation Edition"),
        peak=({"bfloat16": 503_800 * G, "fp8": 1_007_600 * G, "fp4": 2_015_200 * G}, RTX_PRO),
        chip=(188, 128 * MIB, RTX_PRO),
        scale_up=("pcie", 512 * G, 1, "PCIe 5.0 x16: 32 GT/s, 64 GB/s a direction before encoding"),
        nic=(0, "no vendor system: state the NIC in the scenario"),
        launch=(2.68, FLOOR),
        visible=(94.97, CUDA),
    ),
    _gpu(
        "rtx_4090",
        memory=(24 * G, 1_008 * G, ADA),
        peak=({"bfloat16": 165_200 * G, "fp8": 330_300 * G}, ADA),
        chip=(128, 72 * MIB, ADA),
        scale_up=("pcie", 256 * G, 1, "PCIe 4.0 x16: 16 GT/s, 32 GB/s a direction before encoding"),
        nic=(0, "no vendor system: state the NIC in the scenario"),
        launch=(2.59, FLOOR),
        visible=(23.65, CUDA),
        calibrated={"collective": "l40s"},
    ),
)

GPUS: MappingProxyType[str, Gpu] = MappingProxyType({one.name: one for one in _ALL})


def nearest_gpu(name: str) -> str:
    """``; did you mean 'h200_sxm'?``: a preset that begins so, else the closest."""
    begins = [known for known in GPUS if name and known.startswith(name.lower())]
    return f"; did you mean '{begins[0]}'?" if begins else nearest(name, GPUS)


def gpu(name: str) -> Gpu:
    """The preset of a name; ``InputError`` with the nearest name if there is none."""
    if name not in GPUS:
        raise InputError([Problem("hardware", 0, 0, f"unknown GPU '{name}'{nearest_gpu(name)}")])
    return GPUS[name]
