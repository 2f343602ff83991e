"""The contract kit: every built-in policy passes, the documented plugins too, and each kind of fault is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sim.dispatch.kit.__main__ import check, main
from sim.dispatch.kit.collective import data_faults
from sim.dispatch.kit.gates import feeding, sent_order
from sim.dispatch.registry import LEVELS, Registry

ROOT = Path(__file__).parents[2]
PLUGINS = sorted((ROOT / "docs" / "plugins").glob("*.py"))
BUILT_IN = [(level, name) for level in LEVELS for name in Registry().names(level)]

PATH = '''"""Takes the first path. Source: own."""

import random

import numpy as np

from sim.dispatch.api import Field, Piece, PolicyParams

LEVEL = "path"


class Params(PolicyParams):
    k: int = Field(default=1, ge=1, description="Nothing.")


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params, view):
        self.view = view

    def assign(self, flows, rng):
        return [self.one(flow, rng) for flow in flows]

    def one(self, flow, rng):
        paths = self.view.routes.paths(flow.src, flow.dst) or [()]
        return [Piece(flow.bytes, paths[0])]
'''

SHAPE, BYTES, PATHS = "answers: a list of pieces", "bytes:", "paths: from source"
PATH_FAULTS = {
    # what is replaced, by what, and the check that must notice
    "no_docstring": ('"""Takes the first path. Source: own."""', "", "docstring"),
    "no_source": (" Source: own.", "", "docstring"),
    "no_description": (', description="Nothing."', "", "parameters: each has"),
    "no_default": ("default=1, ", "", "parameters: valid"),
    "bad_default": ("default=1", "default=0", "parameters: valid"),
    "not_frozen": ("    k: int", '    model_config = {"frozen": False}\n    k: int', "parameters: frozen"),
    "open_keys": ("    k: int", '    model_config = {"extra": "allow"}\n    k: int', "parameters: frozen"),
    "float_timer": ("batch_timer = 0", "batch_timer = 0.5", "Policy(params, view)"),
    "no_reroutes": ("    reroutes = True\n", "", "Policy(params, view)"),
    "constructor": ("self.view = view", "self.view = view.nothing", "Policy(params, view)"),
    "too_few_answers": ("for flow in flows]", "for flow in flows[1:]]", SHAPE),
    "no_list": ("[Piece(flow.bytes, paths[0])]", "Piece(flow.bytes, paths[0])", SHAPE),
    "no_pieces": ("[Piece(flow.bytes, paths[0])]", "[]", SHAPE),
    "raises": ("return [Piece", "self.nothing; return [Piece", SHAPE),
    "list_path": ("paths[0])]", "list(paths[0]))]", SHAPE),
    "float_bytes": ("flow.bytes, paths", "flow.bytes / 2, paths", SHAPE),
    "empty_piece": ("paths[0])]", "paths[0]), Piece(0, paths[0])]", SHAPE),
    "free_piece": ("[Piece(flow.bytes, paths[0])]", "[Piece(1, paths[0]), Piece(flow.bytes - 1 or 1, None)]", SHAPE),
    "byte_lost": ("flow.bytes, paths", "max(flow.bytes - 1, 1), paths", BYTES),
    "cut_short": ("paths[0])]", "paths[0][:-1])]", PATHS),
    "reverse": ("paths[0])]", "paths[0][::-1])]", PATHS),
    "other_links": ("paths[0])]", "tuple(link + 10**6 for link in paths[0]))]", PATHS),
    "negative_links": ("paths[0])]", "tuple(link - 1000 for link in paths[0]))]", PATHS),
    "loop": ("paths[0])]", "paths[0][:2] + (paths[0][1] ^ 1,) + paths[0][1:])]", PATHS),
    "empty_path": ("paths[0])]", "())]", PATHS),
    "old_routes": (
        "self.view = view",
        "self.routes, self.view = view.routes, self\n        self.routes = type(self.routes)(view.topology)",
        "paths: no link that tables",
    ),
    "unreachable_raises": (" or [()]", "", "unreachable"),
    "counts_instances": (
        "class Policy:", "class Policy:\n    made = [0]\n", "self.view = view", "self.view = view; self.made[0] += 1",
        "paths[0])]", "paths[self.made[0] % len(paths)])]", "same seed",
    ),
    "global_random": ("paths[0])]", "paths[random.randrange(len(paths))])]", "no draw from global"),
    "numpy_random": ("paths[0])]", "paths[np.random.randint(len(paths))])]", "no draw from global"),
    "takes_flows": ("one(flow, rng) for flow in flows]", "one(flows.pop(), rng) for _ in flows[:]]", "view and flows"),
    "writes_topology": ("paths = self", "self.view.topology.link_rate[0] += 1; paths = self", "view and flows"),
    "keeps_books": ("return [Piece", "self.view.added([Piece(1, (0,))]); return [Piece", "view and flows"),
    "bad_timeout": (
        "    def one",
        "    def on_timeout(self, flow, path, rng):\n        return ()\n\n    def one",
        "on_timeout",
    ),
}  # fmt: skip

PACKET = '''"""Takes a random port. Source: own."""

import random

import numpy as np

from sim.dispatch.api import PolicyParams, packet_policy

LEVEL = "packet"
uses_queues = False


class Params(PolicyParams):
    pass


def state(topology, params, key):
    return np.zeros(topology.nodes, dtype=np.int64)


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):
    state[node] += 1
    return key % n
'''

STATE = "state(topology, params, key)"
PACKET_FAULTS = {
    "float_state": ("dtype=np.int64", "dtype=np.float64", STATE),
    "list_state": ("np.zeros(topology.nodes, dtype=np.int64)", "[0] * topology.nodes", STATE),
    "table_state": ("np.zeros(topology.nodes,", "np.zeros((topology.nodes, 2),", STATE),
    "random_state": ("np.zeros(topology.nodes, dtype=np.int64)", "np.random.default_rng().integers(0, 99, 50)", STATE),
    "one_state": (
        "def state(topology, params, key):\n    return np.zeros(topology.nodes, dtype=np.int64)",
        "WORDS = np.zeros(999, dtype=np.int64)\n\n\ndef state(topology, params, key):\n    return WORDS",
        STATE,
    ),
    "not_compiled": ("@packet_policy\n", "", "pick: compiled"),
    "too_high": ("return key % n", "return n", "pick: an index"),
    "rarely_too_high": ("return key % n", "return key % (n + (n == 63))", "pick: an index"),
    "negative": ("return key % n", "return -1", "pick: an index"),
    "beyond_state": ("state[node]", "state[node + 1]", "state and queues: nothing"),
    "before_state": ("state[node] += 1", "state[node - 12] += 1", "state and queues: nothing"),
    "beyond_queues": ("return key % n", "return (key + 0 * queues[n]) % n", "state and queues: nothing"),
    "writes_queues": ("state[node] += 1", "queues[0] = 7", "words around"),
    "own_random": ("return key % n", "return np.random.randint(n)", "same state and key"),
    "hidden_queues": ("return key % n", "return np.argmin(queues)", "uses_queues"),
}

SPREAD = '''"""Hosts deal their packets over sixteen entropies. Source: own."""

import numpy as np

from sim.dispatch.api import PolicyParams, entropy_feedback, entropy_policy

LEVEL = "packet"
pick = None
uses_queues = False


class Params(PolicyParams):
    pass


def state(topology, params, key):
    return np.zeros(0, dtype=np.int64)


def memory(topology, params, window, key):
    return np.zeros(2, dtype=np.int64)


@entropy_policy
def spread(own, now, flow, packet, window, key):
    own[0] += 1
    return (own[0] + own[1]) % 16


@entropy_feedback
def hear(own, now, kind, entropy, key):
    own[1] = entropy + kind
'''

SPREAD_FAULTS = {
    "float_memory": ("np.zeros(2, dtype=np.int64)", "np.zeros(2)", "memory"),
    "spread_not_compiled": ("@entropy_policy\n", "", "spread: compiled"),
    "hear_not_compiled": ("@entropy_feedback\n", "", "hear: compiled"),
    "negative_entropy": ("% 16", "% 16 - 8", "spread: an entropy"),
    "beyond_memory": ("own[1] = entropy", "own[2] = entropy", "own memory"),
    "random_entropy": ("return (own[0] + own[1]) % 16", "return np.random.randint(16)", "same memory"),
}

TRANSPORT = (ROOT / "docs" / "plugins" / "aimd.py").read_text()
TRANSPORT_FAULTS = {
    "float32": ("np.zeros(FREE + 4)", "np.zeros(FREE + 4, dtype=np.float32)", "memory(params"),
    "too_short": ("own = np.zeros(FREE + 4)", "return np.zeros(2)\n    own = np.zeros(FREE + 4)", "memory(params"),
    "no_window": ("own[WINDOW] = max(facts.bdp, facts.mtu)", "own[WINDOW] = 0", "memory(params"),
    "marks_wrong": ("return max(facts.bdp // 4, facts.mtu),", "return facts.bdp * 9 + facts.mtu * 9,", "marking"),
    "not_compiled": ("@congestion_control ", "# ", "react: compiled"),
    "not_finite": ("own[WINDOW] * own[FACTOR]", "own[WINDOW] * 1e300 * 1e300", "memory stays"),
    "negative": ("max(own[WINDOW] * own[FACTOR], own[MTU])", "own[WINDOW] - 9e9", "own[WINDOW]"),
    "outside": ("own[RECOVER] = following", "own[RECOVER + 3] = following", "words around"),
    "past": ("own[RECOVER] = following", "own[RECOVER] = following\n        own[2] = now", "own[TIMER]"),
    "own_random": ("own[RECOVER] = following", "own[RECOVER] = np.random.randint(9)", "same memory"),
}

COLLECTIVE = '''"""Everybody sends to rank 0, which answers. Source: own."""

from sim.dispatch.api import Message, PolicyParams

LEVEL = "collective"


class Params(PolicyParams):
    pass


class Policy:
    operations = frozenset({"all_reduce"})

    def __init__(self, params):
        pass

    def problem(self, operation, ranks):
        return "too few" if ranks < 2 else None

    def schedule(self, operation, ranks, size):
        up = [Message(rank, 0, size, opens=0) for rank in range(1, ranks)]
        return up + [Message(0, rank, size, waits_for=0) for rank in range(1, ranks)], [ranks - 1]
'''

GATES, DATA = "schedule: every rank and gate", "data:"
COLLECTIVE_FAULTS = {
    "unknown_operation": ('"all_reduce"', '"reduce_all"', "Policy(params): operations"),
    "no_frozenset": ('frozenset({"all_reduce"})', '["all_reduce"]', "Policy(params): operations"),
    "one_rank": ('"too few" if ranks < 2 else None', "None", "Policy(params): operations"),
    "says_false": ("else None", "else False", "Policy(params): operations"),
    "raises": ("up = ", "up = self.nothing; up = ", "schedule: messages and gates"),
    "plain_tuples": ("Message(rank, 0, size, opens=0)", "(rank, 0, size, -1, 0)", "schedule: messages and gates"),
    "float_bytes": ("Message(rank, 0, size,", "Message(rank, 0, size / 2,", "schedule: messages and gates"),
    "rank_beyond": ("range(1, ranks)], [", "range(1, ranks + 1)], [", GATES),
    "to_itself": ("for rank in range(1, ranks)]\n", "for rank in range(ranks)]\n", GATES),
    "count": ("[ranks - 1]", "[ranks]", GATES),
    "gate_beyond": ("waits_for=0", "waits_for=1", GATES),
    "two_owners": ("up = ", "up = [Message(1, 0, 1, waits_for=0)] + ", GATES),
    "deadlock": ("Message(rank, 0, size, opens=0)", "Message(0, rank, size, 0, 0)", "schedule: every message"),
    "not_waiting": ("waits_for=0", "waits_for=-1", DATA),
    "half": ("Message(0, rank, size,", "Message(0, rank, size // 2,", DATA),
    "forgets_one": ("for rank in range(1, ranks)], [", "for rank in range(2, ranks)], [", DATA),
    "too_early": ("opens=0) for", "opens=0 if rank == 1 else -1) for", "[ranks - 1]", "[1]", DATA),
    "counts_instances": (
        "class Policy:", "class Policy:\n    made = [0]\n", "pass\n\n    def p", "self.made[0] += 1\n\n    def p",
        "[ranks - 1]", "[ranks - 1] + self.made", "same question",
    ),
    "global_random": ("up = ", "import random; random.random(); up = ", "no draw from global"),
}  # fmt: skip


@pytest.mark.parametrize(("level", "name"), BUILT_IN)
def test_every_built_in_policy_passes(level: str, name: str) -> None:
    report = check(Registry().load(level, name))
    assert report.passed, str(report)


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: file.stem)
def test_the_documented_plugins_pass(file: Path) -> None:
    report = check(Registry().add_plugin(file))
    assert report.passed, str(report)


def faults_of(folder: Path, text: str) -> list[str]:
    file = folder / "own.py"
    file.write_text(text)
    return check(Registry().add_plugin(file)).faults()


def changed(text: str, *pairs: str) -> str:
    """``text`` with old, new, old, new ... replaced."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.mark.parametrize("text", [PATH, PACKET, SPREAD, COLLECTIVE], ids=["path", "packet", "spread", "collective"])
