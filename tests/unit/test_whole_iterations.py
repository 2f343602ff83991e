"""Whole iterations by table: measured points come back, points left out nearly so, and sums behave between them."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InputError
from models.serving import tables
from models.serving.tables import BATCHED, DECODED, MEAN, OUTSIDE, curves, flat, measured, table_of, table_us


def prefill(cost: np.ndarray, *prompts: int, past: int = 0, sequences: int = 0, context: float = 0.0) -> float:
    chunks = np.array([(new, past) for new in prompts], np.float64).reshape(-1, 2)
    return float(table_us(cost, chunks, len(prompts), float(sequences), context))


def decode(cost: np.ndarray, sequences: float, context: float) -> float:
    return float(table_us(cost, np.zeros((1, 2)), 0, sequences, context))


@pytest.mark.parametrize(("model", "hardware", "shards"), measured())
def test_measured_points_come_back(model: str, hardware: str, shards: int) -> None:
    cost, points = table_of(model, hardware, shards), curves(model, hardware, shards)
    for tokens, us in zip(*points["singles"], strict=True):
        assert prefill(cost, int(tokens)) == pytest.approx(us, rel=1e-9)
    for tokens, us in zip(*points["batches"], strict=True):
        assert prefill(cost, *[BATCHED] * int(tokens // BATCHED)) == pytest.approx(us, rel=1e-9)
    for sequences, us in zip(*points["decodes"], strict=True):
        assert decode(cost, sequences, sequences * MEAN) == pytest.approx(us, rel=1e-9)
    assert cost[OUTSIDE] == 0


def test_errors_of_points_left_out_are_those_stated() -> None:
    errors: dict[str, list[float]] = {"singles": [], "batches": [], "decodes": []}
    for key in measured():
        points = curves(*key)
        for name, found in errors.items():
            x, y = points[name]
            for at in range(1, len(x) - 1):
                cost = flat(points | {name: (np.delete(x, at), np.delete(y, at))})
                count = int(x[at])
                if name == "decodes":
                    us = decode(cost, count, count * MEAN)
                else:
                    us = prefill(cost, *([count] if name == "singles" else [BATCHED] * (count // BATCHED)))
                found.append(abs(us / y[at] - 1))
    medians = {name: float(np.median(found)) for name, found in errors.items()}
    assert medians == pytest.approx({"singles": 0.083, "batches": 0.041, "decodes": 0.015}, abs=0.001)
    for name, limit in (("singles", 0.29), ("batches", 0.29), ("decodes", 0.09)):
        assert max(errors[name]) < limit


def test_context_of_single_sequences() -> None:
    """Rows with longer answers set nothing: the slope gives them back."""
    rows, errors = tables._rows(), []
    for model, hardware, shards in measured():
        cost = table_of(model, hardware, shards)
        mine = (rows["model"] == model) & (rows["hardware"] == hardware) & (rows["tensor_parallel"] == shards)
        for at in np.flatnonzero(mine & (rows["output_tokens"] > DECODED)):
            context = rows["prompt_tokens"][at] + rows["output_tokens"][at] / 2
            errors.append(abs(decode(cost, 1, context) / rows["token_us"][at] - 1))
    assert len(errors) == 72
    assert np.median(errors) < 0.02
    assert max(errors) < 0.09


def test_memory_that_ran_out_is_left_out() -> None:
    assert curves("llama-2-70b", "a100_sxm", 2)["decodes"][0][-1] == 32
    assert curves("llama-2-70b", "a100_sxm", 4)["decodes"][0][-1] == 64


def test_between_points_and_in_mixed_iterations() -> None:
    cost = table_of("llama-2-70b", "h100_sxm", 8)
    assert prefill(cost, 3000) == pytest.approx(np.exp(np.interp(np.log(3000), *map(np.log, curves(
        "llama-2-70b", "h100_sxm", 8)["singles"]))))  # fmt: skip
    assert prefill(cost, 1024, 1024) == pytest.approx(float(np.sqrt(prefill(cost, 2048) * prefill(cost, *[512] * 4))))
    assert prefill(cost, 64) == prefill(cost, 128)
    assert prefill(cost, 512, past=4096) > prefill(cost, 512)
    alone = prefill(cost, 2048)
    assert alone < prefill(cost, 2048, sequences=16, context=16 * 1000.0) < alone + decode(cost, 16, 16_000)
    assert prefill(cost, 16, sequences=64, context=64 * MEAN) >= decode(cost, 64, 64 * MEAN)
    assert cost[OUTSIDE] == 0
    prefill(cost, 9000)
    decode(cost, 65, 1000)
    assert cost[OUTSIDE] == 2


def test_what_was_not_measured_is_named() -> None:
    with pytest.raises(InputError, match=r"iterations of llama-3\.1-8b on 1 h100_sxm; measured: bloom-176b on 8"):
        table_of("llama-3.1-8b", "h100_sxm", 1)
    assert prefill(table_of("llama-2-70b", "h100_sxm", 8, capped=True), 8192) > prefill(
        table_of("llama-2-70b", "h100_sxm", 8), 8192
    )
