"""Whole iterations as measured by Splitwise (Patel et al., ISCA 2024): prefill by tokens, decode by batch and context.

``models/measured/splitwise.csv.gz`` has llama-2-70b on 2, 4 and 8 GPUs and bloom-176b on 8, of a DGX A100, a DGX H100
and one with capped power: single prompts of 128 to 8,192 tokens, batches of 1 to 64 prompts of 512, and their decodes.
An iteration takes

    prefill: T tokens in n chunks: between the curve of single prompts and that of batched prompts of 512, by the mean
             length T/n; both linear in log tokens and log time. A chunk after earlier tokens of its prompt adds what
             the single prompt of both takes beyond the prompts alone.
    decode:  linear in the batch, plus a slope by context tokens beyond those of the measured batch (least squares over
             single sequences of 128 to 8,192 tokens).
    mixed:   the decodes' tokens ride with the prefill's and their context costs its slope; never less than the decodes
             alone. Not measured: splitwise-sim itself takes 1.1 of the prefill.

Where memory ran out the source recorded a part of the work (64 prompts on 2 GPUs are faster than 32): such points are
left out. Without one measured point inside its curve, the others give it back with a median error of 8 % (single
prompts), 4 % (batches) and 1.5 % (decodes), at most 28, 28 and 8 %; the context's slope has a median error of 1.5 %, at
most 9 % (``tests/unit/test_whole_iterations.py``). Answers outside the measured range are counted in word ``OUTSIDE``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.csv_table import read_table
from models.errors import InputError, Problem, Problems
from models.jit import njit

FILE = Path(__file__).resolve().parent.parent / "measured" / "splitwise.csv.gz"
_TEXT = ("model", "hardware")
_NUMBERS = ("tensor_parallel", "prompt_tokens", "batch", "output_tokens", "prompt_us", "token_us", "repeats")
BATCHED, DECODED = 512, 128  # tokens of each prompt of the measured batches, and of each answer
MEAN = BATCHED + DECODED / 2  # their context while they decode
#: Words of the memory before the curves (word 0 is the law's kind): answers outside the measured range so far; most
#: tokens of a prompt, of an iteration, sequences in decode and their tokens of context that were measured; us by token
#: of context; lengths of the three curves.
OUTSIDE, PROMPT, TOKENS, SEQUENCES, CONTEXT, SLOPE, SINGLES, BATCHES, DECODES, HEAD = range(1, 11)

_Array = NDArray[np.float64]


@njit("f8(f8[::1], i8, i8, f8)", internal=True)
def _curve(cost: Any, at: Any, knots: Any, x: Any) -> Any:
    """Linear between ``knots`` at ``at`` and their values behind them, and on at either end by the last piece."""
    piece = 0
    while piece < knots - 2 and cost[at + piece + 1] < x:
        piece += 1
    low, high = cost[at + piece], cost[at + piece + 1]
    first, second = cost[at + knots + piece], cost[at + knots + piece + 1]
    return first + (second - first) * (x - low) / (high - low)


@njit("f8(f8[::1], f8)", internal=True)
def _single(cost: Any, tokens: Any) -> Any:
    """One prompt, us; below the shortest measured one as that one."""
    return np.exp(_curve(cost, HEAD, int(cost[SINGLES]), max(np.log(tokens), cost[HEAD])))


@njit("f8(f8[::1], f8, f8)", internal=True)
def _prefill(cost: Any, tokens: Any, prompts: Any) -> Any:
    """``tokens`` of ``prompts`` whole prompts, us."""
    alone = _single(cost, tokens)
    if prompts <= 1.0 or tokens <= BATCHED:
        return alone
    together = np.exp(_curve(cost, HEAD + 2 * int(cost[SINGLES]), int(cost[BATCHES]), np.log(tokens)))
    length = max(tokens / prompts, float(BATCHED))
    share = np.log(length / BATCHED) / np.log(tokens / BATCHED)
    return alone**share * together ** (1.0 - share)


@njit("f8(f8[::1], f8, f8)", internal=True)
def _decode(cost: Any, sequences: Any, context: Any) -> Any:
    """One token of each of ``sequences`` that hold ``context`` tokens together, us."""
    at = HEAD + 2 * (int(cost[SINGLES]) + int(cost[BATCHES]))
    step = _curve(cost, at, int(cost[DECODES]), sequences) + cost[SLOPE] * (context - sequences * MEAN)
    return max(step, 0.0)


@njit("f8(f8[::1], f8[:, ::1], i8, f8, f8)")
def table_us(cost: Any, chunks: Any, prefills: Any, sequences: Any, context: Any) -> Any:
    """One iteration, us; adds to ``OUTSIDE`` if it is beyond what was measured.

    ``chunks[i < prefills]``: new tokens, tokens before them; ``sequences`` in decode hold ``context`` tokens together.
    """
    tokens, longest, past = 0.0, 0.0, 0.0
    for chunk in range(prefills):
        new, before = chunks[chunk, 0], chunks[chunk, 1]
        tokens += new
        longest = max(longest, new + before)
        if before > 0.0:
            past += max(0.0, _single(cost, new + before) - _single(cost, new) - _single(cost, before))
    most = cost[PROMPT] if prefills <= 1 else cost[TOKENS]
    if longest > cost[PROMPT] or tokens > most or sequences > cost[SEQUENCES] or context > cost[CONTEXT]:
        cost[OUTSIDE] += 1.0
    step = _decode(cost, sequences, context) if sequences > 0.0 else 0.0
    if prefills == 0:
        return step
    return max(step, _prefill(cost, tokens + sequences, float(prefills)) + past + cost[SLOPE] * context)


@functools.cache
def _rows() -> dict[str, NDArray[Any]]:
    """The measured medians by column."""
    problems = Problems(str(FILE))
    rows = read_table(FILE, (*_TEXT, *_NUMBERS), (), problems)
    problems.raise_if_any()
    text = {name: np.array([row.text[name] for row in rows], object) for name in _TEXT}
    return text | {name: np.array([float(row.text[name]) for row in rows]) for name in _NUMBERS}


def measured() -> list[tuple[str, str, int]]:
    """(model, hardware, tensor_parallel) of every table."""
    rows = _rows()
    return sorted(set(zip(rows["model"], rows["hardware"], rows["tensor_parallel"].astype(int).tolist(), strict=True)))


def curves(model: str, hardware: str, tensor_parallel: int) -> dict[str, tuple[_Array, _Array]]:
    """Measured points, ascending: tokens and us of ``singles`` and ``batches``; sequences and us of ``decodes``; and
    ``context``: tokens of context and us of one sequence in decode.

    InputError where the combination was not measured.
    """
    if (model, hardware, tensor_parallel) not in measured():
        able = ", ".join(f"{a} on {c} {b}" for a, b, c in measured())
        message = f"no whole iterations of {model} on {tensor_parallel} {hardware}; measured: {able}"
        raise InputError([Problem("cost", 0, 0, message)])
    rows = _rows()
    mine = (rows["model"] == model) & (rows["hardware"] == hardware) & (rows["tensor_parallel"] == tensor_parallel)
    prompt, batch, output = rows["prompt_tokens"], rows["batch"], rows["output_tokens"]
    short = mine & (output == DECODED)
    single, batched = short & (batch == 1), short & (prompt == BATCHED)
    at = np.flatnonzero(batched)[np.argsort(batch[batched])]
    whole = np.concatenate([[True], np.diff(rows["prompt_us"][at]) > 0])
    at = at[np.logical_and.accumulate(whole)]  # up to where memory ran out
    first = np.flatnonzero(single)[np.argsort(prompt[single])]
    return {
        "singles": (prompt[first], rows["prompt_us"][first]),
        "batches": (prompt[at] * batch[at], rows["prompt_us"][at]),
        "decodes": (batch[at], rows["token_us"][at]),
        "context": (prompt[first] + output[first] / 2, rows["token_us"][first]),
    }


def flat(points: dict[str, tuple[_Array, _Array]]) -> _Array:
    """The flat memory that ``table_us`` reads, its first word 0."""
    (singles, alone), (batches, together), (decodes, steps), (context, each) = (
        points[name] for name in ("singles", "batches", "decodes", "context")
    )
    slope = max(0.0, float(np.polyfit(context, each, 1)[0]))
    head: list[float] = [0.0, 0.0, singles[-1], batches[-1], decodes[-1], max(context[-1], decodes[-1] * MEAN), slope]
    head += [len(singles), len(batches), len(decodes)]
    parts = [np.log(singles), np.log(alone), np.log(batches), np.log(together), decodes, steps]
    return np.concatenate([np.array(head, np.float64), *parts]).astype(np.float64)


def table_of(model: str, hardware: str, tensor_parallel: int, capped: bool = False) -> _Array:
    """The memory of a model on ``tensor_parallel`` GPUs; ``capped``: under the measured power cap."""
    return flat(curves(model, f"{hardware}_capped" if capped else hardware, tensor_parallel))
