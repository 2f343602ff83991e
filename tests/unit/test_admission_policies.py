"""Admission policies: what they draw, what they ask of the solvers, whose a demand is, and what the kit finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from models.errors import InputError
from sim import run
from sim.dispatch.kit.__main__ import check
from sim.dispatch.kit.admission import situations
from sim.dispatch.registry import Registry
from sim.dispatch.views import AdmissionView

ROOT = Path(__file__).parents[2]
NAMES = Registry().names("admission")
GOOD = (ROOT / "docs" / "plugins" / "fewest_ways.py").read_text(encoding="utf-8")
BEGIN = "        ways = np.diff(problem.first)"
END = 'return place(problem, order, "least_loaded")'
SHAPE, PROVEN, LEFT, SAME = "answers: a Plan", "plans: proven", "problem and view", "same seed"
FAULTS = {
    "no_plan": (END, END + ".way", SHAPE),
    "raises": (BEGIN, "        self.nothing\n" + BEGIN, SHAPE),
    "no_decide": ("def decide", "def decides", "Policy(params, view)"),
    "writes_the_view": (BEGIN, "        self.view.free[:] = 0\n" + BEGIN, SHAPE),
    "writes_the_problem": (BEGIN, "        problem.capacity[:] = 0\n" + BEGIN, LEFT),
    "overloads": (END, f"plan = {END[7:]}\n        return replace(plan, way=problem.first[:-1] + 0)", PROVEN),
    "rejects_what_is_required": (END, f"plan = {END[7:]}\n        return replace(plan, way=plan.way * 0 - 1)", PROVEN),
    "low_bound": (END, f"return replace({END[7:]}, bound=0.0)", PROVEN),
    "not_the_optimum": (END, f"return replace({END[7:]}, status='optimal')", PROVEN),
    "gives_up": (END, f"return replace({END[7:]}, status='not_found', way=0 * ways - 1)", PROVEN),
    "another_problem": (END, "return place(replace(problem, current=problem.current * 0 - 1), order)", PROVEN),
    "not_strict": ("(ways, new, -problem.weight, ", "(ways, new, problem.weight, ", PROVEN),
    "own_randomness": ("np.lexsort((ways,", "np.lexsort((np.random.default_rng().random(len(ways)),", SAME),
    "global_randomness": ("np.lexsort((ways,", "np.lexsort((np.random.random(len(ways)),", "no draw from global"),
    "no_retries": ("class Policy:", "class Policy:\n    agents = 2", "Policy(params, view)"),
    "agent_beyond": (
        "class Policy:",
        "class Policy:\n    agents, retries = 2, 1\n\n    def agent_of(self, demand, src, dst, priority):\n"
        "        return priority\n",
        "agent_of",
    ),
}  # fmt: skip


def loaded(folder: Path, text: str):
    file = folder / "own.py"
    file.write_text(text.replace("import numpy as np", "from dataclasses import replace\n\nimport numpy as np"))
    return Registry().add_plugin(file)


@pytest.mark.parametrize("case", FAULTS)
def test_the_kit_finds_each_fault(case: str, tmp_path: Path) -> None:
    old, new, what = FAULTS[case]
    assert old in GOOD
    found = check(loaded(tmp_path, GOOD.replace(old, new))).faults()
    assert any(name.startswith(what) for name in found), found


def test_parameters_of_a_controller_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"derived from sim\.dispatch\.api\.ControllerParams"):
        loaded(tmp_path, GOOD.replace("ControllerParams", "PolicyParams"))


def made(name: str, number: int = 0, **params: object):
    """A policy and one of the kit's situations."""
    situation = situations()[number]
    policy = Registry().load("admission", name)
    view = AdmissionView(situation.topology, lambda: 0)
    return policy.module.Policy(policy.Params.model_validate(params), view), situation.problem


@pytest.mark.parametrize(
    ("name", "draws"), [("greedy", 0), ("async_agents", 0), ("lp_rounding", 1), ("ilp", 1), ("ga", 1)]
)
def test_draws_of_a_decision(name: str, draws: int) -> None:
    """One at most, so that a decision's seed does not hang on what the solver did before."""
    policy, problem = made(name, 4)
    used, other = np.random.default_rng(5), np.random.default_rng(5)
    plan = policy.decide(problem, used)
    other.integers(2**31, size=draws)
    assert used.bit_generator.state == other.bit_generator.state
    assert plan.objective == problem.weight.sum()  # there is room for all four


@pytest.mark.parametrize(
    ("split", "agents"), [("priority", [1, 1, 2, 0]), ("source", [2, 0, 0, 1]), ("number", [0, 1, 2, 0])]
)
def test_whose_a_demand_is(split: str, agents: list[int]) -> None:
    policy, _ = made("async_agents", agents=3, split=split)
    asked = [(0, 5, 9, 1), (1, 3, 9, 4), (2, 6, 9, 2), (3, 7, 9, 3)]
    assert [policy.agent_of(*one) for one in asked] == agents


def test_limits_reach_the_solver() -> None:
    """A time limit in seconds, nodes and generations; without a time limit nothing depends on the machine."""
    from sim.dispatch.admission._limits import limits_of

    limits = limits_of(np.random.default_rng(1), 2 * 10**12, nodes=7)
    assert (limits.seconds, limits.nodes, limits.generations) == (2.0, 7, None)
    for name in NAMES:
        params = Registry().load("admission", name).Params()
        assert getattr(params, "time_limit", None) is None
        assert params.time != "measured"


def test_the_arc_form_is_refused_where_it_cannot_be_and_left_where_it_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from solvers.admission import arc

    with pytest.raises(ValidationError, match="no protection"):
        Registry().load("admission", "ilp").Params(form="arc", protection="link")
    monkeypatch.setattr(arc, "LARGEST", 1)
    policy, problem = made("ilp", 4, form="arc")
    plan = policy.decide(problem, np.random.default_rng(1))
    assert plan.notes == ("too large for the arc form; the path form took over",)
    assert plan.objective == problem.weight.sum()


def test_loading_the_policies_loads_no_solver() -> None:
    code = (
        "import sys; from sim.dispatch.registry import Registry; r = Registry();"
        "[r.load('admission', name) for name in r.names('admission')];"
        "print([m for m in ('highspy', 'pulp', 'ortools', 'solvers.admission.decode') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    """With everything that a decision may do, on a network that is too small; and another seed another one."""
    demands = {
        "kind": "demands", "arrivals": {"kind": "poisson", "rate": "20000/s"}, "bandwidth": "9Gbps", "count": 30,
        "hold": {"kind": "exponential", "mean": "2ms"}, "priorities": [3, 2, 1], "traffic": False,
    }  # fmt: skip
    values = {
        "name": "same",
        "engine": "fluid",
        "fabric": {
            "topology": {
                "kind": "leaf_spine", "leaves": 2, "spines": 2, "hosts_per_leaf": 2,
                "host_link": {"rate": "40Gbps", "delay": "1us"}, "fabric_link": {"rate": "20Gbps", "delay": "1us"},
            }
        },
        "dispatch": {"admission": {"kind": name, "epoch": "200us", "time": "50us", "preempt": True, "moves": 2}},
        "workload": [demands],
    }  # fmt: skip
    first, second, other = (run(values | {"seed": seed}) for seed in (1, 1, 2))
    for table in ("demands", "decisions", "reservations"):
        pd.testing.assert_frame_equal(first.frame(table), second.frame(table))
    assert set(first.frame("demands")["status"]) > {"ended", "rejected"}
    assert not first.frame("demands").equals(other.frame("demands"))
