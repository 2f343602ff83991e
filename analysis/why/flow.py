"""Why one flow took its time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.load import Results
from analysis.rows import picoseconds, rows_where
from analysis.why.parts import of_flow, part_lines, part_list
from analysis.why.sharers import AHEAD, CROSSES, MAY, SPREADS, sharers
from analysis.why.text import WIDTH, short, size_text, table, time_text

_HOW = {
    AHEAD: "ahead in the queue",
    CROSSES: "on a path over it",
    SPREADS: "spread over it",
    MAY: "free to take it",
}


def facts(run: Results, number: int) -> dict[str, Any]:
    """Where the flow's time went, hop by hop, who shared its worst link, and what released it."""
    row = _row(run, "flows", number)
    known = {
        "kind": "flow",
        "id": number,
        **{name: row[name] for name in ("src", "dst", "bytes", "status", "retransmitted")},
        "path": row["path"] if isinstance(row["path"], str) else None,  # it was not sent
        "start_ps": _ps(row["start_us"]),
        "ideal_ps": _ps(row["ideal_us"]),
    }
    if row["status"] != "finished":
        return known
    times = _row(run, "flow_times", number)
    start, total = known["start_ps"], int(times["total_ps"])
    hops = rows_where(run, "hops", [("flow", "==", number)]).sort_values("hop").to_dict("records")
    shown = [
        {"link": hop["link"], "arrived_ps": _ps(hop["arrived_us"])}
        | {name: int(hop[name]) for name in ("queueing_ps", "serialisation_ps", "propagation_ps")}
        for hop in hops
    ]
    known |= {
        "job": times["job"],
        "total_ps": total,
        "parts": part_list(of_flow(times)),
        "hops": shown,
        "bottleneck": times["bottleneck"] if isinstance(times["bottleneck"], str) else None,
        "released_by": _released(run, times["released_by"], start),
    }
    if known["bottleneck"] is not None:
        begin, end = start + int(times["hold_ps"]), start + total - int(times["ack_ps"])
        for hop in shown:
            if hop["link"] == known["bottleneck"]:
                begin, end = hop["arrived_ps"], hop["arrived_ps"] + hop["queueing_ps"]
        known["shared"] = sharers(run, known["bottleneck"], number, begin, end)
    return known


def _released(run: Results, number: Any, start: int) -> dict[str, Any] | None:
    if pd.isna(number):
        return None
    row = _row(run, "flows", int(number))
    delivered = _ps(row["delivered_us"])
    return {"id": int(number), "src": row["src"], "dst": row["dst"], "bytes": row["bytes"], "gap_ps": start - delivered}


def lines(known: dict[str, Any]) -> list[str]:
    """The facts as text."""
    head = f"flow {known['id']}: {known['src']} -> {known['dst']}, {size_text(known['bytes'])}"
    text = [
        head + (f", {known['job']}" if known.get("job") else ""),
        f"  path {short(known['path'] or 'none', WIDTH - 7)}",
    ]
    if known["status"] != "finished":
        return [
            *text,
            f"  {known['status']}; it started at {time_text(known['start_ps'])}. Only finished flows are split",
        ]
    slower = known["total_ps"] / known["ideal_ps"]
    text.append(
        f"  took {time_text(known['total_ps'])} from {time_text(known['start_ps'])} on; "
        f"alone it would take {time_text(known['ideal_ps'])} ({slower:.2f} times)"
        + (f"; {known['retransmitted']} packets sent again" if known["retransmitted"] else "")
    )
    text += ["", "Where its time went", *part_lines(known["parts"], known["total_ps"])]
    if known["hops"]:
        text += ["", "The packet that completed it, hop by hop (from the flow's start)", *_hop_lines(known)]
    text += ["", *_shared_lines(known)]
    return text + _released_lines(known["released_by"])


def _hop_lines(known: dict[str, Any]) -> list[str]:
    rows = [
        [
            short(hop["link"], 40),
            time_text(hop["arrived_ps"] - known["start_ps"]),
            *(time_text(hop[name]) for name in ("queueing_ps", "serialisation_ps", "propagation_ps")),
        ]
        for hop in known["hops"]
    ]
    return table(["link", "arrived", "queueing", "serialisation", "propagation"], rows)


def _shared_lines(known: dict[str, Any]) -> list[str]:
    link = known["bottleneck"]
    if link is None:
        return ["No link held it up: no queueing, no sharing."]
    shared = known["shared"]
    waited = time_text(shared["to_ps"] - shared["from_ps"])
    if known["hops"]:
        text = [f"Its worst queue was at {link}: {waited}. Who else was there then:"]
    else:
        text = [f"The link that held it down longest was {link}. Who else was there in its {waited}:"]
    if not shared["flows"]:
        return [*text, "  nobody that the tables know of (its own earlier packets)"]
    text += [f"  {count} {'flow' if count == 1 else 'flows'} {_HOW[how]}" for how, count in shared["count"].items()]
    rows = [
        [
            f"flow:{row['id']}",
            short(f"{row['src']} -> {row['dst']}", 26),
            short(row["job"], 20),
            size_text(row["bytes"]),
            time_text(row["together_ps"]),
            _HOW[row["how"]],
        ]
        for row in shared["flows"]
    ]
    return text + table(["", "", "", "size", "overlap", ""], rows, left=3, remark=True)


def _released_lines(by: dict[str, Any] | None) -> list[str]:
    if by is None:
        return ["Nothing that the network carried released it."]
    text = f"Released by flow:{by['id']} ({by['src']} -> {by['dst']}, {size_text(by['bytes'])})"
    gap = by["gap_ps"]
    return [f"{text}, " + (f"which had arrived {time_text(gap)} before." if gap > 0 else "at its arrival.")]


def _row(run: Results, name: str, number: int) -> dict[str, Any]:
    (row,) = rows_where(run, name, [("id", "==", number)]).to_dict("records")
    return {str(key): value for key, value in row.items()}


def _ps(microseconds: float) -> int:
    return int(picoseconds([microseconds])[0])
