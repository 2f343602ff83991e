"""The table of what failed on the network, and what that did to the flows."""

from __future__ import annotations

from models.columns import Column, Table, count, key, text

FAILURES = Table(
    "failures",
    "one time that an event of the scenario happened, in order of time; `set: up` only ends rows. A flow is hit if one "
    "of its ways led over the element while that lasted, there or (ACKs) back; a sprayed one if an equal-cost path did",
    (
        key("event", "Place of the event in the scenario's list, from 0."),
        text("element", "Name of the link, switch or host."),
        text("what", "What happened to it.", values=("down", "degrade", "loss")),
        Column("at_us", "float", "us", "When.", statistics=False),
        Column(
            "until_us",
            "float",
            "us",
            "When it ended, by itself or by `set: up`; null: not in this run.",
            null=True,
            statistics=False,
        ),
        Column(
            "converged_us",
            "float",
            "us",
            "When the routing tables knew; null: not in this run, or nothing that tables learn of.",
            null=True,
            statistics=False,
        ),
        Column(
            "rate_share",
            "float",
            "",
            "degrade: what is left of the rate, as a share of the topology's (of several links the least).",
            null=True,
            statistics=False,
        ),
        Column(
            "loss", "float", "", "loss: probability that a packet is lost on the link.", null=True, statistics=False
        ),
        count("packets_lost", "Packets dropped at the element's links, or lost on them, while it lasted.", "packets"),
        count("flows_hit", "Flows that were hit."),
        count("flows_rerouted", "Of them: moved to another path later on, by routing tables or after a timeout."),
        count("flows_lost", "Of them: not finished when the run ended, those left out that their sender stopped."),
        Column(
            "recovery_us",
            "float",
            "us",
            "Until the delivered rate of all flows, from sample to sample of the telemetry, was back at 90 % of its "
            "mean before the event. 0: neither of the two samples after it shows less. Null: it never came back, or "
            "fewer than two samples lie before the event. In engines without packets the rate is that into the hosts.",
            null=True,
        ),
        Column(
            "inflation",
            "float",
            "",
            "Mean slowdown of the finished flows that were hit, over that of the finished flows that were not; null "
            "where either are none.",
            null=True,
        ),
    ),
    "the scenario has no events, or none happened",
)
