"""Measured routing: tokens per expert (``Counts``), or the experts of every token (``Trace``), by layer.

The files' layers have the model's own numbers. ``layers`` says which of them the simulated layers 0, 1, ... take, in
order; without it they take all of the file, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.csv_table import Row, cells, read_table, read_text
from models.errors import InputError, Problem, Problems, nearest
from models.routing.draws import draw, drawn_scores, given_scores, seed_of, weights_for
from models.routing.popularity import Walk
from models.routing.tables import Table, integer_table

_LONG = ["model", "selection", "domain", "layer", "expert", "token_count"]


def _take_layers(found: Sequence[int], wanted: Sequence[int] | None, problems: Problems) -> list[int]:
    """The file's layers to take; a problem for each that is not in it."""
    if wanted is None:
        return list(found)
    for layer in wanted:
        if layer not in found:
            problems.add(0, f"has no layer {layer}; its layers are {', '.join(map(str, found))}")
    return list(wanted)


class _Measured:
    """What both have: a file's layers for the simulated ones."""

    def __init__(self, file: str, experts: int, top_k: int, layers: list[int]) -> None:
        self.file = file
        self.experts = experts
        self.top_k = top_k
        self.layers = layers

    def _layer(self, layer: int) -> int:
        if not 0 <= layer < len(self.layers):
            taken = f"{len(self.layers)} ({', '.join(map(str, self.layers))})"
            raise InputError([Problem(self.file, 0, 0, f"layer {layer} with experts is asked for; it has {taken}")])
        return self.layers[layer]