def test_the_models_of_the_bad_ones_are_good(text: str, tmp_path: Path) -> None:
    assert faults_of(tmp_path, text) == []


LEVEL_FAULTS = {
    "path": (PATH, PATH_FAULTS), "packet": (PACKET, PACKET_FAULTS), "collective": (COLLECTIVE, COLLECTIVE_FAULTS),
    "spread": (SPREAD, SPREAD_FAULTS), "transport": (TRANSPORT, TRANSPORT_FAULTS),
}  # fmt: skip
CASES = [
    pytest.param(text, case[:-1], case[-1], id=f"{level}-{name}")
    for level, (text, cases) in LEVEL_FAULTS.items()
    for name, case in cases.items()
]


@pytest.mark.parametrize(("text", "pairs", "check_name"), CASES)
def test_each_fault_is_found(text: str, pairs: tuple[str, ...], check_name: str, tmp_path: Path) -> None:
    found = faults_of(tmp_path, changed(text, *pairs))
    assert any(what.startswith(check_name) for what in found), found


def fed(messages, counts):
    return feeding(messages, counts, sent_order(messages, counts))


def test_data_that_goes_only_half_way_round_a_ring_is_missed() -> None:
    from sim.dispatch.collective import ring

    messages, counts = ring.Policy(ring.Params()).schedule("all_gather", 5, 5000)
    assert not list(data_faults(messages, fed(messages, counts), "all_gather", 5, 5000))
    short = [message for message in messages if message.opens >= 0]  # without the last step
    found = list(data_faults(short, fed(short, counts), "all_gather", 5, 5000))
    assert found[0] == "rank 0 can get 0 B from rank 1, and is due 1000 B"
    assert len(found) == 5


def test_the_command_says_what_it_checked_and_gives_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--level", "path", "--name", "spray"]) == 0
    assert "  13 checks, all passed" in capsys.readouterr().out
    bad = tmp_path / "bad.py"
    bad.write_text(changed(PATH, "flow.bytes, paths", "max(flow.bytes - 1, 1), paths"))
    assert main([str(PLUGINS[0]), str(bad)]) == 1
    out = capsys.readouterr().out
    assert "  FAIL  bytes: the pieces sum exactly to the flow\n          leaf-spine: the pieces of a flow of" in out
    assert "13 checks, 1 failed" in out
    bad.write_text("LEVEL = 'pat'\n")
    assert main([str(bad)]) == 2
    assert "bad.py:1:1: unknown level 'pat'; did you mean 'path'?" in capsys.readouterr().err
    assert main(["--level", "path", "--name", "etheral"]) == 2
    assert "did you mean 'ethereal'" in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "sim.dispatch.kit", "docs/plugins/two_choices.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "path policy two_choices (docs/plugins/two_choices.py)" in done.stdout
