"""Requests that arrive: an open loop, sessions that an open loop starts, or users who wait for their answers.

Cast: ``Content`` draws what requests are made of; ``Asked`` is the workload; ``RequestArrivals`` writes requests into
the book and submits them to the front; a ``_Talk`` is a conversation under way, whose turns follow each other's ends.
A later turn asks with the whole conversation so far before its new tokens. A conversation ends where a turn is not
answered.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy

from models.request_lengths import Lengths
from models.request_traces import RequestTrace
from sim.engine.serving.book import FINISHED, Book
from sim.processes.arrivals import Gaps
from sim.processes.serving.content import Columns, Content, Conversation, Think

_SOONEST = 10**9  # ps: a user whose request was turned away waits at least so long, so that the clock goes on


class Answers(Protocol):
    """The front, as far as arrivals need it."""

    on_over: list[Callable[[int], None]]

    def submit(self, request: int) -> None: ...


class Closed(NamedTuple):
    """Users, each with one request or session under way, or thinking."""

    concurrency: int
    think: Think


class Sessions(NamedTuple):
    turns: Lengths
    think: Think


class Asked(NamedTuple):
    """A workload of requests before it runs. Either ``gaps``, ``closed`` or a ``trace`` says when they come."""

    content: Content
    gaps: Gaps | None
    closed: Closed | None
    trace: RequestTrace | None
    sessions: Sessions | None
    count: int | None  # requests, or sessions where there are such
    until: int | None  # ps: none starts later
    rng: np.random.Generator  # of the gaps
    pauses: np.random.Generator  # of the users' thinking
    endless: bool
    total: int | None  # requests in all, where it is known
    hash_tokens: int
    load: float | None = None  # requests per second, where a rate is given

    @property
    def open_loop(self) -> bool:
        """Whether arrivals don't wait for answers."""
        return self.closed is None


