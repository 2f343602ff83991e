"""The description of the tables: what it refuses, and that the shipped page is it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.explained import PARTS
from models.records import MANIFEST, TABLES, markdown, validate
from models.served import REQUEST_PARTS
from models.summary import describe, percentiles, summarise
from sim.record import frame
from tests.unit import synthetic

CONTRACT = {
    "flows": "id src dst bytes start_us delivered_us end_us fct_us ideal_us slowdown path retransmitted reordered "
    "reorder_max_bytes status",
    "links": "link src dst rate_gbps bytes packets utilisation queue_max_bytes marked dropped trimmed paused_us",
    "collectives": "id op algorithm ranks bytes start_us time_us algbw_gbytes busbw_gbytes",
    "moe_steps": "step layer time_us dispatch_us expert_us combine_us weights_us planner_us max_over_mean "
    "weight_transfers bytes_moved peak_memory_bytes",
    "demands": "id src dst bandwidth_mbps priority arrival_s hold_s decided_s end_s admitted wait_ms earned moves "
    "carried path status reason",
    "demand_classes": "priority offered admitted rejected gave_up preempted lost blocking not_served wait_mean_ms",
    "decisions": "id agent start_s commit_s demands present admitted preempted moved conflicts objective bound gap "
    "status solver charged_ms",
    "reservations": "link capacity_mbps mean_mbps peak_mbps mean_share demands",
    "gpus": "gpu busy_us wait_us tokens peak_memory_bytes out_of_memory",
    "series": "time_us group links queue_mean_bytes queue_max_bytes utilisation_mean utilisation_max",
    "reordering": "distance packets",
    "counters": "name reason count",
    "flow_times": "id job released_by total_ps " + " ".join(PARTS) + " bottleneck",
    "hops": "flow hop link arrived_us queueing_ps serialisation_ps propagation_ps",
    "kernels": "gpu kernel job start_us duration_us",
    "link_series": "time_us link utilisation queue_bytes",
    "requests": "id arrival_s replica prompt_tokens output_tokens queue_ms ttft_ms tpot_ms e2e_ms cached_tokens status "
    "workload class tenant session turn reason prefill_replica predicted_tokens generated_tokens transfer_ms "
    "itl_max_ms preempted good prefix_hashes arrival_ps",
    "request_times": "id workload total_ps " + " ".join(REQUEST_PARTS),
    "request_classes": "workload class pool injected finished rejected lost unfinished offered_per_s served_per_s "
    "output_tokens_per_s goodput_per_s good_share ttft_attained tpot_attained itl_attained e2e_attained "
    + " ".join(f"{name}_{rank}_ms" for name in ("ttft", "tpot", "itl", "e2e") for rank in ("p50", "p95", "p99")),
    "replicas": "replica workload pool role gpus requests tokens iterations busy_share batch_mean_tokens preemptions "
    "prefix_hit_share kv_blocks kv_mean_share kv_peak_share starved",
    "serving_series": "time_s replica workload waiting running kv_share batch_tokens",
    "failures": "event element what at_us until_us converged_us rate_share loss packets_lost flows_hit flows_rerouted "
    "flows_lost recovery_us inflation",
}


def test_tables_have_the_columns_of_the_contract() -> None:
    assert {name: " ".join(table.names()) for name, table in TABLES.items()} == CONTRACT


def test_units_stand_in_the_column_names() -> None:
    units = {"us", "ms", "s", "bytes", "gbps", "mbps", "gbytes", "tokens"}
    for table in TABLES.values():
        for column in table:
            assert column.meaning.endswith("."), column.name
            if column.type == "float" and column.unit:
                assert column.name.rsplit("_", 1)[-1] in units, column.name


def test_shipped_page_is_made_from_the_description() -> None:
    page = Path(__file__).parents[2] / "docs" / "results.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: python -m models.records > docs/results.md"
    for name in [*TABLES, *MANIFEST]:
        assert name in markdown()


@pytest.mark.parametrize("name", ["flows", "links", "series", "collectives", "reordering"])
def test_a_described_table_is_accepted(name: str) -> None:
    validate(name, synthetic.tables(count=50)[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="path"), "has the columns"),
        (lambda t: t.assign(extra=1), "has the columns"),
        (lambda t: t[[*t.columns[1:], "id"]], "has the columns"),
        (lambda t: t.assign(bytes=t["bytes"] * 1.0), "flows.bytes is float64, described as int"),
        (lambda t: t.assign(fct_us=1), "flows.fct_us is int64, described as float"),
        (lambda t: t.assign(src=1), "flows.src is int64, described as text"),
        (lambda t: t.assign(start_us=np.nan), "flows.start_us is null"),
        (lambda t: t.assign(dst=None), "flows.dst"),
        (lambda t: t.assign(slowdown=np.inf), "flows.slowdown is infinite"),
        (lambda t: t.assign(status="done"), "legal are"),
    ],
)
def test_a_table_that_differs_is_refused(change, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        validate("flows", change(synthetic.tables(count=50)["flows"]))


def test_unknown_table_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'flows'"):
        validate("flow", frame("reordering", {"distance": [0], "packets": [1]}))


@pytest.mark.parametrize(
    ("size", "known"), [(0, ""), (1, "p50"), (19, "p50"), (20, "p50 p95"), (99, "p50 p95"), (100, "p50 p95 p99")]
)
def test_percentiles_are_null_below_their_number_of_samples(size: int, known: str) -> None:
    found = describe(np.arange(size, dtype=float))
    assert [name for name in ("p50", "p95", "p99") if found[name] is not None] == known.split()
    assert found["n"] == size
    assert (found["mean"] is None) == (size == 0)


def test_quantiles_are_linear() -> None:
    assert percentiles(np.arange(101), [0.5, 0.95, 0.99]) == [50, 95, 99]
    assert percentiles(np.array([1.0, 2.0]), [0.5]) == [1.5]


def test_nulls_are_skipped_and_unfinished_rows_counted_apart() -> None:
    tables = synthetic.tables(count=300, unfinished=7)
    summary = summarise(tables, "stopped", ["the limit of 10 ms"], {})
    flows = summary["flows"]
    assert (flows["count"], flows["unfinished"], flows["fct_us"]["n"], flows["bytes"]["n"]) == (300, 7, 293, 300)
    done = tables["flows"]["fct_us"].dropna()
    assert flows["fct_us"]["mean"] == pytest.approx(done.mean())
    assert flows["fct_us"]["p99"] == pytest.approx(np.quantile(done, 0.99))
    assert "id" not in flows
    assert "src" not in flows
    assert list(summary)[:3] == ["schema", "status", "reasons"]
    assert summary["gpus"] == {"count": 0, "reason": TABLES["gpus"].empty}


def test_a_saturated_run_claims_no_mean() -> None:
    tables = synthetic.tables(count=300)
    calm, full = (summarise(tables, status, [], {})["flows"] for status in ("completed", "saturated"))
    assert full["fct_us"]["mean"] is None
    assert full["slowdown"]["mean"] is None
    assert calm["fct_us"]["mean"] is not None
    assert full["fct_us"]["p99"] == calm["fct_us"]["p99"]
    assert full["bytes"] == calm["bytes"]


def test_reason_of_the_run_goes_before_the_general_one() -> None:
    assert summarise({}, "completed", [], {"series": "telemetry: off"})["series"]["reason"] == "telemetry: off"
    with pytest.raises(ValueError, match="no status"):
        summarise({}, "done", [], {})
