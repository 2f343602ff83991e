"""Dispatchers on measured routing: what must hold between the rows of the table, whatever the times are."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from benchmarks.moe_runs import load_one
from benchmarks.reproduce import routing
from benchmarks.reproduce.routing import GPUS, NAME, Row, Source

LAYER = 8
SOURCE: Source = routing.SOURCES[0]._replace(layers=(LAYER,))


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {policy: routing.run(SOURCE, policy, one) for policy, one in routing.variants(SOURCE).items()}


def busiest(row: Row, step: int) -> float:
    return row.mean("max_over_mean", step)


def test_every_copy_is_computed_or_counted_as_dropped(rows: dict[str, Row]) -> None:
    for name, row in rows.items():
        computed = sum(int(plan.load.sum()) for plan in row.plans.values())
        lost = sum(plan.dropped - plan.added for plan in row.plans.values())
        assert computed == row.asked - lost, name
        assert row.asked == 4 * GPUS * 256 * 6
    assert {name for name, row in rows.items() if row.share("dropped")} == {"capacity_drop"}


def test_static_has_the_imbalance_of_the_counted_tokens(rows: dict[str, Row]) -> None:
    """The trace's counts are in a file of their own; 4 steps are 8,192 of its 8,222 tokens."""
    with (routing.TRACES / "deepseek_v2_lite_intent_counts.csv").open(encoding="utf-8") as file:
        counts = next(np.array(row[1:], dtype=np.int64) for row in csv.reader(file) if row[0] == str(LAYER))
    load = sum(plan.load for plan in rows["static"].plans.values())
    whole = counts.reshape(GPUS, -1).sum(axis=1)
    assert load / load.sum() == pytest.approx(whole / whole.sum(), abs=2e-3)


def test_balancers_balance(rows: dict[str, Row]) -> None:
    static = rows["static"]
    for step in range(4):
        for name in ("least_loaded", "bip", "sinkhorn", "greedy_lpt", "capacity_drop", "rectified"):
            assert busiest(rows[name], step) < busiest(static, step), name
    whole = routing.best_whole(static)
    assert rows["greedy_lpt"].last_plans()[0].load.max() <= 4 / 3 * whole[0]
    assert whole[0] >= static.last_plans()[0].load.mean()


def test_what_needs_a_past_has_none_in_the_first_step(rows: dict[str, Row]) -> None:
    static = rows["static"]
    assert busiest(rows["eplb"], 0) == busiest(static, 0)
    assert busiest(rows["eplb"], -1) < 0.5 + 0.5 * busiest(static, -1)
    assert rows["eplb"].time_us(-1) < static.time_us(-1)
    assert rows["eplb"].time_us(1) > static.time_us(1)  # weights move
    assert busiest(rows["loss_free_bias"], 0) == busiest(static, 0)


def test_the_second_interval_of_eplb_beats_static_too(rows: dict[str, Row]) -> None:
    sets = (*SOURCE.sets(), "dispatch.expert={kind: eplb, interval: 2}")
    row = routing.run(SOURCE, "eplb", load_one(NAME, *sets, variants=False))
    assert [step for (step, _), plan in row.plans.items() if len(plan.transfers)] == [1, 3]
    assert busiest(row, 3) < busiest(rows["static"], 3)


def test_one_node_has_no_locality_to_gain(rows: dict[str, Row]) -> None:
    assert rows["locality"].time_us(-1) == rows["static"].time_us(-1)
    assert busiest(rows["locality"], -1) == busiest(rows["static"], -1)


def test_memory_follows_the_busiest_gpu(rows: dict[str, Row]) -> None:
    peak = {name: row.result.peak for name, row in rows.items()}
    assert peak["bip"] < peak["static"]
    assert peak["capacity_drop"] < peak["static"]
    assert peak["eplb"] > peak["static"]  # old and new weights while they move


def test_a_placement_is_good_for_its_own_task_only() -> None:
    """26 layers of three tasks: placed for another one, EPLB leaves most of the imbalance."""
    counts = routing.tasks()
    for used, seen in counts.items():
        for known, expected in counts.items():
            ratio = np.mean([routing.placed(a, b, 1) for a, b in zip(expected, seen, strict=True)])
            assert ratio < 1.02 if used == known else ratio > 1.25
