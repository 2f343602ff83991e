"""Reader of htsim's connection matrices (``.cm``): flows between numbered nodes, triggers that chain them, failures.

A header (``Nodes N``, ``Connections M`` and, if wanted, ``Triggers T``, ``Failures F``), then in any order
  ``src->dst [id K] start T | trigger K  size B [send_done_trigger K] [recv_done_trigger K] [prio P]``
  ``trigger id K oneshot | multishot | barrier count N``
  ``failure switch_type TOR|AGG|CORE switch_id N link_id N``
T is in picoseconds (decimals are rounded), B in bytes; ``#`` starts a comment. A flow fires its ``recv_done_trigger``
when its last byte has arrived and its ``send_done_trigger`` when the sender knows. A oneshot trigger starts its flows
at its first activation, a multishot at each (a flow runs once), a barrier at its N-th.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from models.csv_table import read_text
from models.errors import Problems, nearest

KINDS = ("oneshot", "multishot", "barrier")
_HEADER = ("Nodes", "Connections", "Triggers", "Failures")
_FLOW_WORDS = ("id", "start", "size", "trigger", "send_done_trigger", "recv_done_trigger", "prio")
_TRIGGER_WORDS = ("id", "count", *KINDS)
_FAILURE_WORDS = ("switch_type", "switch_id", "link_id")
_SWITCH_TYPES = ("TOR", "AGG", "CORE")


class CmFlow(NamedTuple):
    """``start`` ps, None where ``trigger`` starts it. ``id`` is the file's own, None if it gives none."""

    id: int | None
    src: int
    dst: int
    start: int | None
    size: int  # bytes
    trigger: int | None
    send_done_trigger: int | None
    recv_done_trigger: int | None
    prio: int | None
    line: int


@dataclass(frozen=True)
class CmTrigger:
    """``count`` activations fire it: 1 but for a barrier."""

    id: int
    kind: str  # oneshot, multishot, barrier
    count: int
    line: int


class CmFailure(NamedTuple):
    """Uplink ``link_id`` of switch ``switch_id`` of that type is down."""

    switch_type: str  # TOR, AGG, CORE
    switch_id: int
    link_id: int
    line: int


@dataclass(frozen=True)
class ConnectionMatrix:
    """Flows and triggers in the order of the file."""

    nodes: int
    flows: list[CmFlow] = field(default_factory=list)
    triggers: list[CmTrigger] = field(default_factory=list)
    failures: list[CmFailure] = field(default_factory=list)


class _Word(NamedTuple):
    text: str
    column: int


def read(path: Path) -> ConnectionMatrix:
    """The matrix of a file; InputError with every fault at its line and column."""
    problems = Problems(str(path))
    text = read_text(path, problems)
    problems.raise_if_any()
    reader = _Reader(problems)
    for number, raw in enumerate((text or "").splitlines(), start=1):
        body = raw.split("#", 1)[0]
        words = [_Word(match.group(), match.start() + 1) for match in re.finditer(r"\S+", body)]
        if words:
            reader.line(number, words)
    reader.check()
    problems.raise_if_any()
    return ConnectionMatrix(reader.header["Nodes"][0], reader.flows, reader.triggers, reader.failures)


