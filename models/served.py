"""The result tables of request serving: requests, where their time went, classes, replicas, and replicas over time.

A request's times count from its arrival at the front door: what a router holds and what a queue costs is in all of
them. A target that is not met by a request that did not finish is not met: injected requests are the denominator.
"""

from __future__ import annotations

from models.columns import Column, Table, count, key, text

REQUEST_STATUSES = ("finished", "rejected", "lost", "unfinished")

# the parts of a finished request's time, in the order in which they are told; they add up to total_ps
REQUEST_PARTS = ("held_ps", "way_ps", "queue_ps", "prefill_ps", "transfer_ps", "decode_ps", "requeue_ps")


def _index(name: str, meaning: str) -> Column:
    return Column(name, "int", "", meaning, null=True, statistics=False)


def _ms(name: str, meaning: str, *, steady: bool = False, statistics: bool = True) -> Column:
    return Column(name, "float", "ms", meaning, null=True, steady=steady, statistics=statistics)


def _share(name: str, meaning: str) -> Column:
    return Column(name, "float", "", meaning, null=True)


def _rate(name: str, meaning: str) -> Column:
    return Column(name, "float", "1/s", meaning, null=True)


_REQUESTS = Table(
    "requests",
    "a request to a served model",
    (
        key("id", "Number of the request in its workload, in order of arrival."),
        Column("arrival_s", "float", "s", "When it arrived; the nearest float."),
        _index("replica", "The replica that decoded it, or had it last; null where it never came to one."),
        count("prompt_tokens", "Tokens of its prompt, as served: clipped to `prompt_limit` where that is given."),
        count("output_tokens", "Tokens that it asks for."),
        _ms("queue_ms", "From the arrival until a replica first worked on it.", steady=True),
        _ms("ttft_ms", "Time to first token: from the arrival to the end of the step that gave it.", steady=True),
        _ms(
            "tpot_ms",
            "Time per output token: (e2e_ms - ttft_ms) / (output_tokens - 1); null for a single token.",
            steady=True,
        ),
        _ms("e2e_ms", "From the arrival to the last token; null where it did not finish.", steady=True),
        count("cached_tokens", "Tokens of its prompt that were found in the prefix cache when it was first scheduled."),
        text(
            "status",
            "`finished`; `rejected` with a reason; `lost` with a replica that failed; `unfinished` when the run ended.",
            values=REQUEST_STATUSES,
        ),
        count("workload", "Number of its workload in the scenario.", statistics=False),
        text("class", "Name of its class; `all` where the workload has none."),
        _index("tenant", "Number of its tenant."),
        _index("session", "Number of its session."),
        _index("turn", "Its turn in the session, from 0."),
        text("reason", "Why it was rejected or lost.", null=True),
        _index("prefill_replica", "The replica that prefilled it, where another one decoded it."),
        Column("predicted_tokens", "int", "", "Output tokens that the router reckoned with.", null=True),
        count("generated_tokens", "Tokens that it was given."),
        _ms("transfer_ms", "Time that its KV cache was under way between two replicas."),
        _ms("itl_max_ms", "Longest time between two of its tokens; null below two."),
        count("preempted", "How often it lost its KV blocks to others."),
        Column(
            "good",
            "int",
            "",
            "1 if it finished and met every target that is set for it, else 0; null where none is set. Its mean is "
            "the share of injected requests that were good.",
            null=True,
        ),
        text(
            "prefix_hashes",
            "Hashes of its prompt's blocks joined by `|`, as in a request trace; null without sessions and prefixes.",
            null=True,
        ),
        Column("arrival_ps", "int", "ps", "When it arrived, exactly: a replay goes by this.", statistics=False),
    ),
    "the workload has no requests",
    unfinished="e2e_ms",
)


def _part(name: str, meaning: str) -> Column:
    return Column(name, "int", "ps", meaning)


_REQUEST_TIMES = Table(
    "request_times",
    "a finished request, and where its time went; the parts add up to total_ps exactly",
    (
        key("id", "Number of the request in its workload, as in `requests`."),
        count("workload", "Number of its workload in the scenario.", statistics=False),
        _part("total_ps", "From the arrival to the last token."),
        _part(
            "held_ps",
            "Until the router sent it where it ran: no place, the router's own time, tries before.",
        ),
        _part("way_ps", "From the router to the replica."),
        _part("queue_ps", "In the replica's queue until it was first scheduled."),
        _part("prefill_ps", "From then until the first token, less waiting again."),
        _part(
            "transfer_ps",
            "From the first token until the KV cache was at the replica that decodes, which had to be chosen.",
        ),
        _part("decode_ps", "From the first token to the last, less transfer and waiting again."),
        _part("requeue_ps", "Waiting in a queue again: after each preemption, and at the replica that decodes."),
    ),
    "no request finished",
)

