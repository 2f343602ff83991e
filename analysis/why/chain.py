"""A critical path: links that follow each other without a gap, each with the parts of its time.

It is built from its end to its beginning: whoever asks knows what came last, and what that waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from analysis.why.parts import FLOW_PARTS, MEANING, part_list
from analysis.why.text import short, table, time_text

_LISTED = 16  # links that are told one by one


@dataclass(frozen=True)
class Link:
    """What the time from ``begin`` to ``end`` (ps) went into; ``flow`` -1 where it was none."""

    begin: int
    end: int
    parts: dict[str, int]
    where: str  # who: a host, or `host0 -> host1`
    note: str = ""
    flow: int = -1
    bottleneck: str | None = None


@dataclass
class Chain:
    """Links in order of time; ``reached`` is the begin of the first of them."""

    end: int
    links: list[Link] = field(default_factory=list)

    @property
    def reached(self) -> int:
        return self.links[0].begin if self.links else self.end

    def before(self, part: str, begin: int, where: str, note: str = "") -> None:
        """The time back to ``begin`` went into ``part``."""
        if begin < self.reached:
            self.links.insert(0, Link(begin, self.reached, {part: self.reached - begin}, where, note))

    def flow_before(self, row: Any, where: str) -> None:
        """A flow from its start to its delivery (columns ``from_ps``, ``to_ps``, those of ``flow_times``)."""
        parts = {part: int(getattr(row, f"{part}_ps")) for part in FLOW_PARTS if part != "ack"}
        bottleneck = row.bottleneck if isinstance(row.bottleneck, str) else None
        self.links.insert(0, Link(int(row.from_ps), int(row.to_ps), parts, where, "", int(row.id), bottleneck))

    def parts(self) -> dict[str, int]:
        """Sums over all links, in the order in which parts are told; what computes comes last."""
        sums: dict[str, int] = {}
        for link in self.links:
            for part, ps in link.parts.items():
                sums[part] = sums.get(part, 0) + ps
        order = list(MEANING)
        return dict(sorted(sums.items(), key=lambda item: order.index(item[0]) if item[0] in MEANING else len(order)))

    def facts(self, start: int) -> dict[str, Any]:
        """``parts`` and ``chain``, as they go into an answer; times from ``start``."""
        return {
            "parts": part_list(self.parts()),
            "chain": [
                {"from_ps": link.begin - start, "ps": link.end - link.begin, "where": link.where, "note": link.note}
                | {"flow": link.flow if link.flow >= 0 else None, "bottleneck": link.bottleneck}
                | {"parts": part_list(link.parts)}
                for link in self.links
            ],
        }


def chain_lines(chain: list[dict[str, Any]]) -> list[str]:
    """A line a link; of a long chain the longest ones."""
    shown = sorted(sorted(range(len(chain)), key=lambda i: -chain[i]["ps"])[:_LISTED])
    rows = []
    for index in shown:
        link = chain[index]
        most = max(link["parts"], key=lambda part: part["ps"])
        what = link["note"] or str(most["part"]) + (f" {most['share']:.0%}" if most["share"] < 1 else "")
        ident = f"flow:{link['flow']}" if link["flow"] is not None else ""
        who, at = short(link["where"], 22), short(link["bottleneck"] or "", 22)
        rows.append([ident, who, short(what, 24), at, time_text(link["from_ps"]), time_text(link["ps"])])
    lines = table(["", "", "mostly", "worst link", "from", "took"], rows, left=4)
    if len(shown) < len(chain):
        left = sum(link["ps"] for index, link in enumerate(chain) if index not in set(shown))
        lines.append(f"  and {len(chain) - len(shown)} shorter links, together {time_text(left)} (all with --json)")
    return lines
