"""A collective's schedule as flows that trigger each other, as htsim's connection matrices have them.

A gate becomes a trigger: ``oneshot``, or ``barrier`` where several arrivals open it. A flow fires one trigger when it
has arrived and one when its sender knows, so a schedule fits if no message opens more than two gates. Its signals
(messages of 0 bytes, which count down a gate as soon as another opens) are done away with first:
- a gate at which only signals wait hands the arrivals that open it on to the gates behind;
- where messages wait too, one of them takes the signal over: the gate behind waits until that message has been
  delivered and acknowledged, which is later than the schedule asks for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from sim.dispatch.api import Exchange

_TOO_MANY = "more depends on the arrival of a message than the one trigger that a flow fires then"


class Chain(NamedTuple):
    """One message. ``trigger`` None: it starts at once."""

    src: int  # rank
    dst: int  # rank
    size: int  # bytes
    trigger: int | None
    send_done: int | None
    recv_done: int | None


@dataclass
class _Message:
    """A message of some bytes. ``opens``: gates on arrival; ``at_ack``: the gate when its sender knows."""

    src: int
    dst: int
    size: int
    waits_for: int
    opens: list[int] = field(default_factory=list)
    at_ack: int | None = None


def chained(exchange: Exchange, repeat: int = 1) -> tuple[list[Chain], dict[int, int]]:
    """The messages of ``repeat`` rounds, and of each trigger the firings it takes; triggers count from 1.

    ValueError where triggers can't say it.
    """
    messages: list[_Message] = []
    signals: list[tuple[int, int]] = []  # gates: when the first opens, the second is counted down
    columns = (exchange.src, exchange.dst, exchange.bytes, exchange.waits_for, exchange.opens)
    for src, dst, size, waits_for, opens in zip(*(column.tolist() for column in columns), strict=True):
        if size:
            messages.append(_Message(src, dst, size, waits_for, [opens] if opens >= 0 else []))
        elif opens >= 0:
            signals.append((waits_for, opens))
    counts = dict(enumerate(exchange.counts))
    if repeat > 1:
        if any(message.waits_for >= 0 for message in messages):
            raise ValueError("in rounds after the first a message would wait for two things, which no trigger does")
        messages, counts = _rounds(messages, repeat)
    _hand_on(messages, signals, counts)
    return _numbered(messages, counts)


def _rounds(messages: list[_Message], repeat: int) -> tuple[list[_Message], dict[int, int]]:
    """A rank begins a round when all messages to and from it have arrived."""
    ranks = 1 + max(max(message.src, message.dst) for message in messages)
    busy = Counter(rank for message in messages for rank in (message.src, message.dst))
    result: list[_Message] = []
    counts: dict[int, int] = {}
    for turn in range(repeat):
        now, after = (turn - 1) * ranks, turn * ranks
        for one in messages:
            opens = [after + one.dst, after + one.src] if turn + 1 < repeat else []
            result.append(_Message(one.src, one.dst, one.size, now + one.src if turn else -1, opens))
        if turn + 1 < repeat:
            counts |= {after + rank: busy[rank] for rank in range(ranks)}
    return result, counts


def _hand_on(messages: list[_Message], signals: list[tuple[int, int]], counts: dict[int, int]) -> None:
    """Leaves no signals: each message opens all that its arrival opens, directly or by signals."""
    held: dict[int, list[_Message]] = {}
    for message in messages:
        held.setdefault(message.waits_for, []).append(message)
    behind: dict[int, list[int]] = {}
    for gate, target in signals:
        behind.setdefault(gate, []).append(target)
    _open_at_once(held, behind, counts)
    # signals lead from gate to gate without circles; what comes last is done first, so that a target is final
    handed: dict[int, list[int]] = {}

    def final(gate: int) -> list[int]:
        """The gates with messages that an arrival at ``gate`` counts down."""
        if gate not in handed:
            targets = [last for target in behind.get(gate, []) for last in final(target)]
            if gate in held:
                for target in targets:
                    _take_over(held[gate], target)
                targets = [gate]
            elif len(targets) > 1 and counts[gate] > 1:
                raise ValueError(_TOO_MANY)
            elif targets:
                counts[targets[0]] += counts[gate] - 1
            handed[gate] = targets
        return handed[gate]

    for message in messages:
        message.opens = [last for gate in message.opens for last in final(gate)]


def _open_at_once(held: dict[int, list[_Message]], behind: dict[int, list[int]], counts: dict[int, int]) -> None:
    """Signals that wait for nothing: done before anything starts."""
    ready = behind.pop(-1, [])
    while ready:
        gate = ready.pop()
        counts[gate] -= 1
        if counts[gate] == 0:
            for message in held.pop(gate, []):
                message.waits_for = -1
            ready += behind.pop(gate, [])


def _take_over(waiting: list[_Message], target: int) -> None:
    """One of the messages that a gate releases counts down ``target`` when it is acknowledged."""
    free = next((message for message in waiting if message.at_ack is None), None)
    if free is None:
        raise ValueError(_TOO_MANY)
    free.at_ack = target


def _numbered(messages: list[_Message], counts: dict[int, int]) -> tuple[list[Chain], dict[int, int]]:
    """Gates at which something waits become triggers."""
    owner = {message.waits_for: message.src for message in messages if message.waits_for >= 0}
    number = {gate: index for index, gate in enumerate(sorted(owner), start=1)}
    chains = []
    for message in messages:
        opens = list(dict.fromkeys(gate for gate in message.opens if gate in owner))
        for gate, times in Counter(gate for gate in message.opens if gate in owner).items():
            counts[gate] -= times - 1
        if len(opens) == 2 and message.at_ack is None:
            # what the sender waits for can wait for its ACK
            opens.sort(key=lambda gate: owner[gate] == message.src)
            message.at_ack = opens.pop()
        if len(opens) > 1:
            raise ValueError(_TOO_MANY)
        chains.append(
            Chain(
                message.src,
                message.dst,
                message.size,
                number.get(message.waits_for),
                None if message.at_ack is None else number.get(message.at_ack),
                number[opens[0]] if opens else None,
            )
        )
    return chains, {number[gate]: counts[gate] for gate in sorted(owner)}
