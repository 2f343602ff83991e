"""The suite of uet-htsim: its table, matrices and scenarios, and what is said of its rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.uet import found as suite
from benchmarks.uet import matrices
from benchmarks.uet.cases import MTU, Case, cases
from benchmarks.uet.scenario import write
from models.connection_matrix import read
from sim.scenario.fabric import prepare
from sim.scenario.load import load

BY_NAME = {case.slug: case for case in cases()}


def test_every_case_of_the_suite_is_there_once() -> None:
    assert len(BY_NAME) == len(cases()) == 85
    assert sum(case.listed for case in cases()) == 43
    assert Counter(case.kind for case in cases()) == {"band": 78, "range": 6, "shown": 1}
    assert BY_NAME["1023_to_1_100_kb_nscc"].kind == "shown"


def test_bandwidth_delay_products() -> None:
    """Six hops of (1 us + a packet) and back with an ACK: 14.02 us, 42.2 packets; four hops: 28.2."""
    assert {(case.uplinks is None, case.bdp) for case in cases()} == {(True, 43), (False, 29)}


def test_matrices() -> None:
    assert matrices.flows("one", 16, 100, 1) == [(0, 13, 0, 100)]
    both = matrices.flows("outcast_incast", 128, 100, 1)
    assert len(both) == 21
    assert Counter(src for src, *_ in both) == {1: 1, 2: 10, 3: 10}
    assert Counter(dst for _, dst, *_ in both).most_common(1) == [(0, 3)]
    for seed in (1, 2):
        apart = matrices.flows("apart", 16, 100, seed)
        assert sorted(dst for _, dst, *_ in apart) == list(range(16))
        assert all(src // 4 != dst // 4 for src, dst, *_ in apart)
    assert matrices.flows("apart", 16, 100, 1) != matrices.flows("apart", 16, 100, 2)


def test_matrices_read_back(tmp_path: Path) -> None:
    file = tmp_path / "a.cm"
    file.write_text(matrices.text("overlapped", 128, 2_000_000, 1))
    flows = read(file).flows
    assert [(flow.src, flow.dst, flow.size) for flow in flows] == [
        (127, 0, 2_000_000),
        (95, 0, 250_000),
        (61, 0, 250_000),
    ]


@pytest.mark.parametrize(
    "slug", ["one_flow_both", "3_to_1_with_a_long_flow_credit", "permutation_of_16_1_slow_link_nscc"]
)
def test_scenarios_load(slug: str, tmp_path: Path) -> None:
    loaded = load(write(BY_NAME[slug], 3, tmp_path))
    prepare(loaded)
    assert loaded[0].scenario.seed == 3
    assert loaded[0].scenario.fabric.transport.payload == 4086
    assert loaded[0].scenario.fabric.switch.buffer == 43 * MTU


def _found(slug: str, *tails: float) -> suite.Found:
    return suite.Found(BY_NAME[slug], tuple({"tail": tail, "least": 1.0, "again": 0, "cpu": 0.1} for tail in tails))


def test_what_holds() -> None:
    one: Case = BY_NAME["one_flow_nscc"]
    assert _found(one.slug, 176.2, 176.2, 177.0).holds
    assert _found(one.slug, 179.0).holds is False  # one flow: within 1 %
    assert _found("15_to_1_nscc", 2700).holds
    assert _found("15_to_1_nscc", 2900).holds is False
    assert _found("1023_to_1_100_kb_nscc", 1.0).holds is None
    path = "permutation_of_1024_one_path_nscc"
    assert _found(path, 700, 800, 1000).holds
    assert _found(path, 900, 1000, 1100).holds is False
    rows = [_found("15_to_1_nscc", 2478.53 * 1.1), _found(one.slug, 176.2), _found(path, 1.0)]
    assert suite.median_deviation(rows) == pytest.approx(0.05)
    assert suite.largest(rows).case.slug == "15_to_1_nscc"


def test_order_of_balancers_only_among_equal_settings() -> None:
    rows = [_found(case.slug, case.tail) for case in cases()]
    pairs = suite.orders(rows)
    assert all(agree for *_, agree in pairs)
    assert all(one.case.queue == other.case.queue and one.case.sack == other.case.sack for one, other, _ in pairs)
    names = {(one.case.slug, other.case.slug) for one, other, _ in pairs}
    assert ("bitmap_queue_500_8_slow_links_nscc", "oblivious_queue_500_8_slow_links_nscc") in names
    turned = [_found(case.slug, 1000 - case.tail) for case in cases() if case.slow == 8 and case.control == "nscc"]
    assert not any(agree for *_, agree in suite.orders(turned))


@pytest.mark.skipif(not suite.ROWS.exists(), reason="the suite was not run yet")
def test_every_case_was_run_and_what_is_off_is_explained() -> None:
    rows = suite.found()
    assert len(rows) == len(cases())
    off = {one.case.slug for one in rows if one.case.kind == "band" and abs(one.deviation) > suite.NEAR}
    off |= {one.case.slug for one in rows if one.holds is False}
    assert off <= suite.reasons().keys() <= BY_NAME.keys()
