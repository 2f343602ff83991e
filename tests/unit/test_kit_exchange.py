"""The kit's checks of exchanges: a good one passes, and each of its spoilt copies fails the check that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.dispatch.kit.__main__ import check
from sim.dispatch.registry import Registry

RELAY = '''"""Everything goes over the next rank, which waits until all has come to it. Source: own."""

import numpy as np

from sim.dispatch.api import Exchange, Message, PolicyParams

LEVEL = "collective"


class Params(PolicyParams):
    pass


class Policy:
    operations = frozenset({"all_to_all"})
    messages = "nccl"

    def __init__(self, params):
        pass

    def problem(self, operation, ranks):
        return "too few" if ranks < 2 else None

    def schedule(self, operation, ranks, size):
        part = -(-size // ranks)
        return [Message(a, b, part) for a in range(ranks) for b in range(ranks) if a != b], []

    def exchange(self, traffic, layout, token_bytes, back):
        amount = traffic.copies * token_bytes
        if back:
            amount = amount.T
        amount = amount - np.diag(amount.diagonal())
        ranks = np.arange(len(amount))
        relay = (ranks + 1) % len(amount)
        first = amount.sum(axis=1)
        src, dst = np.nonzero(amount)
        onward = dst != relay[src]
        src, dst = src[onward], dst[onward]
        rows = [(ranks[first > 0], relay[first > 0], first[first > 0], -1, relay[first > 0])]
        rows += [(relay[src], dst, amount[src, dst], relay[src], -1)]
        waits = [np.broadcast_to(row[3], row[0].shape) for row in rows]
        opens = [np.broadcast_to(row[4], row[0].shape) for row in rows]
        src, dst, size = (np.concatenate([row[i] for row in rows]) for i in range(3))
        units = np.ones_like(size)
        counts = (first[ranks - 1] > 0).astype(int).tolist()
        return Exchange(src, dst, size, units, np.concatenate(waits), np.concatenate(opens), counts)
'''

TYPES, GATES, REACHES, ONCE = "exchange: arrays", "exchange: every rank", "exchange: every token", "exchange: no more"
FAULTS = {
    "profile": ('messages = "nccl"', 'messages = "ncl"', TYPES),
    "raises": ("amount = amount - ", "amount = amount.missing - ", TYPES),
    "floats": ("units = np.ones_like(size)", "units = np.ones(len(size))", TYPES),
    "no_units": ("np.ones_like(size)", "np.zeros_like(size)", TYPES),
    "short": ("np.ones_like(size)", "np.ones_like(size[1:])", TYPES),
    "plain_tuple": ("return Exchange(", "return tuple([", "counts)\n", "counts])\n", TYPES),
    "gate_of_another": ("amount[src, dst], relay[src], -1)", "amount[src, dst], src, -1)", GATES),
    "never_opens": ("first[first > 0], -1, relay[first > 0])", "first[first > 0], -1, -1)", GATES),
    "deadlock": ("first[first > 0], -1,", "first[first > 0], ranks[first > 0],", GATES),
    "does_not_wait": ("amount[src, dst], relay[src], -1)", "amount[src, dst], -1, -1)", REACHES),
    "half": ("amount[src, dst], relay[src], -1)", "amount[src, dst] // 2, relay[src], -1)", REACHES),
    "forgets_the_way_back": ("if back:", "if False:", REACHES),
    "twice": ("rows += [(relay[src]", "rows += 2 * [(relay[src]", ONCE),
}


def faults_of(folder: Path, text: str) -> list[str]:
    file = folder / "relay.py"
    file.write_text(text)
    return check(Registry().add_plugin(file)).faults()


def test_the_model_of_the_bad_ones_is_good(tmp_path: Path) -> None:
    assert faults_of(tmp_path, RELAY) == []


@pytest.mark.parametrize("case", FAULTS.values(), ids=list(FAULTS))
def test_each_fault_is_found(case: tuple[str, ...], tmp_path: Path) -> None:
    text = RELAY
    for old, new in zip(case[:-1:2], case[1:-1:2], strict=True):
        assert old in text
        text = text.replace(old, new)
    found = faults_of(tmp_path, text)
    assert any(what.startswith(case[-1]) for what in found), found