class _Reader:
    """Collects the lines of one file; ``check`` compares them with each other."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.header: dict[str, tuple[int, int]] = {}  # name: (value, line)
        self.flows: list[CmFlow] = []
        self.triggers: list[CmTrigger] = []
        self.failures: list[CmFailure] = []
        self.lines = {"Connections": 0, "Triggers": 0, "Failures": 0}  # faulty ones included
        self.broken_triggers = False

    def line(self, number: int, words: list[_Word]) -> None:
        first = words[0]
        header = next((name for name in _HEADER if name.lower() == first.text.lower()), None)
        if "->" in first.text:
            self.lines["Connections"] += 1
            self._flow(number, words)
        elif first.text == "trigger":
            self.lines["Triggers"] += 1
            self._trigger(number, words)
        elif first.text == "failure":
            self.lines["Failures"] += 1
            self._failure(number, words)
        elif header is not None:
            self._header(number, header, words)
        elif len(words) > 1 and words[1].text.startswith("->"):
            self.problems.add(number, "a flow is written src->dst, without blanks", first.column)
        else:
            valid = (*_HEADER, "trigger", "failure")
            self.problems.add(number, f"unknown word '{first.text}'{nearest(first.text, valid)}", first.column)

    def _header(self, number: int, name: str, words: list[_Word]) -> None:
        if name in self.header:
            message = f"{name} is given twice (first on line {self.header[name][1]})"
            self.problems.add(number, message, words[0].column)
            return
        value = self._whole(number, name, words[1], 1 if name == "Nodes" else 0) if len(words) > 1 else None
        if len(words) < 2:
            self.problems.add(number, f"{name} has no value", words[0].column)
        elif len(words) > 2:
            self.problems.add(number, f"{name} takes one value; '{words[2].text}' is too much", words[2].column)
        self.header[name] = (value if value is not None else -1, number)

    def _values(self, number: int, words: list[_Word], valid: tuple[str, ...]) -> dict[str, _Word] | None:
        """The value behind each word (flags: the flag itself); None and problems if a word is unknown or double."""
        found: dict[str, _Word] = {}
        before = len(self.problems.found)
        position = 1
        while position < len(words):
            word = words[position]
            position += 1
            if word.text not in valid:
                self.problems.add(number, f"unknown word '{word.text}'{nearest(word.text, valid)}", word.column)
                # its value, if it has one, is no fault of its own
                position += position < len(words) and words[position].text not in valid
                continue
            if word.text in found:
                self.problems.add(number, f"'{word.text}' is given twice", word.column)
            found[word.text] = word
            if word.text in KINDS:
                continue
            if position == len(words) or words[position].text in valid:
                self.problems.add(number, f"'{word.text}' has no value", word.column)
            else:
                found[word.text] = words[position]
                position += 1
        return found if len(self.problems.found) == before else None

    def _whole(self, number: int, name: str, word: _Word, least: int) -> int | None:
        if not re.fullmatch(r"[+-]?\d{1,19}", word.text):
            self.problems.add(number, f"{name}: '{word.text}' is not a whole number", word.column)
        elif int(word.text) < least:
            self.problems.add(number, f"{name} is {word.text}; at least {least} is due", word.column)
        elif int(word.text) >= 2**63:
            self.problems.add(number, f"{name}: {word.text} is out of range", word.column)
        else:
            return int(word.text)
        return None

    def _start(self, number: int, word: _Word) -> int | None:
        try:
            value = float(word.text)
        except ValueError:
            value = math.nan
        if re.fullmatch(r"\d{1,19}", word.text) and int(word.text) < 2**63:
            return int(word.text)
        if not math.isfinite(value):
            self.problems.add(number, f"start: '{word.text}' is not a number of picoseconds", word.column)
        elif not 0 <= value < 2**63:
            said = "negative" if value < 0 else "out of range (the clock ends at 2^63 ps)"
            self.problems.add(number, f"start: {word.text} is {said}", word.column)
        else:
            return round(value)
        return None

    def _flow(self, number: int, words: list[_Word]) -> None:
        before = len(self.problems.found)
        ends = self._ends(number, words[0])
        values = self._values(number, words, _FLOW_WORDS)
        if values is None:
            return
        if "start" in values and "trigger" in values:
            self.problems.add(number, "both start and trigger; one of them begins a flow", values["trigger"].column)
        elif "start" not in values and "trigger" not in values:
            self.problems.add(number, "neither start nor trigger; one of them begins a flow", words[0].column)
        if "size" not in values:
            self.problems.add(number, "the flow has no size", words[0].column)
        whole: dict[str, int | None] = {
            name: self._whole(number, name, values[name], 0 if name == "prio" else 1) if name in values else None
            for name in _FLOW_WORDS
            if name != "start"
        }
        start = self._start(number, values["start"]) if "start" in values else None
        if len(self.problems.found) == before and ends is not None:
            size = whole["size"] or 0
            done = whole["send_done_trigger"], whole["recv_done_trigger"]
            flow = CmFlow(whole["id"], *ends, start, size, whole["trigger"], *done, whole["prio"], number)
            self.flows.append(flow)

    def _ends(self, number: int, word: _Word) -> tuple[int, int] | None:
        match = re.fullmatch(r"(\d{1,18})->(\d{1,18})", word.text)
        if match is None:
            self.problems.add(number, f"'{word.text}' is not src->dst of two node numbers", word.column)
            return None
        src, dst = int(match.group(1)), int(match.group(2))
        if src == dst:
            self.problems.add(number, f"a flow from node {src} to itself", word.column)
        nodes = self.header["Nodes"][0] if "Nodes" in self.header else -1
        for end, column in ((src, word.column), (dst, word.column + match.start(2))):
            if 0 <= nodes <= end:
                self.problems.add(number, f"node {end} is outside 0..{nodes - 1} (Nodes {nodes})", column)
        return src, dst

    def _trigger(self, number: int, words: list[_Word]) -> None:
        before = len(self.problems.found)
        values = self._values(number, words, _TRIGGER_WORDS) or {}
        kinds = [kind for kind in KINDS if kind in values]
        if values and "id" not in values:
            self.problems.add(number, "the trigger has no id", words[0].column)
        if values and len(kinds) != 1:
            message = f"a trigger is one of {', '.join(KINDS)}" + ("; this one is several" if kinds else "")
            self.problems.add(number, message, words[0].column)
        identity = self._whole(number, "id", values["id"], 1) if "id" in values else None
        count = self._whole(number, "count", values["count"], 1) if "count" in values else None
        if kinds == ["barrier"] and "count" not in values:
            self.problems.add(number, "a barrier needs its count of activations", values["barrier"].column)
        elif kinds and kinds != ["barrier"] and "count" in values:
            self.problems.add(number, f"count belongs to a barrier, not to a {kinds[0]}", values["count"].column)
        if len(words) == 1:
            self.problems.add(number, "the trigger has no id", words[0].column)
        if len(self.problems.found) == before and identity is not None:
            self.triggers.append(CmTrigger(identity, kinds[0], count or 1, number))
        else:
            self.broken_triggers = True

    def _failure(self, number: int, words: list[_Word]) -> None:
        values = self._values(number, words, _FAILURE_WORDS)
        if values is None:
            return
        missing = [name for name in _FAILURE_WORDS if name not in values]
        if missing:
            self.problems.add(number, f"the failure lacks {', '.join(missing)}", words[0].column)
            return
        kind = values["switch_type"]
        if kind.text not in _SWITCH_TYPES:
            hint = nearest(kind.text.upper(), _SWITCH_TYPES)
            self.problems.add(number, f"unknown switch_type '{kind.text}'{hint}", kind.column)
        switch = self._whole(number, "switch_id", values["switch_id"], 0)
        link = self._whole(number, "link_id", values["link_id"], 0)
        if kind.text in _SWITCH_TYPES and switch is not None and link is not None:
            self.failures.append(CmFailure(kind.text, switch, link, number))

    def check(self) -> None:
        """Counts, double ids, triggers that nobody defines, flows that can never start."""
        for name in ("Nodes", "Connections"):
            if name not in self.header:
                self.problems.add(0, f"the header lacks {name}")
        for name, found in self.lines.items():
            value, line = self.header.get(name, (-1, 0))
            if value >= 0 and value != found:
                self.problems.add(line, f"{name} is {value}, but the file has {found}")
        self._twice("flow", [(flow.id, flow.line) for flow in self.flows])
        self._twice("trigger", [(trigger.id, trigger.line) for trigger in self.triggers])
        if self.broken_triggers:
            return
        known = {trigger.id for trigger in self.triggers}
        for flow in self.flows:
            for name in ("trigger", "send_done_trigger", "recv_done_trigger"):
                wanted: int | None = getattr(flow, name)
                if wanted is not None and wanted not in known:
                    hint = f"; the file defines {', '.join(str(one) for one in sorted(known)[:12])}" if known else ""
                    self.problems.add(flow.line, f"{name}: no trigger {wanted} is defined{hint}")
        if not self.problems.found:
            for flow in _never_started(self.flows, self.triggers):
                self.problems.add(flow.line, f"the flow never starts: trigger {flow.trigger} is never fired")

    def _twice(self, what: str, items: list[tuple[int | None, int]]) -> None:
        first: dict[int, int] = {}
        for identity, line in items:
            if identity is not None and first.setdefault(identity, line) != line:
                self.problems.add(line, f"{what} id {identity} is used twice (first on line {first[identity]})")


def _never_started(flows: list[CmFlow], triggers: list[CmTrigger]) -> list[CmFlow]:
    """The flows whose triggers wait for each other, for too few activations or for none."""
    left = {trigger.id: trigger.count for trigger in triggers}
    waiting: dict[int, list[CmFlow]] = {}
    ready = [flow for flow in flows if flow.trigger is None]
    for flow in flows:
        if flow.trigger is not None:
            waiting.setdefault(flow.trigger, []).append(flow)
    while ready:
        flow = ready.pop()
        for trigger in (flow.send_done_trigger, flow.recv_done_trigger):
            if trigger is not None:
                left[trigger] -= 1
                if left[trigger] == 0:
                    ready += waiting.pop(trigger, [])
    return [flow for stuck in waiting.values() for flow in stuck]


class Triggers:
    """The triggers of a matrix at work: ``start`` is called with the position of each flow as its trigger fires."""

    def __init__(self, matrix: ConnectionMatrix, start: Callable[[int], None]) -> None:
        self._left = {trigger.id: trigger.count for trigger in matrix.triggers}
        self._start = start
        self._waiting: dict[int, list[int]] = {}
        for position, flow in enumerate(matrix.flows):
            if flow.trigger is not None:
                self._waiting.setdefault(flow.trigger, []).append(position)

    def activate(self, trigger: int | None) -> None:
        """One activation (None: nothing happens)."""
        if trigger is None:
            return
        self._left[trigger] -= 1
        if self._left[trigger] == 0:
            for position in self._waiting.pop(trigger, []):
                self._start(position)
