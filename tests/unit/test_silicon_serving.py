"""The closed loop of the validation on measured servers: exact times by hand, and what its rows may say."""

from __future__ import annotations

import numpy as np
import pytest

from models.architectures import ARCHITECTURES
from models.hardware import GPUS
from models.serving.law import LINEAR
from sim.engine.serving.book import FINISHED, Book
from sim.engine.serving.schedule import Schedulers
from sim.engine.serving.state import EngineSettings
from validations import silicon_serving

STEP, PROMPT, DECODE = 1000.0, 10.0, 50.0  # us


def loop(concurrency: int, count: int, ranks: int = 1) -> Book:
    """Requests of 100 and 11 tokens, by the linear law."""
    book = Book()
    book.add_block({name: np.full(count, value) for name, value in (("prompt", 100), ("output", 11), ("arrival", 0))})
    cost = np.array([LINEAR, STEP, PROMPT, DECODE, 0.0])
    engine = Schedulers(book, [EngineSettings()] * ranks, [cost] * ranks, 1)
    silicon_serving._closed_loop(book, engine, ranks, concurrency)
    assert engine.check() == []
    assert (book.rows["status"][:count] == FINISHED).all()
    return book


def test_one_in_flight_by_hand() -> None:
    rows = loop(1, 3).rows[:3]
    assert ((rows["first"] - rows["arrival"]) == 2_000e6).all()
    assert ((rows["last"] - rows["first"]) == 10 * 1_050e6).all()
    assert (np.diff(rows["arrival"]) == 12_500e6).all()  # the next is sent when one ends


def test_so_many_are_in_flight_and_no_more() -> None:
    rows = loop(4, 40, ranks=2).rows[:40]
    times = np.concatenate([rows["arrival"], rows["last"]])
    steps = np.repeat([1, -1], 40)
    order = np.lexsort((steps, times))
    assert np.cumsum(steps[order]).max() == 4
    assert rows["arrival"].max() < rows["last"].max()


def test_rows_are_servers_that_we_know() -> None:
    rows = silicon_serving.servers()
    assert len(rows) == 888
    for row in rows:
        assert row.model in ARCHITECTURES
        assert row.gpu in GPUS
        assert 1 <= row.tensor_parallel * row.data_parallel <= 8
        assert min(row.ttft_ms, row.tpot_ms, row.concurrency, row.prompt, row.output) > 0
    assert sum(row.holds for row in rows) == 54


def test_a_measured_server() -> None:
    """llama-3.1-70b in FP8 on two H200 under vLLM, 8 requests of 1,024 and 1,024 tokens in flight."""
    wanted = ("llama-3.1-70b", "h200_sxm", "vllm", "fp8", 2, 1024, 1024, 8)
    (row,) = (
        row
        for row in silicon_serving.servers()
        if (*row.group[:4], row.tensor_parallel, row.prompt, row.output, row.concurrency) == wanted
    )
    ttft, tpot = silicon_serving.simulate(row)
    assert tpot == pytest.approx(row.tpot_ms, rel=0.05)
    assert ttft == pytest.approx(row.ttft_ms, rel=0.2)
