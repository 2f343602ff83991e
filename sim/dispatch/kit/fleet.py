"""A few replicas for routers to choose from: each serves its requests one by one, and caches prefixes for ever.

No model of an engine: a token of a prompt takes 1 us and one of the output 10 us, whatever else waits. It is there so
that a policy meets all that it can meet: queues, reports, replicas that go, halves of requests.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, HOLD, PREFILL, WHOLE, Incoming, RouterParams
from sim.dispatch.request_loads import Report, TrueLoads
from sim.dispatch.request_view import DECODES, MIXED, PREFILLS, Facts, RequestView
from sim.dispatch.router import Router

US = 10**6  # ps
LOAD = np.dtype(
    [
        (name, "i8")
        for name in ("waiting", "running", "waiting_tokens", "used_blocks", "kv_blocks", "outstanding_tokens")
    ]
)
BLOCK = 16  # tokens


class Job(NamedTuple):
    """A request at a replica."""

    request: Incoming
    copy: int  # of the router
    output: int


class Fleet:
    """Replicas of one scheduler each, with the loads, caches and forecasts that a view asks for."""

    def __init__(self, roles: Sequence[int], qualities: Sequence[float] | None = None) -> None:
        number = len(roles)
        self.now = 0
        self.loads = np.zeros(number, dtype=LOAD)
        self.loads["kv_blocks"] = 4096
        self.true = TrueLoads(self.loads, np.arange(number))
        self.requests: dict[int, Incoming] = {}
        self.queues: list[list[Job]] = [[] for _ in roles]  # the first one runs
        self.cached: list[set[int]] = [set() for _ in roles]
        self.ends: list[tuple[int, int]] = []  # heap of (ps, replica)
        same = np.ones(number, dtype=np.int64)
        # a pool for each role, or one for each replica where their models differ
        pool = np.unique(roles, return_inverse=True)[1] if qualities is None else np.arange(number)
        names = [f"pool{index}" for index in range(int(pool.max()) + 1)]
        quality = np.array([np.nan] * number if qualities is None else qualities, dtype=np.float64)
        role = np.array(roles, dtype=np.int64)
        sizes = (4096 * same, BLOCK * same, 64 * same, 2048 * same, np.arange(number))
        self.facts = Facts(tuple(names), pool, role, quality, *sizes, BLOCK)

    def view(self, params: RouterParams) -> RequestView:
        return RequestView(self.facts, params, self, self.true, lambda: self.now)

    def cached_tokens(self, first: NDArray[np.int64], ranks: NDArray[np.int64], request: int) -> NDArray[np.int64]:
        """Each replica has one scheduler: ``ranks`` are ones."""
        hashes = self.requests[request].hashes.tolist()
        caches = [self.cached[replica] for replica in first.tolist()]
        found = [next((n for n, block in enumerate(hashes) if block not in cache), len(hashes)) for cache in caches]
        return BLOCK * np.array(found, dtype=np.int64)

    def forecast(self, rank: int, request: int, now: int, most_steps: int) -> tuple[int, int]:
        asked = self.requests[request]
        begin = now + sum(_time(job) for job in self.queues[rank]) + asked.prompt * US
        return begin, begin + 10 * US * max(asked.predicted, 1)

    def take(self, replica: int, job: Job) -> None:
        """A request arrives at a replica."""
        self.queues[replica].append(job)
        self.cached[replica].update(job.request.hashes.tolist())
        if len(self.queues[replica]) == 1:
            heapq.heappush(self.ends, (self.now + _time(job), replica))
        self._count(replica)

    def end(self, replica: int) -> Job:
        """The request that runs at a replica ends now."""
        job = self.queues[replica].pop(0)
        if self.queues[replica]:
            heapq.heappush(self.ends, (self.now + _time(self.queues[replica][0]), replica))
        self._count(replica)
        return job

    def drop(self, replica: int) -> list[Job]:
        """A replica fails: the requests that it had, and its cache, are gone."""
        jobs, self.queues[replica] = self.queues[replica], []
        self.ends = [end for end in self.ends if end[1] != replica]
        heapq.heapify(self.ends)
        self.cached[replica].clear()
        self._count(replica)
        return jobs

    def _count(self, replica: int) -> None:
        jobs = self.queues[replica]
        prompts = sum(job.request.prompt for job in jobs)
        outputs = sum(max(job.request.predicted, 0) for job in jobs)
        row = self.loads[replica]
        row["running"] = min(len(jobs), 1)
        row["waiting"] = max(len(jobs) - 1, 0)
        row["waiting_tokens"], row["outstanding_tokens"] = prompts, prompts + outputs
        row["used_blocks"] = sum(-(-job.request.prompt // BLOCK) for job in jobs)


def _time(job: Job) -> int:
    prompt = 0 if job.request.stage == DECODE else job.request.prompt
    return US * (prompt + (0 if job.request.stage == PREFILL else 10 * job.output))


class Traffic(NamedTuple):
    """Requests and what happens beside them."""

    name: str
    requests: list[tuple[Incoming, int]]  # by rising time, with the output
    roles: tuple[int, ...] = (MIXED,) * 4
    qualities: tuple[float, ...] | None = None
    down: tuple[int, ...] = ()  # replicas that fail before the second half: their requests are routed again


class Story:
    """Traffic through the copies of a router. ``answers`` has (request, stage, answer) of all decisions."""

    def __init__(self, policy: Any, params: RouterParams, traffic: Traffic, seed: int) -> None:
        self.fleet = Fleet(traffic.roles, traffic.qualities)
        self.traffic = traffic
        self.params = params
        seeds = np.random.SeedSequence(seed).spawn(params.routers)
        self.copies = [Router(policy, params, self.fleet.view(params), np.random.default_rng(own)) for own in seeds]
        self.answers: list[tuple[int, int, int]] = []
        self.offered: list[NDArray[np.int64]] = []  # candidates of each decision
        self.held: list[tuple[Job, NDArray[np.int64]]] = []
        self.idle_holds = 0  # requests that were held while nothing ran
        self.split = 0
        self._reports: list[tuple[int, int, Report, int]] = []  # under way: ps of arrival, replica, load, ps taken
        self._next = params.telemetry.interval

    def run(self) -> None:
        half = len(self.traffic.requests) // 2
        for number, (request, output) in enumerate(self.traffic.requests):
            self._until(request.time)
            down = self.traffic.down if number >= half else ()
            self.fleet.requests[request.id] = request
            for replica in down if number == half else ():
                for lost in self.fleet.drop(replica):
                    self.copies[lost.copy].left(lost.request.id, replica, self.fleet.now)
                    self._begin(lost, down)
            self._begin(Job(request, number % len(self.copies), output), down)
        self._until(2**62)

    def _begin(self, job: Job, down: tuple[int, ...]) -> None:
        roles = self.fleet.facts.role
        usable = np.array([replica not in down for replica in range(len(roles))])
        whole = np.flatnonzero(usable & (roles == MIXED))
        prefills = np.flatnonzero(usable & (roles == PREFILLS))
        router = self.copies[job.copy]
        if len(prefills) and (not len(whole) or router.splits(job.request)):
            self.split += 1
            self._ask(job._replace(request=job.request._replace(stage=PREFILL)), prefills)
        else:
            self._ask(job._replace(request=job.request._replace(stage=WHOLE)), whole)

    def _ask(self, job: Job, candidates: NDArray[np.int64]) -> None:
        job = job._replace(request=job.request._replace(time=self.fleet.now))
        router = self.copies[job.copy]
        answer = router.route(job.request, candidates)
        self.answers.append((job.request.id, job.request.stage, answer))
        self.offered.append(candidates)
        if answer == HOLD:
            if not any(self.fleet.queues):
                self.idle_holds += 1
            self.held.append((job, candidates))
        elif answer >= 0:
            self.fleet.take(answer, job)
            router.arrived(job.request.id, answer)

    def _until(self, time: int) -> None:
        """All that happens before ``time``."""
        fleet = self.fleet
        while True:
            due = [heap[0][0] for heap in (fleet.ends, self._reports) if heap]
            if self._next and (fleet.ends or time < 2**62):
                due.append(self._next)
            now = min(due, default=time)
            if now >= time:
                fleet.now = max(fleet.now, time) if time < 2**62 else fleet.now
                return
            fleet.now = now
            if fleet.ends and fleet.ends[0][0] == now:
                self._end(heapq.heappop(fleet.ends)[1])
            elif self._reports and self._reports[0][0] == now:
                _, replica, load, taken = heapq.heappop(self._reports)
                for router in self.copies:
                    router.report(replica, load, taken)
                self._ask_held()
            else:
                for replica in range(len(fleet.queues)):
                    arrival = now + self.params.telemetry.delay
                    heapq.heappush(self._reports, (arrival, replica, fleet.true.report(replica), now))
                self._next += self.params.telemetry.interval

    def _end(self, replica: int) -> None:
        fleet = self.fleet
        job = fleet.end(replica)
        request, router = job.request, self.copies[job.copy]
        router.left(request.id, replica, fleet.now)
        if request.stage == PREFILL:
            roles = fleet.facts.role
            decodes = np.flatnonzero((roles == DECODES) | (roles == MIXED))
            self._ask(job._replace(request=request._replace(stage=DECODE)), decodes)
        else:
            spent = fleet.now - fleet.requests[request.id].time
            router.finished(request.id, replica, spent - 10 * US * (job.output - 1), spent)
        self._ask_held()

    def _ask_held(self) -> None:
        held, self.held = self.held, []
        for job, candidates in held:
            self._ask(job, candidates)
