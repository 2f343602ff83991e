"""Schedulers for short stories with exact times. An iteration takes 100 us, unless said."""

from __future__ import annotations

import numpy as np

from models.serving.law import DECODES, LINEAR
from sim.engine.serving.book import Book
from sim.engine.serving.schedule import Schedulers
from sim.engine.serving.state import EngineSettings

US = 10**6
STEP = 100 * US
PLAIN = np.array([LINEAR, 100.0, 0.0, 0.0, 0.0])
COUNTED = np.array([LINEAR, 100.0, 1.0, 10.0, 0.0])  # 1 us a prompt token, 10 us a decode


def make(*settings: EngineSettings, cost: np.ndarray = PLAIN) -> Schedulers:
    return Schedulers(Book(), settings, [cost] * len(settings), key=1)


def ask(schedulers: Schedulers, prompt: int, output: int, now: int = 0, rank: int = 0, **fields: int) -> int:
    request = schedulers.book.add(prompt=prompt, output=output, arrival=now, **fields)
    schedulers.add(rank, request, now)
    return request


def chain(schedulers: Schedulers, *ids: int) -> dict[str, int]:
    return {"hash_start": schedulers.book.add_hashes(ids), "hash_count": len(ids)}


def cached(schedulers: Schedulers, request: int) -> int:
    """Prompt tokens in the cache of the first scheduler."""
    return int(schedulers.cached_tokens(np.array([0]), np.array([1]), request)[0])


def play(
    schedulers: Schedulers, now: int = 0, ranks: int = 1, most: int = 10_000
) -> tuple[int, list[tuple[int, list]]]:
    """Turns until nothing is left to do: the time, and (time, who reached the limit)."""
    told = []
    while True:
        length = schedulers.turn(0, ranks, now)
        if schedulers.told():
            told.append((now, schedulers.told()))
        assert schedulers.check() == []
        if length == 0:
            break
        now += length
    return now, told


def batch(schedulers: Schedulers, rank: int = 0) -> tuple[int, list[tuple[int, int]]]:
    """Decodes of the batch under way, and its prompt chunks (tokens, before them)."""
    totals, chunks = schedulers.batch(rank)
    return int(totals[DECODES]), [(int(new), int(before)) for new, before in chunks]
