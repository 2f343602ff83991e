"""Replicas and routers against queueing theory. Intervals are 99 % batch means.

The replica is a queue where its iteration costs are so chosen: one sequence at a time and a prompt in one iteration is
M/D/1 or M/M/1; iterations of constant time, ``c`` sequences and geometric outputs is M/M/c; iterations whose time is
proportional to their sequences is processor sharing. What iterations add to the theory is half of one, since an
arrival waits for the end of the one under way.

The power of d choices: M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 2001: with
infinitely many servers the share with at least i requests is load ** ((d ** i - 1) / (d - 1)).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from analysis.stats import Interval, batch_means
from sim import api
from sim.results import Results

STEP = 1.0  # ms
SERVERS = 200
WORK = 10.0  # ms, mean
DEEP = 3  # requests at a server, at most, whose share is compared

# kind, load, requests
FULL = (("M/D/1", 0.6, 200_000), ("M/D/1", 0.9, 400_000), ("M/M/4", 0.7, 60_000), ("M/G/1-PS", 0.6, 60_000))


class Queue(NamedTuple):
    """A measured mean in ms beside the theory's."""

    name: str
    load: float
    requests: int
    theory: float
    measured: Interval


def serve(
    rate: float, requests: int, prompt: Any, output: Any, engine: dict[str, Any], seed: int = 1, **more: Any
) -> Results:
    """``rate`` requests a second to replicas whose iterations cost what ``engine`` says. ``more``: other keys."""
    replicas = more.pop("replicas", 1)
    scenario = {
        "name": "queue",
        "seed": seed,
        "engine": "ideal",
        "fabric": {"topology": {"kind": "star", "hosts": max(2, replicas), "host_link": _LINK}},
        "telemetry": {"flow_times": False} | more.pop("telemetry", {}),
        "workload": [
            {
                "kind": "requests",
                "model": "llama-3.1-8b",
                "replicas": replicas,
                "arrivals": {"kind": "poisson", "rate": f"{rate}/s"},
                "count": requests,
                "prompt": prompt,
                "output": output,
                "engine": {
                    "token_budget": 100_000,
                    "prefix_cache": False,
                    "overhead": {"step": "0s", "sequence": "0s"},
                    **engine,
                },
            }
        ],
    }
    return api.run(scenario | more, quiet=True)


_LINK = {"rate": "100Gbps", "delay": "1ns"}


def _column(results: Results, name: str) -> Any:
    return results.frame("requests", [name])[name].to_numpy()


def waiting(load: float, requests: int, seed: int = 1) -> Queue:
    """M/D/1: waiting before the prompt's iteration, which takes as long for all."""
    took = 10.0  # ms
    cost = {"kind": "linear", "prefill_token": "100us", "decode_sequence": "100us"}
    results = serve(load / took * 1e3, requests, 100, 1, {"max_sequences": 1, "cost": cost}, seed)
    return Queue("M/D/1", load, requests, load * took / (2 * (1 - load)), batch_means(_column(results, "queue_ms")))


def erlang(servers: int, offered: float) -> tuple[float, float]:
    """M/M/c: the share of arrivals that wait, and the share of time in which all is empty."""
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last), 1 / (sum(terms) + last)


def slots(load: float, requests: int, seed: int = 1, servers: int = 4, mean: int = 200) -> Queue:
    """M/M/c: waiting for one of ``servers`` places in the batch, outputs geometric with a mean of ``mean`` steps."""
    cost = {"kind": "linear", "step": f"{STEP}ms"}
    rate = load * servers / (mean * STEP) * 1e3
    output = {"kind": "geometric", "mean": mean}
    results = serve(rate, requests, 1, output, {"max_sequences": servers, "cost": cost}, seed)
    offered = load * servers
    waits, empty = erlang(servers, offered)
    theory = waits * mean * STEP / (servers - offered) + (1 - empty) * STEP / 2
    return Queue("M/M/4", load, requests, theory, batch_means(_column(results, "queue_ms")))


def sharing(load: float, requests: int, seed: int = 1, mean: int = 300) -> Queue:
    """M/G/1-PS: an iteration takes a time for each of its sequences; outputs are log-normal."""
    each = 0.1  # ms
    cost = {"kind": "linear", "prefill_token": "100us", "decode_sequence": "100us"}
    rate = load / (mean * each) * 1e3
    output = {"kind": "log_normal", "mean": mean, "cv": 1.5}
    results = serve(rate, requests, 1, output, {"max_sequences": 4096, "cost": cost}, seed)
    lengths = float(_column(results, "output_tokens").mean())
    work = lengths * each
    return Queue("M/G/1-PS", load, requests, work / (1 - rate * work / 1e3), batch_means(_column(results, "e2e_ms")))


def run(kind: str, load: float, requests: int, seed: int = 1) -> Queue:
    return {"M/D/1": waiting, "M/M/4": slots, "M/G/1-PS": sharing}[kind](load, requests, seed)


def crowded(policy: Any, load: float, requests: int, seed: int = 1) -> list[Interval]:
    """The share of ``SERVERS`` replicas with at least 1, 2, ... requests, one at a time served, by ``policy``."""
    cost = {"kind": "linear", "prefill_token": "10us", "decode_sequence": "10us"}
    rate = load * SERVERS / WORK * 1e3
    prompt = {"kind": "exponential", "mean": int(WORK * 100)}
    results = serve(
        rate, requests, prompt, 1, {"max_sequences": 1, "cost": cost}, seed, replicas=SERVERS,
        dispatch={"request": policy}, telemetry={"interval": f"{WORK}ms"},
    )  # fmt: skip
    series = results.frame("serving_series")
    there = (series["waiting"] + series["running"]).to_numpy().reshape(-1, SERVERS)
    last = _column(results, "arrival_s").max()
    there = there[series["time_s"].to_numpy()[::SERVERS] <= last]
    return [batch_means((there >= i).mean(axis=1), warm_up=0.2) for i in range(1, DEEP + 1)]


def mean_field(load: float, choices: int = 2) -> list[float]:
    return [load ** ((choices**i - 1) / (choices - 1)) for i in range(1, DEEP + 1)]
