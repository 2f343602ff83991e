"""Attention costs: the physics at its limits, the shipped fits against their rows, mixed batches, marks and faults."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.calibrate import attention as calibrate
from analysis.calibrate import common
from analysis.calibrate.kriging import Field, krige
from models.calibrated import fitted
from models.compute.attention import AttentionModel, check, predict
from models.hardware import GPUS

MEASURED = ("a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm")


def _model(gpu: str = "h100_sxm") -> AttentionModel:
    return AttentionModel(fitted(gpu, "attention"))


def test_long_prefill_grows_with_the_square_of_the_length() -> None:
    model = _model()
    short, long = (model.us("context", 4, length, length, 32, 8)[0] for length in (4096, 16384))
    assert long / short == pytest.approx(16, rel=0.25)


@pytest.mark.parametrize("gpu", MEASURED)
def test_decode_of_long_contexts_is_bound_by_memory(gpu: str) -> None:
    time, extrapolated = _model(gpu).us("generation", 32, 1, 8192, 32, 8)
    size = 2 * 2 * 128 * 32 * 8 * 8192  # 1.1 GB
    assert size / GPUS[gpu].memory_bandwidth * 1e6 < time < 1.6 * size / GPUS[gpu].memory_bandwidth * 1e6
    assert not extrapolated


def test_decode_out_of_the_cache_is_cheaper_than_out_of_memory() -> None:
    # 128 sequences of 1024 and of 2048 tokens, one KV head: 67 and 134 MB; the B200's L2 holds 126 MiB.
    model = _model("b200_sxm")
    held, spilled = (model.us("generation", 128, 1, kv, 8, 1)[0] for kv in (1024, 4096))
    assert spilled / held > 3


def test_a_chunk_costs_between_a_fresh_prompt_and_the_whole_context() -> None:
    model = _model()
    fresh, _ = model.us("context", 1, 1024, 1024, 32, 8)
    chunk, extrapolated = model.us("context", 1, 1024, 8192, 32, 8)
    whole, _ = model.us("context", 1, 8192, 8192, 32, 8)
    assert fresh < chunk < whole
    assert extrapolated


@pytest.mark.parametrize("gpu", MEASURED)
def test_shipped_fit_holds_at_its_measured_rows(gpu: str) -> None:
    table = common.shipped_table("attention", gpu)
    answer = predict(table, fitted(gpu, "attention"))
    error = np.abs(answer.us / table["time_us"] - 1)
    assert np.median(error) < 0.02
    assert np.quantile(error, 0.9) < 0.06
    assert not answer.extrapolated.any()


@pytest.mark.parametrize("gpu", MEASURED)
def test_stated_errors_of_held_out_rows(gpu: str) -> None:
    errors = fitted(gpu, "attention")["errors"]
    assert errors["random"]["median"] <= 0.025
    assert errors["random"]["p90"] <= 0.09
    blocks = [table for name, table in errors.items() if name not in ("size", "random")]
    assert len(blocks) >= 2
    assert all(block["median"] <= 0.12 for block in blocks)


def test_a_fit_predicts_rows_that_it_has_not_seen() -> None:
    table = common.shipped_table("attention", "h200_sxm")
    table = common.take(table, (table["phase"] == "generation") & (table["num_heads"] >= 32))
    mask = common.split(calibrate, table)
    body = calibrate.fit(common.take(table, ~mask), "h200_sxm")
    rest = common.take(table, mask)
    error = np.abs(predict(rest, body).us / rest["time_us"] - 1)
    assert np.median(error) < 0.035


def test_mixed_batches_as_measured() -> None:
    table = common.shipped_table("attention", "rtx_4090")
    table = common.take(table, table["phase"] == "mixed")
    answer = predict(table, fitted("rtx_4090", "attention"))
    error = np.abs(answer.us / table["time_us"] - 1)
    assert np.median(error) < 0.04
    assert not answer.extrapolated.any()


def test_mixed_batches_where_they_were_not_measured() -> None:
    model = _model()
    prefill, _ = model.us("context", 1, 512, 4096, 32, 8)
    decode, _ = model.us("generation", 32, 1, 2048, 32, 8)
    both, extrapolated = model.mixed(512, 3584, 32, 2048, 32, 8)
    assert max(prefill, decode) < both < prefill + decode
    assert extrapolated
    assert model.mixed(0, 0, 32, 2048, 32, 8) == model.us("generation", 32, 1, 2048, 32, 8)


@pytest.mark.parametrize(
    ("shape", "marked"),
    [
        ((8, 1, 1024, 32, 8, 128), False),
        ((8, 1, 3000, 32, 8, 128), False),
        ((8, 1, 1024, 48, 8, 128), True),
        ((8, 1, 1024, 32, 8, 64), True),
        ((4096, 1, 1024, 32, 8, 128), True),
        ((2048, 1, 65536, 32, 8, 128), True),
    ],
)
def test_marks_what_lies_outside_the_measured_range(shape: tuple[int, ...], marked: bool) -> None:
    batch, isl, kv, heads, kv_heads, dim = shape
    time, extrapolated = _model().us("generation", batch, isl, kv, heads, kv_heads, dim)
    assert time > 0
    assert extrapolated is marked


def test_faults_across_columns_are_named() -> None:
    table = {
        "phase": np.array(["context", "generation", "mixed"], object),
        "num_heads": np.array([32, 12, 32]),
        "num_key_value_heads": np.array([8, 8, 8]),
        "batch_size": np.array([1, 1, 1]),
        "isl": np.array([64, 1, 1]),
        "kv_len": np.array([32, 64, 64]),
    }
    found = {(row, column) for row, column, _ in check(table)}
    assert found == {(1, "num_key_value_heads"), (0, "kv_len"), (2, "phase")}


def test_kriging_returns_to_the_law_far_from_data_and_to_the_data_near() -> None:
    generator = np.random.default_rng(5)
    points = generator.uniform(0, 10, (200, 2))
    truth = 0.3 * np.sin(points[:, 0]) + 0.1 * points[:, 1] / 10
    truth[0] += 1.5  # a spoilt measurement
    guess = krige((Field(0.3, (2.0, 4.0)),), points, truth, 0.01)
    inside = generator.uniform(1, 9, (50, 2))
    expected = 0.3 * np.sin(inside[:, 0]) + 0.1 * inside[:, 1] / 10
    far_from_spoilt = np.abs(inside - points[0]).max(1) > 1.5
    assert np.median(np.abs(guess.at(inside) - expected)[far_from_spoilt]) < 0.01
    assert np.abs(guess.at(np.array([[60.0, 60.0]]))).max() < 1e-3


def test_kriging_keeps_the_fields_of_kinds_apart() -> None:
    points = np.array([[0.0], [1.0], [0.0], [1.0]])
    kinds = np.array([[0], [0], [1], [1]])
    guess = krige((Field(0.5, (3.0,), within=(0,)),), points, np.array([0.4, 0.4, -0.4, -0.4]), 0.01, kinds)
    at = guess.at(np.array([[0.5], [0.5]]), np.array([[0], [1]]))
    assert at == pytest.approx([0.4, -0.4], abs=0.03)
