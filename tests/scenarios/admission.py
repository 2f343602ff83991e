"""What the shipped scenarios with admission show."""

from __future__ import annotations

from analysis.load import Results

Runs = dict[str, Results]


def earned(run: Results) -> float:
    """Priorities of the demands that were served to their end, as a share of all."""
    demands = run.frame("demands")
    return float(demands["earned"].sum() / demands["priority"].sum())


def admitted(run: Results, priority: int | None = None) -> float:
    demands = run.frame("demands")
    mine = demands if priority is None else demands[demands["priority"] == priority]
    return float(mine["admitted"].mean())


def number(run: Results, status: str) -> int:
    return int((run.frame("demands")["status"] == status).sum())


def rounds(run: Results) -> float:
    return float(run.frame("collectives")["time_us"].mean())


def carried(run: Results) -> float:
    return float(run.frame("demands")["carried"].mean())


def sdn_admission(runs: Runs) -> None:
    lost = runs["greedy"].frame("demands").query("status == 'lost'")
    assert len(lost) > 0
    assert lost["reason"].str.contains("Champaign->NCAR_Boulder failed|Boulder->NCSA_.* failed").all()
    assert admitted(runs["preempt"], 3) == 1 > admitted(runs["greedy"], 3)
    assert number(runs["preempt"], "preempted") > 0 == number(runs["greedy"], "preempted")
    assert number(runs["protected"], "lost") == 0
    assert admitted(runs["protected"]) < 0.6 * admitted(runs["greedy"])
    assert runs["epochs"].frame("demands")["wait_ms"].max() <= 2000
    assert earned(runs["moves"]) > max(earned(runs["epochs"]), earned(runs["greedy"]))
    for run in runs.values():
        assert run.frame("reservations")["mean_share"].max() <= 1


def sdn_zoo(runs: Runs) -> None:
    assert earned(runs["ilp_moves"]) > max(earned(run) for name, run in runs.items() if name != "ilp_moves")
    assert abs(earned(runs["ilp"]) - earned(runs["greedy"])) < 0.05
    optimal = runs["ilp"].frame("decisions")
    assert (optimal["gap"] == 0).all()
    assert runs["greedy"].frame("decisions")["gap"].max() > 0
    gain = {name: admitted(run, 3) - admitted(run, 1) for name, run in runs.items()}
    assert gain["agents"] < gain["greedy"]
    assert len({tuple(run.frame("demands")["path"].fillna("")) for run in runs.values()}) == len(runs)


def controller_time(runs: Runs) -> None:
    assert earned(runs["ilp_free"]) > earned(runs["greedy"]) > 1.5 * earned(runs["ilp_10ms"])
    assert earned(runs["ilp_1ms"]) > earned(runs["greedy"])
    assert number(runs["ilp_10ms"], "gave_up") > len(runs["ilp_10ms"].frame("demands")) / 2
    assert number(runs["greedy"], "gave_up") == 0


def admission_all_to_all(runs: Runs) -> None:
    assert rounds(runs["alone"]) * 1.1 < rounds(runs["share_1"]) < rounds(runs["share_100"])
    assert carried(runs["share_1"]) < 0.5
    assert carried(runs["share_100"]) > 0.98
    assert carried(runs["reserved"]) > 1 - 1e-6
    assert admitted(runs["share_1"]) == 1 > admitted(runs["reserved"])
    assert rounds(runs["reserved"]) > rounds(runs["share_1"])
