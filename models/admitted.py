"""The result tables of admission: demands, what became of each class, the controller's decisions, reserved links."""

from __future__ import annotations

from models.columns import Column, Table, count, key, text

_DEMANDS = Table(
    "demands",
    "a demand for bandwidth between two nodes, for some time",
    (
        text("id", "Its name: that of the file, else its number in order of arrival."),
        text("src", "Name of the node that it comes from."),
        text("dst", "Name of the node that it goes to."),
        Column("bandwidth_mbps", "float", "Mbit/s", "Bandwidth that it asks for."),
        count("priority", "Its weight in the objective; larger is more important."),
        Column("arrival_s", "float", "s", "When it arrived."),
        Column("hold_s", "float", "s", "How long it asks to stay; null: until the end of the run.", null=True),
        Column("decided_s", "float", "s", "When the answer came; null: it never did.", null=True),
        Column("end_s", "float", "s", "When an admitted demand left, was preempted or lost.", null=True),
        count("admitted", "1 if it was ever admitted, else 0."),
        Column("wait_ms", "float", "ms", "decided_s less arrival_s.", null=True),
        count("earned", "Its priority where it was admitted and neither preempted nor lost, else 0."),
        count("moves", "How often it was moved to another path."),
        Column(
            "carried",
            "float",
            "",
            "Share of its bandwidth x time that arrived; null where it sends nothing.",
            null=True,
        ),
        text(
            "path",
            "Nodes joined by `>`, the last path it had; a protected one's two paths joined by a space.",
            null=True,
        ),
        text(
            "status",
            "`active` at the end of the run; `ended` after its time; `rejected`; `preempted` by a more important one; "
            "`lost` to a failure; `gave_up` before the answer; `waiting` for an answer at the end of the run.",
            values=("active", "ended", "rejected", "preempted", "lost", "gave_up", "waiting"),
        ),
        text("reason", "Why it was not admitted, or did not stay; empty otherwise."),
    ),
    "the workload has no demands",
)

_CLASSES = Table(
    "demand_classes",
    "the demands of one priority, over the whole run",
    (
        count("priority", "The priority.", statistics=False),
        count("offered", "Demands that arrived."),
        count("admitted", "Demands that were ever admitted."),
        count("rejected", "Demands that were refused."),
        count("gave_up", "Demands that left before the answer."),
        count("preempted", "Admitted demands that had to make room."),
        count("lost", "Admitted demands that a failure ended."),
        Column(
            "blocking", "float", "", "1 less admitted over offered, those that wait at the end left out.", null=True
        ),
        Column("not_served", "float", "", "The same with preempted and lost ones counted as not served.", null=True),
        Column("wait_mean_ms", "float", "ms", "Mean time until the answer.", null=True),
    ),
    "the workload has no demands",
)

_DECISIONS = Table(
    "decisions",
    "one decision of an admission controller, or of one of its agents",
    (
        key("id", "Number of the decision, in order of commit."),
        count("agent", "Number of the agent; 0 where there is one controller.", statistics=False),
        Column("start_s", "float", "s", "When planning began: the state that the plan is made for.", statistics=False),
        Column("commit_s", "float", "s", "When the plan took effect.", statistics=False),
        count("demands", "New demands that were decided."),
        count("present", "Admitted demands that the plan had to reckon with."),
        count("admitted", "New demands that were admitted."),
        count("preempted", "Admitted demands that made room."),
        count("moved", "Admitted demands that got another path."),
        count("conflicts", "Demands of the plan that no longer fitted when it was committed."),
        count("objective", "Priorities of all demands, present and new, that the plan admits."),
        Column("bound", "float", "", "No plan is worth more."),
        Column("gap", "float", "", "(bound - objective) / bound."),
        text(
            "status",
            "What the solver could prove.",
            values=("optimal", "feasible", "time_limit", "infeasible", "not_found"),
        ),
        text("solver", "What made the plan: the method, and its rule or solver."),
        Column("charged_ms", "float", "ms", "Time that the controller was busy with it."),
    ),
    "nothing asked for admission",
)

_RESERVATIONS = Table(
    "reservations",
    "one direction of a cable, as the admission controller books it",
    (
        text("link", "Name of the link."),
        Column("capacity_mbps", "float", "Mbit/s", "What may be reserved on it while it is up.", statistics=False),
        Column("mean_mbps", "float", "Mbit/s", "Reserved bandwidth, mean over the run."),
        Column("peak_mbps", "float", "Mbit/s", "Reserved bandwidth at most."),
        Column("mean_share", "float", "", "mean_mbps over capacity_mbps."),
        count("demands", "Demands that were ever on it."),
    ),
    "nothing asked for admission",
)

ADMITTED: tuple[Table, ...] = (_DEMANDS, _CLASSES, _DECISIONS, _RESERVATIONS)