class RequestArrivals:
    """Submits requests when they are due. ``done`` comes when all of them are over; never where they are endless."""

    def __init__(
        self,
        env: simpy.Environment,
        front: Answers,
        book: Book,
        asked: Asked,
        count: Callable[[str, str, int], None],
        name: str = "requests",
    ) -> None:
        """``count``: told (what, reason, how many) of what was changed or left out."""
        self._env, self._front, self._book, self._asked, self._count = env, front, book, asked, count
        self._name = name
        self.endless = asked.endless
        self.submitted = self.over = 0
        self._expected = 0  # conversations under way or planned
        self._all_arrived = False
        self.done: simpy.Event = env.event()
        content = asked.content
        self._prefix_hashes = book.add_hashes(content.prefix_hashes())
        self._fresh = len(content.prefix_hashes())  # the next id that no hash has
        self._talks: dict[int, _Talk] = {}  # by number of the request that is under way
        if asked.closed is None and asked.sessions is None:
            front.on_over.append(self._single_over)
            env.process(self._requests(self._blocks()))
            return
        front.on_over.append(self._turn_over)
        sessions = asked.sessions
        self._source = content.conversations(*(sessions or (None, None)))
        self._left = asked.count
        if asked.closed is None:
            env.process(self._openings())
        else:
            for _ in range(asked.closed.concurrency):
                self._next_of_user(0)
            self._all_arrived = True
            self._end_if_over()

    # -- single requests of an open loop

    def _blocks(self) -> Iterator[Columns]:
        asked = self._asked
        if asked.trace is not None:
            first = 0 if asked.trace.hashes is None else self._book.add_hashes(asked.trace.hashes)
            yield from self._until(asked.content.replayed(asked.trace, first))
            return
        assert asked.gaps is not None
        yield from self._until(self._drawn(asked.gaps))

    def _drawn(self, gaps: Gaps) -> Iterator[Columns]:
        left = self._asked.count
        for start in gaps.starts(self._asked.rng):
            columns = self._asked.content.fresh(len(start))
            number = len(start) if left is None else min(left, len(start))
            yield {"arrival": start[:number]} | {name: values[:number] for name, values in columns.items()}
            if left is not None:
                left -= number
                if left == 0:
                    return

    def _until(self, blocks: Iterator[Columns]) -> Iterator[Columns]:
        until = self._asked.until
        for columns in blocks:
            number = len(columns["arrival"])
            if until is not None:
                number = int(np.searchsorted(columns["arrival"], until, side="right"))
            if number:
                yield {name: values[:number] for name, values in columns.items()}
            if number < len(columns["arrival"]):
                return

    def _requests(self, blocks: Iterator[Columns]) -> Generator[simpy.Event, Any, None]:
        env, submit, content = self._env, self._front.submit, self._asked.content
        for raw in blocks:
            columns, cut, empty = content.settle(raw, self._prefix_hashes)
            first = self._book.add_block(columns)
            changed = {*cut.tolist(), *empty.tolist()}
            for row, start in enumerate(columns["arrival"].tolist()):
                if start > env.now:
                    yield env.timeout(start - env.now)
                if row in changed:
                    self._note(int(raw["prompt"][row]), int(raw["output"][row]))
                self.submitted += 1
                submit(first + row)
        self._all_arrived = True
        self._end_if_over()

    def _note(self, prompt: int, output: int) -> None:
        """A request that is not as its source says."""
        limit = self._asked.content.limit
        if limit is not None and prompt > limit:
            self._count("prompts clipped", f"longer than prompt_limit, {limit:,} tokens", 1)
        if output == 0:
            self._count("answers lengthened", "of no token, taken as one", 1)

    def _single_over(self, request: int) -> None:
        self.over += 1
        self._end_if_over()

    # -- conversations

    def _openings(self) -> Generator[simpy.Event, Any, None]:
        """Sessions that an open loop starts."""
        env, asked = self._env, self._asked
        assert asked.gaps is not None
        for block in asked.gaps.starts(asked.rng):
            for start in block.tolist():
                if self._left == 0 or (asked.until is not None and start > asked.until):
                    break
                if start > env.now:
                    yield env.timeout(start - env.now)
                self._open(None)
            else:
                continue
            break
        self._all_arrived = True
        self._end_if_over()

    def _open(self, user: Callable[[bool], None] | None) -> None:
        """The next conversation begins now; ``user`` is told of its end, and whether it was answered."""
        if self._left is not None:
            self._left -= 1
        talk = next(self._source)
        content, first = self._asked.content, -1
        if talk.session >= 0:
            chain = content.chain(talk, self._fresh)
            first = self._book.add_hashes(chain)
            self._fresh += len(chain)
        elif content.prefix is not None:
            first = self._prefix_hashes + talk.group * (content.prefix.tokens // content.hash_tokens)
        self._expected += 1
        self._ask(_Talk(talk, first, user))

    def _ask(self, talk: _Talk) -> None:
        """Submits the present turn."""
        content, (what, first, _) = self._asked.content, talk.of
        before = sum(what.prompt[: talk.turn]) + sum(what.output[: talk.turn])
        prompt = before + what.prompt[talk.turn]
        output = what.output[talk.turn]
        self._note(prompt, output)
        shared = prompt + output
        if content.limit is not None and prompt > content.limit:
            prompt = shared = content.limit
        columns = {
            "arrival": int(self._env.now), "prompt": prompt, "output": output, "kind": what.kind,
            "priority": content.kinds[what.kind].priority, "tenant": what.tenant, "session": what.session,
            "turn": talk.turn,
        }  # fmt: skip
        if first >= 0:
            columns |= {"hash_start": first, "hash_count": self._covered(what, shared)}
        request = self._book.add(**columns)
        self._talks[request] = talk
        self.submitted += 1
        self._front.submit(request)

    def _covered(self, talk: Conversation, tokens: int) -> int:
        """Hashes of the first ``tokens`` of a conversation; of a single request only those of its system prompt."""
        content = self._asked.content
        if talk.session < 0 and content.prefix is not None:
            tokens = min(content.prefix.tokens, talk.prompt[0], tokens)
        return tokens // content.hash_tokens

    def _turn_over(self, request: int) -> None:
        self.over += 1
        talk = self._talks.pop(request)
        what, _, user = talk.of
        answered = bool(self._book.rows["status"][request] == FINISHED)
        talk.turn += 1
        left = len(what.prompt) - talk.turn
        if left and answered:
            self._later(what.think[talk.turn], partial(self._ask, talk))
            return
        if left:
            self._count("turns not asked", "an earlier turn was not answered", left)
        self._expected -= 1
        if user is not None:
            user(answered)
        self._end_if_over()

    def _next_of_user(self, wait: int) -> None:
        """A user asks after ``wait`` ps, if there is something left to ask by then."""
        asked = self._asked
        if self._left == 0 or (asked.until is not None and self._env.now + wait > asked.until):
            return
        self._expected += 1
        self._later(wait, self._user_asks)

    def _user_asks(self) -> None:
        self._expected -= 1
        if self._left == 0:
            self._end_if_over()
        else:
            self._open(self._answered)

    def _answered(self, answered: bool) -> None:
        assert self._asked.closed is not None
        wait = int(self._asked.closed.think.sample(self._asked.pauses, 1)[0])
        self._next_of_user(wait if answered else max(wait, _SOONEST))

    def _later(self, wait: int, then: Callable[[], None]) -> None:
        self._env.timeout(wait).callbacks.append(lambda event: then())

    # -- the end

    def _end_if_over(self) -> None:
        over = self.over == self.submitted and not self._expected
        if self._all_arrived and over and not self.done.triggered:
            self.done.succeed()

    def describe_waiting(self) -> list[str]:
        """The requests that are not over."""
        waiting = self.submitted - self.over
        return [f"{self._name}: {waiting} of {self.submitted} requests are not over"] if waiting else []


class _Talk:
    """A conversation under way: what it is, where its hashes stand (-1: none), who is told of its end."""

    __slots__ = ("of", "turn")

    def __init__(self, what: Conversation, first_hash: int, user: Callable[[bool], None] | None) -> None:
        self.of = what, first_hash, user
        self.turn = 0