_TIMED = (
    ("ttft", "time to first token"),
    ("tpot", "time per output token"),
    ("itl", "time between two tokens (all of them, from bins 1 % wide; null for one pool of several)"),
    ("e2e", "time to the last token"),
)

_LIMITED = (*_TIMED[:2], ("itl", "longest time between two tokens"), _TIMED[3])

_REQUEST_CLASSES = Table(
    "request_classes",
    "the requests of a class and pool, over the whole run. The first row of a workload is all of them; then, where "
    "there are several, each class, each pool, each class in each pool",
    (
        count("workload", "Number of the workload in the scenario.", statistics=False),
        text("class", "Name of the class, or `all`."),
        text("pool", "Name of the pool that decoded them, or `all` (those that came to none too)."),
        count("injected", "Requests that arrived."),
        count("finished", "Requests that had all of their tokens."),
        count("rejected", "Requests that a router, or a replica that can't ever serve them, refused."),
        count("lost", "Requests that a failure of their replica ended."),
        count("unfinished", "Requests that were under way when the run ended."),
        _rate(
            "offered_per_s",
            "Injected over the time of injection, from the first arrival to a mean gap after the "
            "last one; null for a single instant.",
        ),
        _rate("served_per_s", "Finished over the time from the first arrival to the last finished one's end."),
        _rate("output_tokens_per_s", "Tokens given, over the same time."),
        _rate(
            "goodput_per_s",
            "Good requests over the time of injection (at a single instant: over the time that "
            "served_per_s takes); null without targets.",
        ),
        _share(
            "good_share", "Good requests over injected ones, without classes that have no targets; null without any."
        ),
        *(
            _share(f"{name}_attained", f"Injected requests that finished within the target of the {what}, as a share.")
            for name, what in _LIMITED
        ),
        *(
            _ms(f"{name}_{rank}_ms", f"Of those that had it, {rank} of the {what}.")
            for name, what in _TIMED
            for rank in ("p50", "p95", "p99")
        ),
    ),
    "the workload has no requests",
)

_REPLICAS = Table(
    "replicas",
    "a replica of a served model, over the whole run",
    (
        key("replica", "Number of the replica in its workload."),
        count("workload", "Number of its workload in the scenario.", statistics=False),
        text("pool", "Name of its pool."),
        text("role", "What it does for requests.", values=("mixed", "prefill", "decode")),
        count("gpus", "GPUs that it has.", statistics=False),
        count("requests", "Requests that it decoded or had last, and those that it only prefilled."),
        count("tokens", "Tokens that it computed: prompt tokens that were not cached, and generated ones."),
        count("iterations", "Steps of its engine."),
        _share("busy_share", "Time in steps over the time that it was up; null where it never was."),
        Column("batch_mean_tokens", "float", "tokens", "Tokens a step.", null=True),
        count("preemptions", "Requests that lost their KV blocks to others."),
        _share("prefix_hit_share", "Prompt tokens found in the prefix cache over those looked for; null without any."),
        count("kv_blocks", "Blocks of KV cache that it has, over all of its schedulers."),
        _share("kv_mean_share", "Share of them in use, mean over the samples."),
        _share("kv_peak_share", "Share of them in use, at most."),
        count(
            "starved",
            "1 if it got less than a tenth of its pool's mean number of requests, where that is 10 or "
            "more and it was up all the time; else 0.",
        ),
    ),
    "the workload has no requests",
)

_SERVING_SERIES = Table(
    "serving_series",
    "a replica at one sample time",
    (
        Column("time_s", "float", "s", "When the sample was taken.", statistics=False),
        key("replica", "Number of the replica in its workload."),
        count("workload", "Number of its workload in the scenario.", statistics=False),
        count("waiting", "Requests in its queue."),
        count("running", "Requests in its batch."),
        Column("kv_share", "float", "", "Share of its KV blocks that hold requests."),
        count("batch_tokens", "Tokens of the step under way."),
    ),
    "the workload has no requests, or the run was shorter than the interval of telemetry",
)

SERVED: tuple[Table, ...] = (_REQUESTS, _REQUEST_TIMES, _REQUEST_CLASSES, _REPLICAS, _SERVING_SERIES)
