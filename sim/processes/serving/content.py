"""What requests are made of: class, lengths, tenant, system prompt, and the turns of a conversation.

Each kind of draw has a random stream of its own and is made in blocks of a fixed length, so that neither a policy nor
other lengths or classes change the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.request_lengths import Lengths, sample_pair
from models.request_traces import RequestTrace
from sim.processes.arrivals import BLOCK

Ints = NDArray[np.int64]
Columns = dict[str, Ints]  # of the book, [n] each
Rngs = Callable[[str], np.random.Generator]  # a new generator by name


class Kind(NamedTuple):
    """A class of requests. ``prompt`` and ``output`` are None where a trace gives the lengths."""

    name: str
    share: float
    prompt: Lengths | None
    output: Lengths | None
    priority: int = 0


class Popular:
    """Numbers from 0 on, drawn by rank to the power of minus ``exponent``."""

    def __init__(self, count: int, exponent: float, rng: np.random.Generator) -> None:
        self._upto = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -exponent)
        self._rng = rng

    def draw(self, number: int) -> Ints:
        found = np.searchsorted(self._upto, self._rng.random(number) * self._upto[-1], side="right")
        return np.minimum(found, len(self._upto) - 1)


@dataclass(frozen=True)
class Prefix:
    """System prompts: the first ``tokens`` of a prompt (all of a shorter one) are those of its group."""

    tokens: int
    groups: int
    drawn: Popular


class Think(NamedTuple):
    """Times between turns: constant, or exponential."""

    mean: int  # ps
    exponential: bool

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        if not self.exponential:
            return np.full(number, self.mean, dtype=np.int64)
        return np.minimum(np.ceil(rng.standard_exponential(number) * self.mean), 2.0**62).astype(np.int64)


class Conversation(NamedTuple):
    """The turns of one session, or a single request (``session`` -1). ``prompt``: tokens new in each turn."""

    session: int
    kind: int
    tenant: int
    group: int  # of the system prompt; -1: none
    prompt: list[int]
    output: list[int]
    think: list[int]  # ps before each turn; that of the first one is not used


class Content:
    """Draws what requests are made of, in the order in which they come."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        rngs: Rngs,
        *,
        tenants: Popular | None = None,
        prefix: Prefix | None = None,
        hash_tokens: int = 16,
        limit: int | None = None,
    ) -> None:
        """``limit``: longer prompts are cut to it."""
        self.kinds, self.prefix, self.hash_tokens, self.limit = kinds, prefix, hash_tokens, limit
        self._tenants = tenants
        self._upto = np.cumsum([kind.share for kind in kinds])
        self._priority = np.array([kind.priority for kind in kinds], dtype=np.int64)
        self._rngs = rngs
        self._which = rngs("classes")
        self._lengths = [(rngs(f"lengths/{kind.name}/prompt"), rngs(f"lengths/{kind.name}/output")) for kind in kinds]

    # -- single requests, column by column

    def fresh(self, number: int) -> Columns:
        """A block of drawn requests, without arrivals."""
        columns = self._drawn(number)
        columns["prompt"], columns["output"] = self._tokens(columns["kind"])
        return columns

    def replayed(self, trace: RequestTrace, first_hash: int) -> Iterator[Columns]:
        """Those of a trace, block by block; its hashes stand in the book from ``first_hash`` on."""
        codes = {kind.name: code for code, kind in enumerate(self.kinds)}
        turn = trace.turn
        for begin in range(0, len(trace.arrival), BLOCK):
            rows = slice(begin, begin + BLOCK)
            number = len(trace.arrival[rows])
            columns = {name: values[:number] for name, values in self._drawn(BLOCK).items()}
            columns |= {name: getattr(trace, name)[rows] for name in ("arrival", "prompt", "output")}
            if trace.kind is not None and len(codes) > 1:
                columns["kind"] = np.array([codes[name] for name in trace.kind[rows]], dtype=np.int64)
                columns["priority"] = self._priority[columns["kind"]]
            if trace.tenant is not None:
                columns["tenant"] = trace.tenant[rows]
            if trace.session is not None:
                columns |= {"session": trace.session[rows], "turn": turn[rows]}
            if trace.hash_start is not None and trace.hash_count is not None:
                columns |= {"hash_start": trace.hash_start[rows] + first_hash, "hash_count": trace.hash_count[rows]}
            yield columns

    def _drawn(self, number: int) -> Columns:
        """All but the lengths."""
        kind = np.searchsorted(self._upto, self._which.random(number) * self._upto[-1], side="right")
        kind = np.minimum(kind, len(self.kinds) - 1)
        columns = {"kind": kind, "priority": self._priority[kind]}
        if self._tenants is not None:
            columns["tenant"] = self._tenants.draw(number)
        if self.prefix is not None:
            columns["group"] = self.prefix.drawn.draw(number)
        return columns

    def _tokens(self, kind: Ints) -> tuple[Ints, Ints]:
        """Tokens of prompts and answers of requests of given classes."""
        prompt, output = np.empty_like(kind), np.empty_like(kind)
        for code, one in enumerate(self.kinds):
            rows = np.flatnonzero(kind == code) if len(self.kinds) > 1 else slice(None)
            number = len(kind) if isinstance(rows, slice) else len(rows)
            assert one.prompt is not None
            assert one.output is not None
            prompt[rows], output[rows] = sample_pair(self._lengths[code], one.prompt, one.output, number)
        return prompt, output

    def settle(self, columns: Columns, first_hash: int) -> tuple[Columns, Ints, Ints]:
        """(columns as the book takes them, rows whose prompt is cut, rows whose answer of no token becomes one).

        ``first_hash``: where the hashes of the system prompts stand.
        """
        columns = dict(columns)
        prompt, output = columns["prompt"], columns["output"]
        empty = np.flatnonzero(output == 0)
        columns["output"] = np.maximum(output, 1)
        cut = np.zeros(0, dtype=np.int64) if self.limit is None else np.flatnonzero(prompt > self.limit)
        if len(cut):
            columns["prompt"] = prompt = np.minimum(prompt, self.limit)
            if "hash_count" in columns:
                columns["hash_count"] = columns["hash_count"].copy()
                columns["hash_count"][cut] = np.minimum(columns["hash_count"][cut], self.limit // self.hash_tokens)
        group = columns.pop("group", None)
        if group is not None and self.prefix is not None:
            whole = self.prefix.tokens // self.hash_tokens
            columns["hash_start"] = first_hash + group * whole
            columns["hash_count"] = np.minimum(self.prefix.tokens, prompt) // self.hash_tokens
        return columns, cut, empty

    def prefix_hashes(self) -> Ints:
        """Ids of the system prompts' whole hashes, group after group."""
        if self.prefix is None:
            return np.zeros(0, dtype=np.int64)
        return np.arange(self.prefix.groups * (self.prefix.tokens // self.hash_tokens), dtype=np.int64)

    # -- conversations

    def conversations(self, turns: Lengths | None, think: Think | None) -> Iterator[Conversation]:
        """Without end. ``turns`` None: single requests."""
        how_many, when = self._rngs("sessions/turns"), self._rngs("sessions/think")
        number = 0
        while True:
            drawn = self._drawn(BLOCK)
            count = np.ones(BLOCK, dtype=np.int64) if turns is None else turns.sample(how_many, BLOCK)
            total = int(count.sum())
            prompt, output = self._tokens(np.repeat(drawn["kind"], count))
            waits = np.zeros(total, dtype=np.int64) if think is None else think.sample(when, total)
            none = np.zeros(BLOCK, dtype=np.int64)
            singles = zip(
                drawn["kind"].tolist(),
                drawn.get("tenant", none).tolist(),
                drawn.get("group", none - 1).tolist(),
                np.cumsum(count).tolist(),
                count.tolist(),
                strict=True,
            )
            for kind, tenant, group, end, length in singles:
                rows = slice(end - length, end)
                parts = [column[rows].tolist() for column in (prompt, output, waits)]
                yield Conversation(-1 if turns is None else number, kind, tenant, group, *parts)
                number += 1

    def chain(self, talk: Conversation, fresh: int) -> Ints:
        """Ids of a conversation's hashes from its first token to its last, new ones from ``fresh`` on."""
        whole = (sum(talk.prompt) + sum(talk.output)) // self.hash_tokens
        ids = np.arange(fresh, fresh + whole, dtype=np.int64)
        if self.prefix is not None and talk.group >= 0:
            each = self.prefix.tokens // self.hash_tokens
            shared = min(each, min(self.prefix.tokens, talk.prompt[0]) // self.hash_tokens, whole)
            ids[:shared] = talk.group * each + np.arange(shared)
        return ids
