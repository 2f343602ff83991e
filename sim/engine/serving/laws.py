"""What must hold at any time of the schedulers' books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.serving.law import TOKENS
from sim.engine.serving.book import MOVING, RUNNING, WAITING, Book
from sim.engine.serving.memory import Memory
from sim.engine.serving.state import EngineSettings


def broken(book: Book, settings: Sequence[EngineSettings], memory: Memory) -> list[str]:
    """Every law that does not hold: blocks, requests and tokens in are those out, and no batch beyond the budget."""
    rows = book.rows[: book.count]
    wrong: list[str] = []
    for rank, each in enumerate(settings):
        record = memory.schedulers[rank]
        mine = rows[(rows["rank"] == rank) & (rows["epoch"] == record["epoch"])]
        found = _of_one(rank, each, {name: int(record[name]) for name in _COUNTED}, mine, memory)
        wrong += [f"scheduler {rank}: {text}" for text in found]
    tokens, generated = int(rows["generated"].sum()), int(memory.counts["generated"].sum())
    if tokens != generated:
        wrong.append(f"requests have {tokens} tokens, schedulers generated {generated}")
    return wrong


_COUNTED = (
    "held", "cached", "idle", "host_used", "running", "waiting", "nodes_used", "waiting_tokens", "running_tokens",
    "context",
)  # fmt: skip


def _of_one(rank: int, settings: EngineSettings, record: dict[str, int], mine: Any, memory: Memory) -> list[str]:
    """``mine``: rows of the requests that are at this scheduler, or ended there last."""
    wrong: list[str] = []

    def same(what: str, ours: int, theirs: int) -> None:
        if ours != theirs:
            wrong.append(f"{ours} {what}, by its requests {theirs}")

    running = mine["status"] == RUNNING
    holding = mine[running | (mine["status"] == MOVING)]
    same("running", record["running"], int(running.sum()))
    waiting = mine["status"] == WAITING
    same("waiting", record["waiting"], int(waiting.sum()))
    lack = mine["prompt"] + mine["generated"] - mine["computed"]
    to_do = np.where((lack == 1) & (mine["computed"] >= mine["prompt"]), 0, lack)
    same("tokens of waiting requests", record["waiting_tokens"], int(to_do[waiting].sum()))
    same("tokens of running ones to prefill", record["running_tokens"], int(to_do[running].sum()))
    same("tokens of KV", record["context"], int(mine["computed"][running].sum()))
    same("blocks held", record["held"], int(holding["blocks"].sum()))
    same("blocks on the host", record["host_used"], int(mine["host"].sum()))
    users = int(memory.nodes[rank]["users"][: record["nodes_used"]].sum())
    same("uses of shared blocks", users, int(holding["shared"].sum()))
    if not 0 <= record["idle"] <= record["cached"] or record["held"] + record["cached"] > settings.kv_blocks:
        wrong.append(f"{record['held']} and {record['cached']} blocks of {settings.kv_blocks}, {record['idle']} unused")
    if record["host_used"] > settings.host_blocks:
        wrong.append(f"{record['host_used']} blocks on the host, which has {settings.host_blocks}")
    short = mine[running]["computed"] > (holding["blocks"] + holding["shared"])[holding["status"] == RUNNING] * (
        settings.block_tokens
    )
    if short.any():
        wrong.append(f"{int(short.sum())} requests with more KV than blocks")
    tokens = int(memory.totals[rank, TOKENS])
    if settings.chunked and tokens > settings.token_budget:
        wrong.append(f"{tokens} tokens in a batch, of {settings.token_budget}")
    return wrong
