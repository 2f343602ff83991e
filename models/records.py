"""Every result table: column, type, unit, meaning. The contract between a run, which writes them, and analysis.

``python -m models.records`` prints the data dictionary (docs/results.md). Times are microseconds from the start of the
run, sizes bytes, rates in the unit of the column's name. An absent number is null; it is never written as 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from models.admitted import ADMITTED
from models.columns import Column, Table, count, key, text
from models.errors import nearest
from models.explained import EXPLAINED
from models.failed import FAILURES
from models.served import SERVED

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
PROGRAM = "spillway"
SWEEP = "sweep"  # kind of a folder
STATUSES = ("completed", "saturated", "stopped", "stalled")  # from the best to the worst


_FLOWS = Table(
    "flows",
    "a transfer from one host to another",
    (
        key("id", "Number of the flow; flows are numbered in the order of their starts."),
        text("src", "Name of the sending host."),
        text("dst", "Name of the receiving host."),
        count("bytes", "Payload to be moved, headers and the messages' measured overhead left out.", "B"),
        Column("start_us", "float", "us", "When the flow was asked for; one behind a gate is held from then on."),
        Column("delivered_us", "float", "us", "When the last new byte arrived; whoever waits goes on then.", null=True),
        Column(
            "end_us",
            "float",
            "us",
            "When the sender had the last ACK, where the transport has ACKs; else the same as delivered_us. Of a "
            "stopped flow: when nothing of it was under way any more.",
            null=True,
        ),
        Column(
            "fct_us",
            "float",
            "us",
            "Flow completion time: end_us less start_us, if it finished.",
            null=True,
            steady=True,
        ),
        Column(
            "ideal_us",
            "float",
            "us",
            "The same time with the fabric to itself: the bytes pipelined at the lesser of the NIC's rate and the "
            "largest flow that the flow's own paths can carry.",
            null=True,
        ),
        Column("slowdown", "float", "", "fct_us over ideal_us.", null=True, steady=True),
        text(
            "path",
            "Nodes joined by `>`; the paths of several pieces joined by a space; `spray:<n>` for all n equal-cost "
            "paths. Null where the flow never had one.",
            null=True,
        ),
        count("retransmitted", "Data packets that were sent again.", "packets"),
        count("reordered", "Data packets that arrived after one that was sent later.", "packets"),
        Column(
            "reorder_max_bytes",
            "int",
            "B",
            "Payload that waited out of order at the receiver, at most (of a flow in pieces: of one piece). Null where "
            "the flow never ended, or has no congestion control.",
            null=True,
        ),
        text(
            "status",
            "`finished`; `unfinished` when the run ended first; `rejected` with a reason among the counters; `stopped` "
            "by whoever sent it, as when an admitted demand leaves before all of its bytes have.",
            values=("finished", "unfinished", "rejected", "stopped"),
        ),
    ),
    "no flow started",
    unfinished="end_us",
)

_LINKS = Table(
    "links",
    "one direction of a cable, over the whole run",
    (
        text("link", "Name of the link: `leaf0->spine1`, one of parallel cables `leaf0->spine1#0`."),
        text("src", "Name of the node that sends."),
        text("dst", "Name of the node that receives."),
        Column("rate_gbps", "float", "Gbit/s", "Rate of the link.", statistics=False),
        count("bytes", "Everything that crossed: in packet engines with headers, ACKs and what was sent again.", "B"),
        count("packets", "Packets that crossed, ACKs included; 0 in engines without packets.", "packets"),
        Column("utilisation", "float", "", "8 x bytes over rate x length of the run; 1 is a link that was never idle."),
        count("queue_max_bytes", "Longest queue before the link, the packet on the wire included.", "B"),
        count("marked", "Packets marked (ECN) on entering the queue.", "packets"),
        count("dropped", "Packets dropped at the queue, or lost on the link when it went down.", "packets"),
        count("trimmed", "Packets cut to their header.", "packets"),
        Column("paused_us", "float", "us", "Time for which the link was paused by its receiver."),
    ),
    "the engine has no links",
)

_COLLECTIVES = Table(
    "collectives",
    "one collective operation; each repeat is its own row",
    (
        key("id", "Number of the operation, in order of its start."),
        text("op", "all_to_all, all_reduce, all_gather, reduce_scatter or broadcast."),
        text("algorithm", "The collective policy that made the schedule."),
        count("ranks", "GPUs that take part.", statistics=False),
        count(
            "bytes",
            "Size as in nccl-tests: the buffer (all_reduce, broadcast), the total output (all_gather), the total "
            "input (reduce_scatter), the total send of a rank with its own part (all_to_all).",
            "B",
        ),
        Column("start_us", "float", "us", "When the first rank joined."),
        Column(
            "time_us",
            "float",
            "us",
            "From the start until the last rank was done; null also where a gate refused it.",
            null=True,
        ),
        Column("algbw_gbytes", "float", "GB/s", "bytes over time_us.", null=True),
        Column(
            "busbw_gbytes",
            "float",
            "GB/s",
            "algbw_gbytes x 2(n-1)/n for all_reduce, x 1 for broadcast, x (n-1)/n for the others, n ranks: what a "
            "rank's link carries under an ideal algorithm.",
            null=True,
        ),
    ),
    "the workload has no collective",
    unfinished="time_us",
)

_MOE_STEPS = Table(
    "moe_steps",
    "one layer with experts in one step, over all groups and micro-batches of a workload",
    (
        key("step", "Number of the step, from 0."),
        key("layer", "Number of the layer in the step, from 0; layers without experts are counted, but have no row."),
        Column("time_us", "float", "us", "From the first GPU's gate until the last GPU had its results.", null=True),
        Column("dispatch_us", "float", "us", "From the first token's leaving until the last GPU had all its tokens."),
        Column("expert_us", "float", "us", "Longest time that a GPU's experts took, waiting for its stream included."),
        Column("combine_us", "float", "us", "From the last expert's end until the last GPU had summed its results."),
        Column("weights_us", "float", "us", "From the first moving weight's leaving until the last one's arrival."),
        Column("planner_us", "float", "us", "Time that the dispatcher's planner took, charged on every GPU."),
        Column("max_over_mean", "float", "", "Copies of tokens on the busiest GPU over the mean of its group."),
        count("weight_transfers", "Experts whose weights moved to another GPU before they computed."),
        count("bytes_moved", "Payload of all tokens and weights that were sent, both ways.", "B"),
        count("peak_memory_bytes", "Most memory in use on a GPU during this layer.", "B"),
    ),
    "the workload has no mixture of experts",
    unfinished="time_us",
)

_GPUS = Table(
    "gpus",
    "a GPU that a workload ran on",
    (
        key("gpu", "Rank of the GPU; it is host number `gpu`."),
        Column("busy_us", "float", "us", "Time in which a kernel ran (for a collective workload: the gaps)."),
        Column(
            "wait_us",
            "float",
            "us",
            "Time spent waiting for the network, for other GPUs, for planners and launches, and for the stream; "
            "several jobs on one GPU add up.",
        ),
        count("tokens", "Tokens that it computed; of layers with experts the copies that its experts worked on."),
        count("peak_memory_bytes", "Most memory in use; 0 where the workload has no account of it.", "B"),
        count("out_of_memory", "1 if that was more than the GPU has, else 0; the run goes on.", statistics=False),
    ),
    "no workload runs on GPUs",
)

_SERIES = Table(
    "series",
    "a group of links at one sample time",
    (
        Column("time_us", "float", "us", "When the sample was taken.", statistics=False),
        text("group", "Class of the links, such as `leaf->spine`, or the name of one link that was asked for."),
        count("links", "Links in the group.", statistics=False),
        Column("queue_mean_bytes", "float", "B", "Mean queue over the group's links at that time."),
        count("queue_max_bytes", "Longest queue of the group's links at that time.", "B"),
        Column("utilisation_mean", "float", "", "Mean use of the group's links since the sample before."),
        Column("utilisation_max", "float", "", "Largest use of a link of the group since the sample before."),
    ),
    "telemetry was off, or the run was shorter than its interval",
)

_REORDERING = Table(
    "reordering",
    "data packets of all flows, by how far out of order they arrived",
    (
        count(
            "distance",
            "Highest packet number seen in the flow less the packet's own; 0: in order.",
            "packets",
            statistics=False,
        ),
        count("packets", "Data packets that arrived with that distance.", "packets", statistics=False),
    ),
    "the engine has no packets",
)

_COUNTERS = Table(
    "counters",
    "something that was dropped, rejected, clipped or extrapolated, and how often",
    (
        text("name", "What it happened to, such as `packets_dropped`."),
        text("reason", "Why."),
        count("count", "How often.", statistics=False),
    ),
    "nothing was dropped, rejected, clipped or extrapolated",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        *(_FLOWS, _LINKS, _COLLECTIVES, _MOE_STEPS, _GPUS, _SERIES, _REORDERING, _COUNTERS),
        *EXPLAINED,
        *ADMITTED,
        *SERVED,
        FAILURES,
    )
}

# manifest.json: key -> meaning. `program` and `schema` are added by the writer.
MANIFEST: dict[str, str] = {
    "program": "Always `spillway`: a directory with such a manifest may be replaced by a later run.",
    "schema": "Version of these formats.",
    "kind": "Only in the folder of a sweep: `sweep`; the runs are in its folder `cells`.",
    "name": "Name of the scenario.",
    "variant": "Name of the variant, or null.",
    "variants": "Only in the directory above the variants: each one's name, which is its folder, and status.",
    "seed": "Seed of the run.",
    "engine": "packet, fluid, reference or ideal.",
    "policies": "Per decision level the policy's kind and its parameters.",
    "loads": "The load of each workload with arrivals of a given load, as a fraction; an empty list without.",
    "fabric": "Kind of the topology, number of hosts, and the names of the switches of each tier; `host_names` by rank "
    "where they are not host0, host1, ...; `places`: (longitude, latitude) or (x, y) of nodes where they are known",
    "versions": "Of the program, of Python and of the libraries that numbers depend on.",
    "inputs": "SHA-256 digest of the scenario and of every file it read.",
    "interrupted": "True where the run was interrupted; the tables then hold what was known.",
}


def empty_reason(name: str) -> str:
    """Why table ``name`` has no rows, where the run has nothing more exact to say."""
    return TABLES[name].empty


def validate(name: str, frame: pd.DataFrame) -> None:
    """ValueError unless ``frame`` has exactly the columns of table ``name``: order, types, nulls, legal texts."""
    if name not in TABLES:
        raise ValueError(f"no table '{name}' is described{nearest(name, TABLES)}")
    table = TABLES[name]
    found = [str(column) for column in frame.columns]
    if found != table.names():
        raise ValueError(f"table '{name}' has the columns {found}, described are {table.names()}")
    for column in table:
        values = frame[column.name]
        kind = values.dtype.kind
        whole = kind in "iu" or (kind == "f" and column.null)  # pandas reads whole numbers with nulls as floats
        right = {"int": whole, "float": kind == "f", "text": kind in "OT" or str(values.dtype) == "str"}
        if not right[column.type]:
            raise ValueError(f"{name}.{column.name} is {values.dtype}, described as {column.type}")
        if column.type == "float" and bool(np.isinf(values.to_numpy()).any()):
            raise ValueError(f"{name}.{column.name} is infinite in some row")
        if not column.null and column.type != "int" and bool(values.isna().any()):
            raise ValueError(f"{name}.{column.name} is null in some row, which its description does not allow")
        strange = set(values.unique()) - set(column.values) if column.values else set()
        if strange:
            raise ValueError(f"{name}.{column.name} holds {sorted(map(str, strange))}, legal are {list(column.values)}")


def markdown(manifest: Mapping[str, str] = MANIFEST) -> str:
    """The data dictionary."""
    lines = [
        "# Results",
        "",
        "Made by `python -m models.records`; a test compares every written column with this page.",
        "",
        "A run writes one directory: `scenario.yaml` (the effective scenario), `manifest.json`, `summary.json`, one "
        "Parquet file a table, `plots/*.png` unless `--no-plots`, and `run.json` with every wall-clock fact. All but "
        "`run.json` and the plots are byte-identical for a seed. With `variants`, each variant has its own such "
        "directory below OUT, and OUT holds a manifest that lists them and the plots that compare them.",
        "",
        "Times count from the start of the run. A number that does not exist is null. K, M, G are decimal.",
        "",
        "## summary.json",
        "",
        "`schema`, `status`, `reasons`, then an object a table: `count` (rows), `unfinished` (rows that did not "
        "finish, for flows, collectives, layers and requests), and for every numeric column marked * below `n`, "
        "`mean`, `p50`, `p95`, `p99`, `max` over the rows where it is not null. Quantiles are linear; `p95` is null "
        "below 20 samples, `p99` below 100. A table without rows has no file, `count: 0` and a `reason`.",
        "",
        "`status` is `completed`; `stopped` (a limit or an interrupt came while finite work was unfinished); "
        "`stalled` (no progress; `reasons` lists who waits on what); or `saturated` (the backlog kept growing, so the "
        "means of fct_us, slowdown and of the times of requests are null: there is no steady state to claim).",
        "",
        "## manifest.json",
        "",
        "| key | meaning |",
        "|---|---|",
        *(f"| `{key}` | {meaning} |" for key, meaning in manifest.items()),
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", f"A row is {table.row}. Without rows: {table.empty}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        for column in table:
            star = "*" if column.type != "text" and column.statistics else ""
            kind = column.type + (", may be null" if column.null else "")
            lines.append(f"| `{column.name}`{star} | {kind} | {column.unit} | {column.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
