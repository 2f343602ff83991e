"""The schedulers of serving in plain Python: slow, and the specification of the compiled ones.

Requests are plain objects with the columns of the book; waiting requests a sorted list, the prefix cache a dictionary
of users by block and an ordered one of the unused, oldest first.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from models.mix import combine
from models.serving import law
from sim.engine.serving.book import FINISHED, LOST, MOVING, RUNNING, WAITING
from sim.engine.serving.state import EngineSettings


@dataclass(eq=False)
class Request:
    number: int
    prompt: int
    output: int
    hashes: list[int] = field(default_factory=list)
    priority: int = 0
    predicted: int = -1
    kind: int = 0
    limit: int = 0
    computed: int = 0
    generated: int = 0
    blocks: int = 0
    shared: int = 0
    host: int = 0
    expected: int = 0
    previous: int = -1
    gap_max: int = 0
    queued: int = -1
    scheduled: int = -1
    first: int = -1
    last: int = -1
    cached: int = 0
    preempted: int = 0
    rank: int = -1
    status: int = 0
    home: Scheduler | None = None  # who holds its blocks

    @property
    def lack(self) -> int:
        return self.prompt + self.generated - self.computed

    @property
    def decoding(self) -> bool:
        return self.lack == 1 and self.computed >= self.prompt


class Scheduler:
    def __init__(self, world: World, settings: EngineSettings) -> None:
        self.world, self.settings = world, settings
        self.waiting: list[tuple[int, int, Request]] = []  # (-priority, order, request)
        self.running: list[list] = []  # request, tokens, drafts
        self.flight: dict[Request, tuple[int, int, bool]] = {}  # under way: tokens, drafts, whether it gives a token
        self.displaced: list[Request] = []  # of these, those preempted since
        self.wasted: list[list] = []  # of requests that ended in the meantime
        self.users: dict[tuple[int, int], int] = {}
        self.idle: OrderedDict[tuple[int, int], None] = OrderedDict()
        self.held = self.host_used = self.preempted = self.swapped = self.head = self.tail = 0
        self.busy = False
        self.counts = dict.fromkeys(("preemptions", "swapped", "swap_refused", "looked", "hit", "evicted", "tokens"), 0)

    # blocks

    @property
    def free(self) -> int:
        return self.settings.kv_blocks - self.held - len(self.users) + len(self.idle)

    def named(self, request: Request, tokens: int) -> list[tuple[int, int]]:
        """What the cache calls the blocks that ``tokens`` fill."""
        size, per = self.settings.block_tokens, self.settings.hash_tokens
        full = min(tokens // size, len(request.hashes) * per // size) if self.settings.prefix_cache else 0
        return [(request.hashes[block * size // per], block * size % per) for block in range(full)]

    def found(self, request: Request, tokens: int) -> list[tuple[int, int]]:
        names = self.named(request, tokens)
        return names[: next((place for place, name in enumerate(names) if name not in self.users), len(names))]

    def use(self, name: tuple[int, int]) -> None:
        self.idle.pop(name, None)
        self.users[name] = self.users.get(name, 0) + 1

    def claim(self, request: Request, blocks: int) -> None:
        while self.held + len(self.users) + blocks > self.settings.kv_blocks:
            del self.users[self.idle.popitem(last=False)[0]]
            self.counts["evicted"] += 1
        self.held += blocks
        request.blocks += blocks

    def name_full(self, request: Request, tokens: int) -> None:
        for name in self.named(request, tokens)[request.shared :]:
            self.use(name)
            request.shared += 1
            request.blocks -= 1
            self.held -= 1

    def give_back(self, request: Request) -> None:
        names = self.named(request, request.shared * self.settings.block_tokens)
        for name in reversed(names):
            self.users[name] -= 1
            if self.users[name] == 0:
                self.idle[name] = None
        self.held -= request.blocks
        request.blocks = request.shared = 0

    # composition

    def wait(self, request: Request, ahead: bool) -> None:
        request.status = WAITING
        if ahead:
            self.head -= 1
        else:
            self.tail += 1
        insort(self.waiting, (-request.priority, self.head if ahead else self.tail, request))

    def preempt(self, place: int) -> None:
        request = self.running.pop(place)[0]
        self.give_back(request)
        moved = ceil((request.computed + self.under_way(request)[0]) / self.settings.block_tokens)
        if request in self.flight:
            self.displaced.append(request)
        if self.settings.swap and moved and self.host_used + moved <= self.settings.host_blocks:
            request.host = moved
            self.host_used += moved
            self.swapped += moved
            self.counts["swapped"] += moved
        else:
            request.computed = 0
            self.counts["swap_refused"] += self.settings.swap
        request.preempted += 1
        self.preempted += 1
        self.counts["preemptions"] += 1
        self.wait(request, ahead=True)

    def under_way(self, request: Request) -> tuple[int, int, bool]:
        return self.flight.get(request, (0, 0, False))

    def hands_over(self, request: Request) -> bool:
        """Its prefill ends with the batch under way, and its KV is wanted elsewhere."""
        _, drafts, samples = self.under_way(request)
        return request.limit < request.output and request.generated + drafts + samples >= request.limit

    def serve_running(self, budget: int) -> int:
        size, place = self.settings.block_tokens, 0
        while place < len(self.running):
            request = self.running[place][0]
            going, guesses, samples = self.under_way(request)
            computed = request.computed + going
            lack = request.prompt + request.generated + samples + guesses - computed
            if samples and request.generated + 1 == request.limit:
                place += 1
                continue
            drafts = 0
            if lack == 1 and computed >= request.prompt:
                drafts = min(self.settings.draft_tokens, request.limit - request.generated - samples - guesses - 1)
            tokens = min(lack + max(drafts, 0), budget)
            wanted = max(ceil((computed + tokens) / size) - request.blocks - request.shared, 0)
            while wanted > self.free:
                able = [at for at, entry in enumerate(self.running) if not self.hands_over(entry[0])]
                victim = max(able, key=lambda at: (-self.running[at][0].priority, at))
                if victim < place:
                    budget += self.running[victim][1]
                    place -= 1
                    self.preempt(victim)
                    continue
                self.preempt(victim)
                if victim == place:
                    break
            else:
                self.claim(request, wanted)
                self.running[place][1:] = tokens, max(tokens - lack, 0)
                budget -= tokens
                place += 1
        return budget

    def admit(self, budget: int, whom: str, now: int) -> int:
        size, whole = self.settings.block_tokens, budget
        while self.waiting and len(self.running) < self.settings.max_sequences and budget > 0:
            request = self.waiting[0][2]
            if whom != "any" and (request.computed > 0) != (whom == "ready"):
                break
            known = request.prompt + request.generated
            hits = self.found(request, known - 1)
            tokens = known - max(request.computed, len(hits) * size)
            if self.settings.chunked:
                tokens = min(tokens, budget)
            elif tokens > budget and budget < whole:
                break
            idle = sum(name in self.idle for name in hits)
            if ceil(known / size) - len(hits) + idle > self.free - self.settings.reserve:
                break
            del self.waiting[0]
            if request.scheduled < 0:
                request.scheduled = now
                request.cached = min(len(hits) * size, request.prompt)
            self.swapped += request.host
            self.counts["swapped"] += request.host
            self.host_used -= request.host
            request.host = 0
            if request.computed == 0 and request.hashes and self.settings.prefix_cache:
                self.counts["looked"] += known
                self.counts["hit"] += len(hits) * size
            for name in hits:
                self.use(name)
            request.shared = len(hits)
            request.computed = max(request.computed, len(hits) * size)
            self.claim(request, ceil((request.computed + tokens) / size) - len(hits))
            self.name_full(request, request.computed + tokens)
            request.status = RUNNING
            self.running.append([request, tokens, 0])
            budget -= tokens
        return budget

    def compose(self, now: int) -> None:
        self.preempted = self.swapped = 0
        budget, chunked = self.settings.token_budget, self.settings.chunked
        for entry in self.running:
            entry[1:] = 0, 0
        if not chunked and self.admit(budget, "fresh", now) < budget:
            return
        budget = self.serve_running(budget)
        for request, tokens, _ in self.running:
            after = request.computed + self.under_way(request)[0] + tokens
            self.name_full(request, min(after, request.prompt + request.generated))
        if not self.preempted:
            self.admit(budget, "any" if chunked else "ready", now)

    def gather(self, totals: np.ndarray, chunks: np.ndarray) -> None:
        """The batch in the columns of the cost law."""
        batch = [entry for entry in self.running + self.wasted if entry[1]]
        decodes = [entry for entry in batch if entry[0].decoding]
        prompts = [entry for entry in batch if not entry[0].decoding]
        lengths = [request.computed + tokens for request, tokens, _ in decodes]
        totals[law.TOKENS] = sum(tokens for _, tokens, _ in batch)
        totals[law.SEQUENCES] = sum(tokens - drafts == request.lack for request, tokens, drafts in batch)
        totals[law.DECODES], totals[law.CONTEXT] = len(decodes), sum(lengths)
        totals[law.LONGEST], totals[law.PREFILLS] = max(lengths, default=0), len(prompts)
        totals[law.SWAPPED], totals[law.DRAFTED] = self.swapped, sum(drafts for _, _, drafts in decodes)
        for place, (request, tokens, _) in enumerate(prompts):
            chunks[place] = tokens, request.computed
        self.counts["tokens"] += int(totals[law.TOKENS])
        self.busy = bool(batch)
        self.flight = {
            request: (tokens, drafts, tokens - drafts == request.lack)
            for request, tokens, drafts in self.running
            if tokens
        }
        self.displaced, self.wasted = [], []
        for entry in self.running:
            entry[1:] = 0, 0

    def finish(self, now: int) -> None:
        for request in self.displaced + [one for one in self.flight if one not in self.displaced]:
            tokens, drafts, samples = self.flight[request]
            lost = request.status == WAITING and not request.host
            request.computed += 0 if lost else tokens - drafts
            if not samples:
                continue
            fresh = 1 + self.world.accepted(request, drafts, self.settings.acceptance)
            request.computed += 0 if lost else fresh - 1
            if request.previous < 0:
                request.first = now
            else:
                self.world.gaps.append((request.kind, now - request.previous))
                request.gap_max = max(request.gap_max, now - request.previous)
            request.previous = now
            request.generated += fresh
            if request.status == RUNNING and self.settings.async_scheduling:
                self.name_full(request, request.computed)
            if request.generated >= request.limit:
                self.wasted += [entry for entry in self.running if entry[0] is request]
                self.forget(request)
                self.world.told.append(request.number)
                request.last = now
                request.status = MOVING if request.limit < request.output else FINISHED
                if request.status == FINISHED:
                    self.give_back(request)
                    self.world.ended.append(request.generated)
        self.busy = False
        self.flight = {}

    def forget(self, request: Request) -> None:
        self.waiting = [entry for entry in self.waiting if entry[2] is not request]
        self.running = [entry for entry in self.running if entry[0] is not request]
        self.host_used -= request.host
        request.host = 0


class World:
    """All schedulers, with the same methods as the compiled ones."""

    def __init__(
        self, requests: list[Request], settings: list[EngineSettings], costs: list[np.ndarray], key: int
    ) -> None:
        self.requests, self.key, self.costs = requests, key, costs
        self.schedulers = [Scheduler(self, each) for each in settings]
        self.most = max(each.max_sequences for each in settings)
        self.told: list[int] = []
        self.ended: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.turns: dict[int, int] = {}

    def accepted(self, request: Request, drafts: int, acceptance: float) -> int:
        for count in range(drafts):
            word = combine(combine(self.key, 2), combine(request.number, request.generated + count))
            if ((int(word) >> 11) + 1) * 2.0**-53 > acceptance:
                return count
        return drafts

    def place(self, first: int, ranks: int) -> int:
        start = self.turns.get(first, 0)
        order = [(start + number) % ranks for number in range(ranks)]
        loads = {rank: self.schedulers[first + rank] for rank in order}
        best = min(order, key=lambda rank: 4 * len(loads[rank].waiting) + len(loads[rank].running))
        self.turns[first] = (best + 1) % ranks
        return first + best

    def add(self, rank: int, number: int, now: int) -> None:
        request = self.requests[number]
        believed = request.predicted
        if believed < 0:
            believed = (sum(self.ended) + len(self.ended) // 2) // len(self.ended) if self.ended else 0
        request.expected = max(min(believed, request.limit) if request.limit < request.output else believed, 1)
        request.rank, request.home = rank, self.schedulers[rank]
        if request.queued < 0:
            request.queued = now
        self.schedulers[rank].wait(request, ahead=False)

    def cached_tokens(self, rank: int, number: int) -> int:
        scheduler, request = self.schedulers[rank], self.requests[number]
        return len(scheduler.found(request, request.prompt - 1)) * scheduler.settings.block_tokens

    def turn(self, first: int, ranks: int, now: int) -> int:
        self.told = []
        totals, chunks = np.zeros((ranks, law.TOTALS)), np.zeros((ranks, self.most, 2))
        group = self.schedulers[first : first + ranks]
        for scheduler in group:
            if scheduler.busy:
                scheduler.finish(now)
        ready = any(tokens for scheduler in group for _, tokens, _ in scheduler.running + scheduler.wasted)
        for rank, scheduler in enumerate(group):
            if not ready:
                scheduler.compose(now)
            scheduler.gather(totals[rank], chunks[rank])
        if not any(scheduler.busy for scheduler in group):
            return 0
        more = max(
            scheduler.swapped * scheduler.settings.swap_ps_per_block
            + (scheduler.settings.draft_ps if totals[rank, law.DRAFTED] else 0)
            for rank, scheduler in enumerate(group)
        )
        for scheduler in group:
            if scheduler.settings.async_scheduling:
                scheduler.compose(now)
        return max(ceil(law.iteration_us(self.costs[first], totals, chunks, ranks) * 1e6), 1) + more

    def release(self, rank: int, number: int) -> None:
        request = self.requests[number]
        if request.home is self.schedulers[rank]:
            request.home.give_back(request)
        request.blocks = request.shared = 0

    def cancel(self, number: int, now: int) -> None:
        request = self.requests[number]
        if request.status not in (WAITING, RUNNING, MOVING):
            return
        scheduler = self.schedulers[request.rank]
        scheduler.forget(request)
        scheduler.flight.pop(request, None)
        self.release(request.rank, number)
        request.computed = 0
        request.status, request.rank = LOST, -1

    def drop(self, rank: int) -> list[int]:
        old = self.schedulers[rank]
        gone = [entry[0] for entry in old.running] + [entry[2] for entry in old.waiting]
        for request in gone:
            request.computed = request.blocks = request.shared = request.host = 0
            request.status, request.rank = LOST, -1
        fresh = Scheduler(self, old.settings)
        fresh.counts = old.counts
        self.schedulers[rank] = fresh
        return [request.number for request in gone]
