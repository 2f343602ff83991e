"""Grouped mixture-of-experts costs: routings, the law's limits, shipped fits against their rows, marks and faults."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.calibrate import common
from analysis.calibrate import moe as calibrate
from models.calibrated import fitted, fitted_file, path_of
from models.compute.moe import GroupedModel, check, filled, predict, spread_stats
from models.compute.moe_loads import heaviest_rank, routing_of

MEASURED = ("a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm")


def _model(gpu: str = "h200_sxm") -> GroupedModel:
    return GroupedModel(fitted(gpu, "moe"))


def test_balanced_routing_spreads_tokens_evenly() -> None:
    loads = heaviest_rank(1024, 128, 128, 8, 4, 0.0, False, 0)
    assert loads.tolist() == [64] * 32
    # one token takes experts 0, 16, 32, ...: two on each rank
    assert heaviest_rank(1, 128, 128, 8, 4, 0.0, False, 0).sum() == 2


@pytest.mark.parametrize("tokens", [3, 64, 5000])
def test_power_law_loads_add_up_and_the_heaviest_rank_is_first(tokens: int) -> None:
    whole = heaviest_rank(tokens, 128, 128, 8, 1, 1.2, False, 3)
    assert whole.sum() == tokens * 8
    parts = whole.reshape(8, 16)
    assert heaviest_rank(tokens, 128, 128, 8, 8, 1.2, False, 3).tolist() == parts[parts.sum(1).argmax()].tolist()


def test_spare_slots_and_packing_lower_the_heaviest_rank() -> None:
    plain = heaviest_rank(4096, 256, 256, 8, 8, 1.2, False, 1)
    packed = heaviest_rank(4096, 256, 256, 8, 8, 1.2, True, 1)
    spare = heaviest_rank(4096, 256, 288, 8, 8, 1.2, True, 1)
    assert len(spare) == 36
    assert 4096 <= packed.sum() < plain.sum()
    assert 4096 <= spare.sum() <= packed.sum() + 1
    assert spare.max() < packed.max()


def test_names_of_routings() -> None:
    assert routing_of("balanced") == (0.0, False)
    assert routing_of("power_law_1.2_eplb") == (1.2, True)
    assert routing_of("power_law") is None
    assert routing_of("zipf") is None


def test_spread_stats_counts_tiles() -> None:
    stats = spread_stats(np.array([100]), np.array([8]))  # four of 13, four of 12
    assert stats.tolist() == [[8, 100, 128, 512, 1024, 4 * 13**2 + 4 * 12**2]]


@pytest.mark.parametrize("gpu", MEASURED)
def test_few_tokens_cost_the_weights_of_the_active_experts(gpu: str) -> None:
    model = _model(gpu)
    one, _ = model.us("bfloat16", 4096, 1536, np.array([8] * 16 + [0] * 112))
    four, _ = model.us("bfloat16", 4096, 1536, np.array([8] * 64 + [0] * 64))
    rate = 64 * 3 * 4096 * 1536 * 2 / four * 1e6  # bytes/s
    assert 2.5 < four / one < 4.2
    assert rate < 1.05 * 8e12


def test_many_tokens_cost_the_tensor_work() -> None:
    model = _model()
    low, _ = model.us("bfloat16", 4096, 14336, np.full(8, 2048))
    high, _ = model.us("bfloat16", 4096, 14336, np.full(8, 4096))
    assert high / low == pytest.approx(2, rel=0.15)
    assert 0.4e15 < 8 * 4096 * 6 * 4096 * 14336 / high * 1e6 < 0.989e15


def test_no_tokens_cost_nothing() -> None:
    assert _model().us("bfloat16", 4096, 1536, np.zeros(4, np.int64))[0] == 0.0


@pytest.mark.parametrize(
    ("experts", "milliseconds"), [(4, 13.22), (16, 13.64), (32, 13.50), (64, 14.54), (128, 17.30), (256, 18.90)]
)
def test_fused_grouped_gemm_of_another_source(experts: int, milliseconds: float) -> None:
    """65,536 rows over N experts, one 8192 x 8192 matrix, H200, Triton: arXiv:2601.17111, figure 8. Three in ours."""
    time, _ = _model().us("bfloat16", 8192, 8192, np.full(experts, 65536 // experts))
    assert time / 3e3 == pytest.approx(milliseconds, rel=0.25)


@pytest.mark.parametrize("gpu", MEASURED)
def test_shipped_fit_holds_at_its_measured_rows(gpu: str) -> None:
    table = common.shipped_table("moe", gpu)
    table = common.take(table, np.arange(0, len(table["num_tokens"]), 7))
    answer = predict(table, fitted(gpu, "moe"))
    error = np.abs(answer.us / table["time_us"] - 1)
    assert np.median(error) < 0.02
    assert np.quantile(error, 0.9) < 0.06
    assert not answer.extrapolated.any()


@pytest.mark.parametrize("gpu", MEASURED)
def test_stated_errors_of_held_out_rows(gpu: str) -> None:
    errors = fitted(gpu, "moe")["errors"]
    assert errors["random"]["median"] <= 0.025
    assert errors["random"]["p90"] <= 0.09


def test_rows_wrongly_called_balanced_are_answered_as_measured_and_kept_out_of_the_law() -> None:
    table = filled(common.shipped_table("moe", "h200_sxm"))
    trapped = calibrate.trapped(table)
    wanted = trapped & (table["moe_ep_size"] == 8) & (table["num_tokens"] == 4096) & (table["num_experts"] == 256)
    row = common.take(table, np.flatnonzero(wanted)[:1])
    answer = predict(row, fitted("h200_sxm", "moe"))
    assert answer.us[0] == pytest.approx(row["time_us"][0], rel=0.1)
    even, _ = _model().us("fp8_block", 7168, 2048, np.full(32, 4096 * 8 // 256), str(row["kernel"][0]))
    assert even < 0.6 * answer.us[0]


def test_kernel_and_layout_may_be_left_out() -> None:
    table = {
        "dtype": np.array(["bfloat16"] * 2, object),
        "hidden_size": np.array([4096, 4000]),
        "inter_size": np.array([1536, 1500]),
        "num_experts": np.array([128, 60]),
        "topk": np.array([8, 4]),
        "moe_ep_size": np.array([1, 2]),
        "distribution": np.array(["balanced", "power_law_0.7"], object),
        "num_tokens": np.array([4096, 1000]),
    }
    assert check(table) == []
    answer = predict(table, fitted("h100_sxm", "moe"))
    assert answer.us[0] == pytest.approx(2711, rel=0.05)  # as measured
    assert answer.us[1] > 0


def test_stands_in_for_dtypes_that_a_gpu_lacks_and_marks_them() -> None:
    model = GroupedModel(fitted_file(path_of("gb200", "moe"))["gb200"]["moe"])
    tokens = np.full(32, 128)
    assert not model.us("nvfp4", 7168, 2048, tokens, "cutlass")[1]
    assert model.us("bfloat16", 4096, 1536, tokens)[1]


def test_faults_across_columns_are_named() -> None:
    table = {
        "dtype": np.array(["bfloat16"] * 4, object),
        "hidden_size": np.full(4, 4096),
        "inter_size": np.full(4, 1536),
        "num_experts": np.full(4, 128),
        "topk": np.array([8, 256, 8, 8]),
        "moe_tp_size": np.array([1, 1, 1, 5]),
        "moe_ep_size": np.array([1, 1, 3, 1]),
        "distribution": np.array(["sorted", "balanced", "balanced", "balanced"], object),
        "num_tokens": np.full(4, 64),
    }
    found = {(row, column) for row, column, _ in check(table)}
    assert found == {(0, "distribution"), (1, "topk"), (2, "moe_ep_size"), (3, "moe_tp_size")}