class Counts(_Measured):
    """Draws with which every expert's expected share of the copies is the measured one (``draws.weights_for``).

    Formats: ``layer,expert_0,...`` with a row a layer; or ``model,selection,domain,layer,expert,token_count``, of which
    ``model``, ``selection`` and ``domain`` choose one measurement (an expert without a row has 0). Which experts go
    together, and how tokens follow each other, is not in such files: tokens are drawn independently. With ``drift``
    the measured shares stay and the experts trade them, in the order of hidden values that walk as in
    ``popularity.py`` and begin in the measured order.
    """

    def __init__(
        self, file: str, experts: int, top_k: int, layers: list[int], shares: dict[int, Any], drift: float, key: int
    ) -> None:
        super().__init__(file, experts, top_k, layers)
        self.shares: dict[int, NDArray[np.float64]] = shares  # by the file's layer: [N], sum 1
        self._weights: dict[int, NDArray[np.float64]] = {}
        self._walk = Walk(experts, key, drift)
        self._told = ["tokens drawn independently from measured counts: pairs of experts and bursts are not in them"]

    @classmethod
    def read(
        cls, path: Path, experts: int, top_k: int, layers: Sequence[int] | None = None, shown: str | None = None,
        model: str | None = None, selection: str | None = None, domain: str | None = None,
        blocks: Sequence[int] | None = None, drift: float = 0.0, key: int = 0,
    ) -> Counts:  # fmt: skip
        """InputError, with line and column, for files that are wrong or do not fit the model.

        ``blocks``: the model's layers with experts, by their numbers in the file. Without ``layers`` each takes its own
        row, or the nearest before it (the first where there is none).
        """
        problems = Problems(shown or str(path))
        text = read_text(path, problems) or ""
        problems.raise_if_any()
        first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
        if "token_count" in [name for name, _ in cells(first)]:
            chosen = {"model": model, "selection": selection, "domain": domain}
            table = _long_counts(path, experts, chosen, problems)
        else:
            table = _wide_counts(path, experts, problems)
        problems.raise_if_any()
        shares = {}
        for layer, (counts, line) in table.items():
            total = int(counts.sum())
            if total == 0:
                problems.add(line, f"layer {layer} has no tokens")
            elif counts.max() * top_k > total * (1 + 1e-9):
                expert = int(counts.argmax())
                reason = (
                    f"{counts[expert]} of {total} copies at expert {expert} is more than one a token at top-{top_k}"
                )
                problems.add(line, f"layer {layer}: {reason}")
            else:
                shares[layer] = counts / total
        found = sorted(table)
        taken = _take_layers(found, layers, problems)
        problems.raise_if_any()
        if layers is None and blocks is not None:
            taken = [max((layer for layer in found if layer <= block), default=found[0]) for block in blocks]
        source = cls(problems.file, experts, top_k, taken, shares, drift, key)
        if layers is None and blocks is not None and taken != list(blocks):
            own = ", ".join(map(str, found))
            source._told.append(f"counts of the layers {own} only: the others have those of the nearest before")
        return source

    def weights(self, step: int, layer: int) -> NDArray[np.float64]:
        """[N] weights of the draw for a step and a simulated layer."""
        own = self._layer(layer)
        if own not in self._weights:
            self._weights[own] = weights_for(self.shares[own], self.top_k)
        weights = self._weights[own]
        if self._walk.drift == 0 or step == 0:
            return weights
        order = np.argsort(weights, kind="stable")
        start = np.empty(self.experts)
        start[order] = ndtri((np.arange(self.experts) + 0.5) / self.experts)
        traded = np.empty(self.experts)
        traded[np.argsort(self._walk.values(step, layer, start), kind="stable")] = weights[order]
        return traded

    def choices(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.int32]:
        found: NDArray[np.int32] = draw(self.weights(step, layer), int(tokens_per_rank.sum()), self.top_k, seed_of(rng))
        return found

    def scores(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        found: NDArray[np.float32] = drawn_scores(self.weights(step, layer), int(tokens_per_rank.sum()), seed_of(rng))
        return found

    def notes(self) -> list[str]:
        return self._told


def _wide_counts(path: Path, experts: int, problems: Problems) -> dict[int, tuple[NDArray[np.int64], int]]:
    """By layer: counts [N] and the line."""
    table = integer_table(path, ["layer"], "expert_", problems)
    if table is None:
        return {}
    found = len(table.columns) - 1
    if found != experts:
        problems.add(table.header_line, f"{found} experts in the file; the model has {experts}")
        return {}
    _no_negatives(table, problems)
    result: dict[int, tuple[NDArray[np.int64], int]] = {}
    for row, layer in enumerate(table.column("layer").tolist()):
        if layer in result:
            table.fault(problems, row, "layer", f"{layer} twice")
        result[layer] = (table.value[row, 1:], int(table.line[row]))
    return result


def _no_negatives(table: Table, problems: Problems) -> None:
    for row, column in np.argwhere(table.value < 0)[:20].tolist():
        table.fault(problems, row, table.columns[column], f"{table.value[row, column]} is negative")


def _long_counts(
    path: Path, experts: int, chosen: dict[str, str | None], problems: Problems
) -> dict[int, tuple[NDArray[np.int64], int]]:
    """By layer: counts [N] and the first line of it."""
    rows = read_table(path, _LONG, [], problems)
    for name, value in chosen.items():
        values = list(dict.fromkeys(row.text[name] for row in rows))
        if value is None and len(values) > 1:
            problems.add(0, f"has several of {name}: choose one ({', '.join(values)})")
        elif value is not None and rows and value not in values:
            problems.add(0, f"has no {name} '{value}'{nearest(value, values)}")
    wanted = [row for row in rows if all(value in (None, row.text[name]) for name, value in chosen.items())]
    result: dict[int, tuple[NDArray[np.int64], int]] = {}
    if problems.found:
        return result
    given: set[tuple[int, int]] = set()
    for row in wanted:
        layer, expert, count = (_whole(row, name, problems) for name in ("layer", "expert", "token_count"))
        if layer is None or expert is None or count is None:
            continue
        if expert >= experts:
            problems.add(row.line, f"expert {expert} is unknown; the model has 0..{experts - 1}", row.column["expert"])
        elif (layer, expert) in given:
            problems.add(row.line, f"layer {layer}, expert {expert} twice", row.column["expert"])
        else:
            given.add((layer, expert))
            counts, _ = result.setdefault(layer, (np.zeros(experts, dtype=np.int64), row.line))
            counts[expert] = count
    return result


def _whole(row: Row, name: str, problems: Problems) -> int | None:
    text = row.text[name]
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        what = "is negative" if text[:1] == "-" and text[1:].isdigit() else "is not a whole number"
        problems.add(row.line, f"{name}: {text} {what}", row.column[name])
        return None
    return int(text)


class Trace(_Measured):
    """The measured experts of every token: ``layer,sequence,position,e0,...,e<K-1>``, the same tokens in each layer.

    The sequences are split over the ranks in equal consecutive parts (ranks share sequences where there are fewer).
    A rank's tokens are its part's, in order; each step goes on where the last ended, all steps having as many tokens as
    the present one, and begins again at the end of the part. ``notes`` says how often that happened.
    """

    def __init__(self, file: str, experts: int, layers: list[int], tables: dict[int, Any], first: Any) -> None:
        any_layer: NDArray[np.int32] = next(iter(tables.values()))
        super().__init__(file, experts, any_layer.shape[1], layers)
        self._choices: dict[int, NDArray[np.int32]] = tables  # by the file's layer: [tokens, K]
        self._first: NDArray[np.int64] = first  # [sequences + 1] token at which each sequence begins
        self._rounds = 0.0  # the most often that a rank's part was gone through

    @classmethod
    def read(
        cls, path: Path, experts: int, top_k: int, layers: Sequence[int] | None = None, shown: str | None = None
    ) -> Trace:
        """InputError, with line and column, for files that are wrong or do not fit the model."""
        problems = Problems(shown or str(path))
        table = integer_table(path, ["layer", "sequence", "position"], "e", problems)
        problems.raise_if_any()
        assert table is not None
        width = len(table.columns) - 3
        if width != top_k:
            problems.add(table.header_line, f"{width} experts a token in the file; the model chooses {top_k}")
            problems.raise_if_any()
        _no_negatives(table, problems)
        _check_experts(table, experts, problems)
        problems.raise_if_any()
        tables, first = _by_layer(table, problems)
        taken = _take_layers(list(tables), layers, problems)
        problems.raise_if_any()
        return cls(problems.file, experts, taken, tables, first)

    @property
    def tokens(self) -> int:
        """Tokens of the file, in each layer."""
        return int(self._first[-1])

    def choices(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.int32]:
        table = self._choices[self._layer(layer)]
        ranks, sequences = len(tokens_per_rank), len(self._first) - 1
        parts = []
        for rank, tokens in enumerate(tokens_per_rank.tolist()):
            begin = rank * sequences // ranks
            end = max((rank + 1) * sequences // ranks, begin + 1)
            low, high = int(self._first[begin]), int(self._first[end])
            parts.append(low + (step * tokens + np.arange(tokens)) % (high - low))
            self._rounds = max(self._rounds, (step + 1) * tokens / (high - low))
        return np.ascontiguousarray(table[np.concatenate(parts)] if parts else table[:0])

    def scores(
        self, tokens_per_rank: NDArray[np.int64], step: int, layer: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        popularity = np.bincount(self._choices[self._layer(layer)].ravel(), minlength=self.experts) + 0.5
        choices = self.choices(tokens_per_rank, step, layer, rng)
        found: NDArray[np.float32] = given_scores(popularity, choices, seed_of(rng))
        return found

    def notes(self) -> list[str]:
        if self._rounds > 1:
            return [f"the trace was repeated: some rank went through its part {self._rounds:.3g} times"]
        return []


def _check_experts(table: Table, experts: int, problems: Problems) -> None:
    value = table.value[:, 3:]
    for row, column in np.argwhere(value >= experts)[:20].tolist():
        name = table.columns[3 + column]
        table.fault(problems, row, name, f"expert {value[row, column]} is unknown; the model has 0..{experts - 1}")
    own = np.sort(value, axis=1)
    for row in np.flatnonzero((own[:, 1:] == own[:, :-1]).any(axis=1))[:20].tolist():
        table.fault(problems, row, table.columns[3], "the token has an expert twice")


def _by_layer(table: Table, problems: Problems) -> tuple[dict[int, NDArray[np.int32]], NDArray[np.int64]]:
    """By layer: choices [tokens, K] in order of sequence and position; and where each sequence begins."""
    layer, sequence, position = (table.column(name) for name in ("layer", "sequence", "position"))
    order = np.lexsort((position, sequence, layer))
    tables: dict[int, NDArray[np.int32]] = {}
    places: NDArray[np.int64] | None = None
    for own in np.unique(layer).tolist():
        rows = order[layer[order] == own]
        here = np.stack([sequence[rows], position[rows]], axis=1)
        twice = np.flatnonzero((np.diff(here, axis=0) == 0).all(axis=1))
        if len(twice):
            table.fault(problems, int(rows[twice[0] + 1]), "position", f"layer {own} has this token twice")
        elif places is None:
            places = here
        elif not np.array_equal(places, here):
            table.fault(problems, int(rows[0]), "layer", f"layer {own} has other tokens than the first layer")
        tables[own] = np.ascontiguousarray(table.value[rows, 3:], dtype=np.int32)
    assert places is not None
    starts = np.flatnonzero(np.diff(places[:, 0], prepend=places[0, 0] - 1))
    return tables, np.append(starts, len(places)).astype(np.int64)
