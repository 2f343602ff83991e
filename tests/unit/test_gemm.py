"""GEMM costs: the physics has its steps, the table its measured values, the edges their mark; and GPU presets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.calibrated import fitted, pack, unpack
from models.compute import gpu_model
from models.compute.gemm import TILES, GemmModel, physical_array, table_of
from models.compute.memory import memory_array
from models.errors import InputError
from models.hardware import GPUS, gpu

#: 2 bytes, 100 SMs, floor 2 us, memory and L2 us/byte, L2 bytes, wave, split, split per byte, unaligned, steps.
PLAIN = [2.0, 100.0, 2.0, 1e-9, 1e-9, 1e7, 0.0, 1e9, 0.0, 0.0]
STEPS = [1e9, 1e9, 1e9, 1e9, 0.25, 1e9]  # only tiles of 128 x 256


def _physical(m: float, n: float = 2560.0, k: float = 640.0) -> float:
    rows = [np.array([float(value)]) for value in (m, n, k)]
    return float(physical_array(np.array(PLAIN + STEPS), *rows)[0])


def test_time_steps_with_waves_of_tiles() -> None:
    # 10 columns of tiles on 100 SMs: 10 rows of tiles, 1280 of m, fill a wave of 10 steps of 0.25 us
    assert _physical(1280) == pytest.approx(2.0 + 2.5, rel=1e-3)
    assert _physical(129) == pytest.approx(_physical(1280), rel=1e-3)
    assert _physical(1281) == pytest.approx(2.0 + 5.0, rel=1e-3)
    assert _physical(2560) == pytest.approx(_physical(1281), rel=1e-3)


def test_memory_bounds_what_computes_little() -> None:
    p = np.array([*PLAIN, *[1e-9] * len(TILES)])
    p[3] = p[4] = 1e-6
    size = (64 * 4096 + 4096 * 4096 + 64 * 4096) * 2.0
    answer = physical_array(p, np.array([64.0]), np.array([4096.0]), np.array([4096.0]))[0]
    assert answer == pytest.approx(2.0 + size * 1e-6, rel=1e-6)


def test_rows_that_are_no_multiple_of_four_pay() -> None:
    p = np.array(PLAIN + STEPS)
    p[9] = 7.0
    m, n, k = np.array([128.0, 127.0]), np.full(2, 256.0), np.full(2, 64.0)
    even, odd = physical_array(p, m, n, k)
    assert odd - even == pytest.approx(7.0, abs=0.01)


def _body(residual: np.ndarray) -> dict[str, object]:
    part = {"parameters": PLAIN + STEPS, "m": [1, 2, 64], "n": [128, 256], "k": [64, 128, 512, 1024]}
    return {"dtypes": {"bfloat16": {**part, "residual": pack(residual, 1e-3)}}}


def test_correction_holds_at_nodes_and_lies_between_them() -> None:
    generator = np.random.default_rng(3)
    residual = np.round(generator.normal(0.0, 0.2, (3, 2, 4)), 3)
    model = GemmModel(_body(residual))
    for i, m in enumerate((1, 2, 64)):
        for j, n in enumerate((128, 256)):
            for h, k in enumerate((64, 128, 512, 1024)):
                us, outside = model.us("bfloat16", m, n, k)
                assert us == pytest.approx(_physical(m, n, k) * np.exp(residual[i, j, h]), rel=1e-6)
                assert not outside
    middle, _ = model.us("bfloat16", 1, 128, 256)  # half way between 128 and 512 in log
    between = (residual[0, 0, 1] + residual[0, 0, 2]) / 2
    assert middle == pytest.approx(_physical(1, 128, 256) * np.exp(between), rel=1e-6)


def test_outside_the_nodes_the_edge_is_held_and_the_answer_marked() -> None:
    residual = np.full((3, 2, 4), 0.1)
    model = GemmModel(_body(residual))
    us, outside = model.us("bfloat16", 4096, 128, 64)
    assert outside
    assert us == pytest.approx(_physical(4096, 128, 64) * np.exp(0.1), rel=1e-6)
    answers, marks = model.array("bfloat16", [1, 4096], 128, 64)
    assert marks.tolist() == [False, True]
    assert answers[1] == us
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        model.us("bfloat", 1, 128, 64)


def test_search_finds_every_interval_of_uneven_nodes() -> None:
    nodes = [1, 2, 3, 16, 17, 256, 257, 258, 300, 9000]
    heights = np.zeros((10, 2, 2))
    heights[:, :, :] = np.arange(10)[:, None, None] / 10
    table = table_of(PLAIN + STEPS, [nodes, [64, 128], [64, 128]], heights)
    model = GemmModel({"dtypes": {"bfloat16": {"m": nodes, "n": [64, 128], "k": [64, 128]}}})
    model._tables["bfloat16"] = table
    asked = np.arange(1, 9001)
    found, _ = model.array("bfloat16", asked, 64, 64)
    plain = np.array([_physical(m, 64, 64) for m in asked])
    expected = np.interp(np.log2(asked), np.log2(nodes), np.arange(10) / 10)
    np.testing.assert_allclose(np.log(found / plain), expected, atol=1e-9)


@pytest.mark.parametrize("system", ["a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm"])
def test_shipped_fit_answers_its_measured_rows(system: str) -> None:
    from analysis.calibrate.common import shipped_table
    from models.compute.gemm import predict

    table = shipped_table("gemm", system)
    answer = predict(table, fitted(system, "gemm"))
    error = np.abs(answer.us / table["time_us"] - 1)
    assert not answer.extrapolated.any()
    assert np.median(error) < 0.03
    assert np.quantile(error, 0.75) < 0.08


@pytest.mark.parametrize("system", ["a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm"])
def test_stated_errors_of_rows_held_out(system: str) -> None:
    errors = fitted(system, "gemm")["errors"]
    assert errors["random"]["n"] > 300
    assert errors["largest quarter"]["median"] < 0.12
    assert errors["family k = 4096"]["median"] < 0.12


def test_stand_ins_take_the_same_dies_times() -> None:
    assert gpu_model("h800").gemm("bfloat16", 256, 4096, 4096) == gpu_model("h100_sxm").gemm(
        "bfloat16", 256, 4096, 4096
    )
    assert gpu_model("gb200").gemm("fp8", 256, 4096, 4096) == gpu_model("b200_sxm").gemm("fp8", 256, 4096, 4096)
    assert "h100_sxm" in GPUS["h800"].source["calibrated.gemm"]


def test_gpu_model_counts_what_lies_outside() -> None:
    one, other = gpu_model("h200_sxm"), gpu_model("h200_sxm")
    assert one.gemm("bfloat16", 0, 4096, 4096) == 0.0
    assert one.gemm("bfloat16", 64, 4096, 4096) > one.launch_us
    assert not one.extrapolated
    one.gemm("bfloat16", 100_000, 4096, 4096)
    one.gemm("bfloat16", 64, 4096, 7)
    assert one.extrapolated == {"gemm": 2}
    assert not other.extrapolated


def test_memory_time_is_bytes_over_bandwidth_where_large() -> None:
    for name in ("a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm", "rtx_4090", "rtx_pro_6000"):
        model = gpu_model(name)
        rate = 2**32 / model.memory(2**32) * 1e6
        assert 0.6 * GPUS[name].memory_bandwidth < rate < 1.15 * GPUS[name].memory_bandwidth, name
        assert model.memory(0) == 0.0
    p = np.array([2.0, 1e-6, 5e-7, 1e6])
    np.testing.assert_allclose(memory_array(p, np.array([1e6])), [2.0 + 0.75])


def test_every_number_of_a_preset_has_a_source() -> None:
    for one in GPUS.values():
        stated = {
            "memory_bytes",
            "memory_bandwidth",
            "peak",
            "sms",
            "l2_bytes",
            "scale_up_rate",
            "nic_rate",
            "launch_us",
            "visible_bytes",
        }
        assert stated <= set(one.source), one.name
        assert all(one.source.values())
        assert one.peak_of("float16") == one.peak["bfloat16"]
    with pytest.raises(InputError, match="did you mean 'h200_sxm'"):
        gpu("h200")
    with pytest.raises(InputError, match="a100_sxm has no nvfp4"):
        gpu("a100_sxm").peak_of("nvfp4")


def test_packed_tables_come_back() -> None:
    values = np.round(np.random.default_rng(1).normal(0, 1, (4, 3, 2)), 3)
    packed = json.loads(json.dumps(pack(values, 1e-3)))
    np.testing.assert_allclose(unpack(packed), values, atol=1e-12)
    with pytest.raises(ValueError, match="16 bits"):
        pack(np.array([1e6]), 1e-3)


def test_hardware_without_a_fit_says_what_has_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no measured all_to_all data for 'rtx_4090'; hardware with all_to_all: "):
        fitted("rtx_4090", "all_to_all")
    with pytest.raises(InputError, match="did you mean 'b200_sxm'"):
        gpu_model("b200")
