"""``why`` and ``timeline`` of requests: parts that add up, who was ahead, the slowest, lanes that do not overlap."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import run_sim
from analysis.load import load
from analysis.why import explain, text_of
from models.errors import InputError
from sim.engine.serving import book as words
from tests.unit import served
from tests.unit.served import MS, S, note


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Request 2 waits for 0 and 1 on replica 0, is preempted, and then decoded on replica 1."""
    serving = served.empty()
    note(serving, S, scheduled=0, first=300 * MS, last=900 * MS, prompt=2000)
    note(serving, S + 10 * MS, scheduled=MS, first=250 * MS, last=400 * MS, prompt=500)
    times = {"routed": 2, "queued": 3, "scheduled": 100, "first": 600, "last": 1000, "transferred": 50}
    times |= {"stalled": 40, "stalled_first": 25}
    moved = {"replica": 1, "prefill_replica": 0, "preempted": 1}
    note(serving, S + 20 * MS, **{name: value * MS for name, value in times.items()}, **moved)
    note(serving, S + 30 * MS, status=words.REJECTED, replica=-1)
    note(serving, S + 40 * MS, status=words.RUNNING, replica=1, scheduled=MS, first=50 * MS, generated=3)
    serving.schedulers.loads["waiting"] = [3, 1]
    serving.series.take(S)
    return served.write_single(tmp_path_factory.mktemp("why") / "out", serving)


def test_the_parts_of_a_request(results: Path) -> None:
    known = explain(results, "request:2")
    parts = {part["part"]: part["ps"] // MS for part in known["parts"]}
    assert parts == {"held": 2, "way": 1, "queue": 97, "prefill": 475, "transfer": 50, "decode": 335, "requeue": 40}
    assert sum(part["ps"] for part in known["parts"]) == known["total_ps"] == 1000 * MS
    assert known["ahead"] == {"requests": 2, "prompt_tokens": 2500}
    assert known["replicas_then"] == {"sampled_s": 1.0, "its_own": 3, "replicas": 2, "least": 1, "most": 3}
    assert known["slower_than"] == {"ttft_ms": 1.0, "e2e_ms": 1.0}
    assert json.dumps(known, default=str)


def test_text_of_a_request(results: Path) -> None:
    text = text_of(explain(results, "2"), results)
    assert "request 2: 100 prompt and 11 output tokens, class chat, finished" in text, "without flows a number is one"
    assert "prefill on replica 0, decode on replica 1" in text
    assert "2 requests with 2500 prompt tokens were ahead of it" in text
    assert "preempted 1 times" in text
    assert max(map(len, text.split("\n"))) <= 110


def test_requests_that_did_not_finish(results: Path) -> None:
    assert "to no replica" in text_of(explain(results, "request:3"), results)
    assert "unfinished" in text_of(explain(results, "request:4"), results)
    assert "parts" not in explain(results, "request:4")


@pytest.mark.parametrize(
    ("ident", "message"),
    [("request:9", "no request 9"), ("requests:1", "did you mean 'request'"), ("request:0.9", "no request 9")],
)
def test_unknown_requests(results: Path, ident: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain(results, ident)


def test_a_run_and_its_variants(results: Path, tmp_path: Path) -> None:
    text = text_of(explain(results), results)
    assert "3 of 5 requests finished" in text
    assert "request:2" in text
    folder = served.write_policies(tmp_path / "out", 100)
    both = text_of(explain(folder), folder)
    assert "mean of a request" in both
    assert "power_of_two" in both


def test_beside_is_the_mean_number_of_others(results: Path) -> None:
    """Request 1 has its last token 150 ms after its first; request 0 decodes in 110 ms of that."""
    assert explain(results, "request:1")["beside"] == pytest.approx(110 / 150)


# -- timeline


def trace(results: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    assert run_sim.main(["timeline", str(results), "-o", str(out), "-q", *options]) == 0
    events: list[dict[str, Any]] = json.loads(out.read_text())["traceEvents"]
    return [event for event in events if event["ph"] != "M"]


def test_each_request_lies_in_lanes_of_its_replicas(results: Path, tmp_path: Path) -> None:
    events = [event for event in trace(results, tmp_path / "t.json") if event["cat" if "cat" in event else "ph"] != "C"]
    told = {event["name"]: event for event in events}
    assert {"queue 2", "prefill 2", "decode 2", "prefill 0", "decode 0"} <= set(told)
    assert told["prefill 2"]["pid"] != told["decode 2"]["pid"]
    assert told["prefill 2"]["ts"] == pytest.approx(1_120_000)
    assert told["decode 4"]["ph"] == "B", "it never ended"
    assert not any(name.endswith(" 3") for name in told), "it came to no replica"


def test_lanes_do_not_overlap_and_time_does_not_run_back(tmp_path: Path) -> None:
    folder = served.write_single(tmp_path / "out", served.crowd(300))
    events = trace(folder, tmp_path / "t.json")
    starts = [event["ts"] for event in events]
    assert starts == sorted(starts)
    lanes = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert sum(map(len, lanes.values())) > 3 * 290
    for spans in lanes.values():
        assert all(one[1] <= other[0] + 1e-6 for one, other in pairwise(sorted(spans)))
    counters = [event for event in events if event["ph"] == "C"]
    assert len(counters) == 2 * load(folder).rows("serving_series")
