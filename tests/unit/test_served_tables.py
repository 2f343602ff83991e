"""The tables of requests: times, targets with the injected ones as denominator, parts that add up, rates, replicas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import run_sim
from analysis.load import load
from analysis.tables import summary_grids, summary_table
from models.records import TABLES, validate
from models.served import REQUEST_PARTS
from models.served_figures import served_figures
from models.summary import summarise
from sim.engine.serving import book as words
from sim.processes.serving.serving import RequestClass, Serving
from sim.serving_tables import serving_tables
from tests.unit import served
from tests.unit.served import MS, S, note


def one(serving: Serving, **how: int) -> dict[str, Any]:
    note(serving, **how)
    return served.tables(serving)["requests"].iloc[-1].to_dict()


def test_every_table_is_as_described() -> None:
    tables = served.tables(served.crowd())
    assert set(tables) == {"requests", "request_times", "request_classes", "replicas", "serving_series"}
    for name, table in tables.items():
        validate(name, table)
    assert (tables["requests"]["arrival_s"].diff().dropna() >= 0).all()
    assert summarise(tables, "completed", [], {})["requests"]["unfinished"] == 4


def test_times_of_a_request() -> None:
    serving = served.empty()
    row = one(serving, arrival=3 * S, output=5, scheduled=20 * MS, first=100 * MS, last=180 * MS, generated=5,
              gap_max=30 * MS)  # fmt: skip
    assert [row[name] for name in ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms", "itl_max_ms")] == [20, 100, 20, 180, 30]
    assert (row["arrival_s"], row["status"], row["class"]) == (3.0, "finished", "chat")
    assert pd.isna([row[name] for name in ("session", "turn", "prefill_replica", "transfer_ms", "reason")]).all()


def test_what_a_request_does_not_have_is_null() -> None:
    serving = served.empty()
    single = one(serving, arrival=0, output=1, scheduled=0, first=MS, last=MS, generated=1)
    assert pd.isna(single["tpot_ms"])
    assert pd.isna(single["itl_max_ms"])
    refused = one(serving, arrival=S, status=words.REJECTED, replica=-1)
    assert pd.isna([refused[name] for name in ("replica", "queue_ms", "ttft_ms", "e2e_ms")]).all()
    decoding = one(serving, arrival=2 * S, status=words.RUNNING, scheduled=MS, first=5 * MS, generated=3)
    assert (decoding["status"], decoding["ttft_ms"]) == ("unfinished", 5.0)
    assert pd.isna([decoding["tpot_ms"], decoding["e2e_ms"]]).all()
    note(serving, 3 * S, status=words.NEW)
    assert len(served.tables(serving)["requests"]) == 3, "one that has not arrived is in no table"


def test_reasons_and_arrival_are_kept_exactly() -> None:
    serving = served.empty()
    number = note(serving, 4_234_567_890_123_456_789, first=MS, last=2 * MS)
    serving.book.reject(number, "longer than the context")
    table = served.tables(serving)["requests"]
    assert table["reason"].tolist() == ["longer than the context"]
    assert table["arrival_ps"].tolist() == [4_234_567_890_123_456_789]


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"first": 500 * MS, "last": 900 * MS}, 1),  # both at the limit: tpot 40 ms of 10 gaps
        ({"first": 501 * MS, "last": 900 * MS}, 0),
        ({"first": 500 * MS, "last": 901 * MS}, 0),
        ({"first": 100 * MS, "last": 100 * MS, "output": 1}, 1),  # a single token has no tpot to miss
        ({"status": words.RUNNING, "first": 100 * MS}, 0),
        ({"status": words.LOST, "first": 100 * MS}, 0),
        ({"status": words.REJECTED}, 0),
        ({"kind": 1, "first": 2 * S, "last": 20 * S}, 1),
        ({"kind": 1, "first": 2 * S, "last": 20 * S + 1}, 0),
    ],
)
def test_good_means_finished_within_every_target_of_its_class(fields: dict[str, int], good: int) -> None:
    assert one(served.empty(), arrival=S, **fields)["good"] == good


def test_without_targets_nothing_is_good_or_bad() -> None:
    serving = served.empty(classes=[RequestClass("all")])
    assert pd.isna(one(serving, arrival=0, first=MS, last=MS)["good"])
    table = served.tables(serving)["request_classes"].iloc[0]
    assert np.isnan(table[["goodput_per_s", "good_share", "ttft_attained"]].to_numpy(dtype=float)).all()


def test_goodput_counts_what_was_injected() -> None:
    """Ten a second for a second: 4 good, 2 late, 2 unfinished, 1 rejected, 1 lost."""
    serving = served.empty(classes=served.CLASSES[:1])
    for number in range(10):
        first = 100 * MS if number < 4 else 600 * MS
        status = (words.FINISHED, words.RUNNING, words.REJECTED, words.LOST)[(number > 5) + (number > 7) + (number > 8)]
        note(serving, number * 100 * MS, status=status, first=first, last=first + 10 * MS)
    (row,) = served.tables(serving)["request_classes"].to_dict("records")
    counts = [row[name] for name in ("injected", "finished", "rejected", "lost", "unfinished")]
    assert counts == [10, 6, 1, 1, 2]
    assert row["good_share"] == pytest.approx(0.4)
    assert row["offered_per_s"] == pytest.approx(10)
    assert row["goodput_per_s"] == pytest.approx(4)
    assert (row["ttft_attained"], row["tpot_attained"]) == (pytest.approx(0.4), pytest.approx(0.6))
    assert np.isnan(row["ttft_p95_ms"]), "ten are too few for a p95"


def test_classes_and_pools_have_rows_that_add_up() -> None:
    serving = served.empty(4, pools=("small", "large"))
    for number in range(40):
        note(serving, number * 10 * MS, kind=number % 2, replica=number % 4, first=MS, last=2 * MS)
    note(serving, 400 * MS, status=words.REJECTED, replica=-1)
    table = served.tables(serving)["request_classes"]
    assert list(zip(table["class"], table["pool"], strict=True)) == [
        ("all", "all"), ("chat", "all"), ("code", "all"), ("all", "small"), ("all", "large"), ("chat", "small"),
        ("chat", "large"), ("code", "small"), ("code", "large"),
    ]  # fmt: skip
    count = table.set_index(["class", "pool"])["injected"]
    assert (count["all", "all"], count["all", "small"] + count["all", "large"]) == (41, 40)
    rates = table.set_index(["class", "pool"])["offered_per_s"]
    assert rates["chat", "all"] + rates["code", "all"] == pytest.approx(rates["all", "all"])
    figures = served_figures(table)
    assert figures["request_classes.goodput_per_s.class_chat"] == pytest.approx(rates["chat", "all"] * 20 / 21)


def test_parts_of_a_request_with_transfer_and_preemption_add_up() -> None:
    serving = served.empty()
    note(serving, S, routed=MS, queued=2 * MS, scheduled=10 * MS, first=60 * MS, last=200 * MS, transferred=15 * MS,
         stalled=30 * MS, stalled_first=10 * MS, replica=1, prefill_replica=0, preempted=2)  # fmt: skip
    tables = served.tables(serving)
    row = tables["request_times"].iloc[0]
    assert [row[part] // MS for part in REQUEST_PARTS] == [1, 1, 8, 40, 15, 105, 30]
    assert row[list(REQUEST_PARTS)].sum() == row["total_ps"] == 200 * MS
    request = tables["requests"].iloc[0]
    assert (request["prefill_replica"], request["transfer_ms"]) == (0, 15.0)
    assert tables["replicas"]["requests"].tolist() == [1, 1], "prefilled by one, decoded by the other"


def test_itls_come_from_the_counted_gaps() -> None:
    serving = served.crowd(200)
    row = served.tables(serving)["request_classes"].iloc[0]
    assert row["itl_p50_ms"] == pytest.approx(serving.book.gaps.sum() and row["tpot_p50_ms"], rel=0.05)


def test_a_replica_that_hardly_gets_requests_is_starved() -> None:
    serving = served.empty(4)
    for number in range(60):
        note(serving, number * MS, replica=number % 3, first=MS, last=2 * MS)
    end = served.end_of(serving)
    assert serving_tables([serving], end)["replicas"]["starved"].tolist() == [0, 0, 0, 1]
    for replica in serving.replicas:
        replica.enter("off", end)
    late = serving_tables([serving], 2 * end)["replicas"]
    assert late["starved"].tolist() == [0, 0, 0, 0], "off for a while, so not starved"


def test_workloads_go_together() -> None:
    first, second = served.crowd(50), served.crowd(60)
    second.number = 1
    table = serving_tables([first, second], max(served.end_of(first), served.end_of(second)))
    assert table["requests"]["workload"].value_counts().to_dict() == {1: 60, 0: 50}
    assert len(table["replicas"]) == 8
    for name, frame in table.items():
        validate(name, frame)
        assert list(frame) == TABLES[name].names()


def test_hashes_of_a_prompt_are_written_as_a_trace_has_them() -> None:
    serving = served.empty()
    note(serving, 0, hash_start=serving.book.add_hashes([7, -3]), hash_count=2, first=MS, last=MS)
    note(serving, 1, first=MS, last=MS)
    assert served.tables(serving)["requests"]["prefix_hashes"].tolist()[0] == "7|-3"
    assert pd.isna(served.tables(serving)["requests"]["prefix_hashes"].tolist()[1])


# -- what is printed


def test_a_run_of_requests_alone_is_one_table(tmp_path: Path) -> None:
    runs = load(served.write_policies(tmp_path / "out", 200)).runs()
    grids = summary_grids(runs)
    assert list(grids) == ["runs", "request_classes"]
    titles = [title for title, _ in grids["runs"].titles]
    assert {"TTFT ms", "TPOT ms", "E2E ms", "goodput"} <= set(titles)
    best = [row[-1] for row in grids["runs"].rows]
    assert "1.000x" in best
    assert len(grids["request_classes"].rows) == 6


def test_a_saturated_run_prints_no_mean(tmp_path: Path) -> None:
    folder = served.write_single(tmp_path / "out", served.crowd(200), status="saturated")
    run = load(folder)
    assert [run.number("requests", name, "mean") for name in ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms")] == [None] * 4
    assert run.number("requests", "good", "mean") is not None
    assert "mean" not in summary_table(folder).split("\n")[2]


SCENARIO = """name: served
engine: ideal
fabric: {topology: {kind: star, hosts: 2}}
gpus: {kind: a100_sxm}
workload:
  - kind: requests
    model: llama-3.1-8b
    replicas: 2
    arrivals: {kind: poisson, rate: 40/s}
    prompt: {kind: log_normal, mean: 600, cv: 1}
    output: {kind: log_normal, mean: 60, cv: 0.8}
    targets: {ttft: 400ms, tpot: 40ms}
    engine: {kv_blocks: 400, cost: {kind: linear, step: 5ms, prefill_token: 20us, decode_sequence: 100us}}
    count: 300
"""


def test_a_run_keeps_the_laws(tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(SCENARIO)
    assert run_sim.main([str(tmp_path / "served.yaml"), "--out", str(tmp_path / "out"), "--no-plots", "-q"]) == 0
    run = load(tmp_path / "out")
    requests, times = run.frame("requests"), run.frame("request_times")
    assert (requests["status"] == "finished").all()
    assert (times[list(REQUEST_PARTS)] >= 0).all().all()
    assert (times[list(REQUEST_PARTS)].sum(axis=1) == times["total_ps"]).all()
    assert (times["requeue_ps"] > 0).sum() > 0, "so few blocks preempt"
    assert set(times.loc[times["requeue_ps"] > 0, "id"]) <= set(requests.loc[requests["preempted"] > 0, "id"])
    assert np.allclose(times["total_ps"] / 1e9, requests["e2e_ms"])
    replicas = run.frame("replicas")
    assert replicas["requests"].sum() == 300
    assert (replicas["kv_peak_share"] <= 1).all()
    classes = run.frame("request_classes").iloc[0]
    assert classes["good_share"] == pytest.approx(requests["good"].mean())
    assert run.number("requests", "good", "mean") == pytest.approx(classes["good_share"])
