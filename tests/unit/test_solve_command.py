"""``solve``: what is written and printed, that it is the same again, and what is said about wrong input."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import run_sim
from models.builders import edges, edges_writer, semi_random
from models.demands import read as read_demands

EDGES = """src,dst,rate,delay
a,b,100Mbps,1ms
a,c,100Mbps,1ms
c,b,100Mbps,1ms
b,d,1Gbps,1ms
c,d,1Gbps,1ms
"""
DEMANDS = """id,src,dst,bandwidth,priority
one,a,d,80Mbps,1
two,a,d,80Mbps,5
three,a,b,80Mbps,2
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text(EDGES)
    (tmp_path / "demands.csv").write_text(DEMANDS)
    return tmp_path


def solve(*more: str) -> int:
    return run_sim.main(["solve", "admission", "--topology", "net.csv", "--demands", "demands.csv", "-q", *more])


def plan(path: str = "plan.json") -> dict[str, Any]:
    return dict(json.loads(Path(path).read_text()))


@pytest.mark.parametrize("method", ["ilp", "ga", "greedy", "lp_rounding"])
def test_each_method_writes_a_plan_that_fits(method: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limit = ["--generations", "5"] if method == "ga" else []
    assert solve("--method", method, "-o", "plan.json", *limit) == 0
    known = plan()
    assert (known["status"], known["objective"], known["method"]) == ("optimal", 7, method)
    by_id = {row["id"]: row for row in known["demands"]}
    assert [row["admitted"] for row in by_id.values()] == [False, True, True]
    assert by_id["two"]["path"].split(">")[0::2][0] == "a"
    assert by_id["one"]["path"] is None
    assert "full" in by_id["one"]["reason"]
    # the load of every link, from the paths alone
    load: dict[str, float] = {}
    for row in known["demands"]:
        nodes = (row["path"] or "").split(">")
        for link in pairwise(nodes):
            load["->".join(link)] = load.get("->".join(link), 0) + row["bandwidth_mbps"]
    for link in known["links"]:
        assert link["reserved_mbps"] == load.get(link["link"], 0) <= link["capacity_mbps"]
    assert known["classes"][0] == {"priority": 5, "demands": 1, "admitted": 1}
    assert capsys.readouterr().out.startswith("optimal: proven")


def test_the_same_again_but_for_the_time(desk: Path) -> None:
    for name in ("one.json", "two.json"):
        assert solve("--method", "ilp", "--nodes", "100", "-o", name) == 0
    first, second = plan("one.json"), plan("two.json")
    for known in (first, second):
        del known["seconds"], known["steps"]
    assert first == second


def test_all_demands_or_no_plan(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert solve("--all", "-o", "plan.json") == 0
    known = plan()
    assert (known["status"], known["objective"]) == ("infeasible", 0)
    assert capsys.readouterr().out.startswith("infeasible")


def test_strict_priorities_come_before_the_sum(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("demands.csv").write_text(
        "id,src,dst,bandwidth,priority\nbig,a,d,200Mbps,3\n" + "".join(f"s{i},a,d,50Mbps,1\n" for i in range(4))
    )
    Path("net.csv").write_text("src,dst,rate,delay\na,b,200Mbps,1ms\nb,d,200Mbps,1ms\nd,c,1Gbps,1ms\nc,b,10Mbps,1ms\n")
    assert solve("-o", "sum.json") == 0
    assert "no plan is worth more" in capsys.readouterr().out
    assert solve("--strict", "-o", "strict.json") == 0
    assert "class by class no plan admits more" in capsys.readouterr().out
    assert (plan("sum.json")["objective"], plan("strict.json")["objective"]) == (4, 3)
    assert plan("strict.json")["demands"][0]["admitted"]


NATIVE = """?SNDlib native format; type: network; version: 1.0
# NODE SECTION
NODES (
  N1 ( 1.0 2.0 )
  N2 ( 2.0 2.0 )
  N3 ( 2.0 3.0 )
)
LINKS (
  L1 ( N1 N2 ) 0.00 0.00 0.00 0.00 ( 40.00 120.00 160.00 300.00 )
  L2 ( N2 N3 ) 30.00 0.00 0.00 0.00 ( 40.00 120.00 )
  L3 ( N1 N3 ) 30.00 0.00 0.00 0.00 ( )
)
DEMANDS (
  D1 ( N1 N2 ) 1 25.00 UNLIMITED
  D2 ( N1 N2 ) 2 15.00 UNLIMITED
  D3 ( N1 N2 ) 1 20.00 3
)
"""


def test_a_file_of_sndlib_brings_its_demands(desk: Path) -> None:
    Path("net.txt").write_text(NATIVE.replace("\n", "\r\n"))
    nodes = "".join(
        f'<node id="N{n}"><coordinates><x>{x}</x><y>{y}</y></coordinates></node>'
        for n, x, y in ((1, 1.0, 2.0), (2, 2.0, 2.0), (3, 2.0, 3.0))
    )
    module = "<{0}><capacity>{1}</capacity><cost>1.0</cost></{0}>"
    links = "".join(
        f'<link id="L{n}"><source>N{a}</source><target>N{b}</target>{capacity}</link>'
        for n, a, b, capacity in (
            (1, 1, 2, f"<additionalModules>{module.format('addModule', 40.0)}</additionalModules>"),
            (2, 2, 3, module.format("preInstalledModule", 30.0)),
            (3, 1, 3, module.format("preInstalledModule", 30.0)),
        )
    )
    asked = "".join(
        f'<demand id="D{n}"><source>N1</source><target>N2</target><demandValue>{value}</demandValue></demand>'
        for n, value in ((1, 25.0), (2, 30.0), (3, 20.0))
    )
    Path("net.xml").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<network xmlns="http://sndlib.zib.de/network" version="1.0">'
        f'<networkStructure><nodes coordinatesType="geographical">{nodes}</nodes><links>{links}</links>'
        f"</networkStructure><demands>{asked}</demands></network>"
    )
    answers = []
    for name in ("net.txt", "net.xml"):
        assert run_sim.main(["solve", "admission", "--topology", name, "-q", "-o", "plan.json"]) == 0
        known = plan()
        assert (known["status"], known["objective"], known["bound"], known["gap"]) == ("optimal", 2, 2, 0)
        assert {link["link"]: link["capacity_mbps"] for link in known["links"]}["N1->N2"] == 40
        answers.append(known["demands"])
    assert answers[0] == answers[1]
    assert {row["path"] for row in answers[0] if row["admitted"]} <= {"N1>N2", "N1>N3>N2"}


def test_a_protected_plan_tells_both_paths(desk: Path) -> None:
    Path("demands.csv").write_text("id,src,dst,bandwidth,priority\none,a,b,80Mbps,1\n")
    assert solve("--protection", "link", "-o", "plan.json") == 0
    row = plan()["demands"][0]
    assert (row["path"], row["backup"]) == ("a>b", "a>c>b")


def test_pictures_of_plans(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert solve("-o", "ilp.json", "--plots") == 0
    assert Path("ilp_map.png").stat().st_size > 5000
    assert solve("--method", "greedy", "-o", "greedy.json") == 0
    capsys.readouterr()
    assert run_sim.main(["plot", "ilp.json", "greedy.json", "--out", "pictures"]) == 0
    assert set(capsys.readouterr().out.split()) == {
        "pictures/ilp_map.png",
        "pictures/greedy_map.png",
        "pictures/ilp_anytime.png",
    }
    Path("demands.csv").write_text(DEMANDS.replace("80", "70"))
    assert solve("-o", "other.json") == 0
    assert run_sim.main(["plot", "ilp.json", "other.json"]) == 2
    assert "other.json: has other demands than ilp.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "ilpp"], "--method: no method 'ilpp'; did you mean 'ilp'?"),
        (["--form", "ark"], "--form: there is no 'ark'; did you mean 'arc'?"),
        (["--method", "ga", "--nodes", "5"], "--nodes: is for --method ilp, not for ga"),
        (["--form", "arc", "--paths", "5"], "--paths: has no effect with --form arc"),
        (["--time-limit", "10"], "--time-limit: the bare number 10 has no unit"),
        (["--time-limit", "0s"], "--time-limit: must be above 0"),
        (["--unit", "1Mbps"], "--unit: has no effect on net.csv"),
        (["-o", "nowhere/plan.json"], "nowhere/plan.json: there is no folder 'nowhere'"),
        (["-o", "plan.txt"], "plan.txt: a plan is written as JSON"),
        (["--plots"], "--plots: draws the plan beside its file; give -o FILE"),
        (["--topology", "net.zip"], "net.zip: no network is read from '.zip'"),
        (["--topology", "none.csv"], "none.csv: can't be read: No such file or directory"),
    ],
)
def test_wrong_options(options: list[str], said: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(desk.iterdir())
    assert solve(*options) == 2
    assert said in capsys.readouterr().err
    assert sorted(desk.iterdir()) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("demands.csv", "one,a,d", "one,a,dd", "demands.csv:2:7: dst: no node 'dd'; did you mean 'd'?"),
        ("demands.csv", "two", "one", "demands.csv:3:1: the id 'one' is used twice"),
        ("demands.csv", "80Mbps,5", "nan,5", "demands.csv:3:9: bandwidth: 'nan'"),
        ("demands.csv", "80Mbps,5", "0Mbps,5", "demands.csv:3:9: bandwidth must be above 0"),
        ("demands.csv", "80Mbps,5", "300Mbps,5", "300Mbps is above every path from a to d"),
        ("demands.csv", "id,src", "name,src", "demands.csv:1:1: unknown column 'name'"),
        ("net.csv", "b,d,1Gbps", "b,d,0Gbps", "net.csv:5:5: rate must be above 0"),
        ("net.csv", "b,d,1Gbps", "b,d,-1Gbps", "net.csv:5:5: rate: '-1Gbps' is negative"),
        ("net.csv", "b,d,1Gbps,1ms\nc,d", "e,d,1Gbps,1ms\nf,d", "demands.csv:2:7: dst: no path from a to d"),
    ],
)
def test_wrong_files(file: str, old: str, new: str, said: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (desk / file).read_text()
    assert old in text
    (desk / file).write_text(text.replace(old, new, 1))
    assert solve("-o", "plan.json") == 2
    assert said in capsys.readouterr().err
    assert not Path("plan.json").exists()


def test_all_faults_come_at_once(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("demands.csv").write_text(DEMANDS.replace("one,a", "one,x").replace("three,a", "three,y"))
    assert solve("--method", "gaa", "--time-limit", "soon", "-o", "no/plan.json") == 2
    told = capsys.readouterr().err
    for part in ("--method", "--time-limit", "no/plan.json", "no node 'x'", "no node 'y'"):
        assert part in told


def test_a_scenario_gives_its_fabric(desk: Path) -> None:
    Path("own.yaml").write_text(
        "name: own\nfabric: {topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}\n"
        "workload: [{kind: matrix, pattern: permutation, size: 100KB}]\n"
    )
    Path("demands.csv").write_text("id,src,dst,bandwidth,priority\n0,host0,host3,100Gbps,1\n1,leaf0,leaf1,800Gbps,9\n")
    assert solve("--topology", "own.yaml", "-o", "plan.json") == 2  # 800 Gbps is above every link
    Path("demands.csv").write_text("id,src,dst,bandwidth,priority\n0,host0,host3,100Gbps,1\n1,leaf0,leaf1,350Gbps,9\n")
    assert solve("--topology", "own.yaml", "-o", "plan.json") == 0
    assert all(row["admitted"] for row in plan()["demands"])


def test_an_interrupt_before_a_plan_writes_nothing(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("solvers.admission.solve", stop)
    assert solve("-o", "plan.json") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not Path("plan.json").exists()


def test_an_instance_can_be_solved(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--nodes", "12", "--demands", "60", "--load", "0.8", "--seed", "3"]
    for folder in ("one", "two"):
        assert run_sim.main(["solve", "instance", *options, "-o", folder]) == 0
    assert "60 demands" in capsys.readouterr().out
    for name in ("edges.csv", "demands.csv"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    assert solve("--topology", "one/edges.csv", "--demands", "one/demands.csv", "--method", "greedy") == 0
    assert run_sim.main(["solve", "instance", *options, "-o", "one"]) == 2
    assert "one/edges.csv: exists and is not replaced" in capsys.readouterr().err


def test_gravity_demands_on_a_network_of_ones_own(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sim.main(["solve", "instance", "--topology", "net.csv", "--gravity", "--load", "0.5", "-o", "out"]) == 0
    assert not Path("out/edges.csv").exists()
    demands = read_demands(Path("out/demands.csv"), edges.build(Path("net.csv")))
    assert len(demands.id) == 12  # ordered pairs of four nodes
    assert run_sim.main(["solve", "instance", "--degree", "1", "-o", "more"]) == 2
    assert "--degree: degree is 1; 50 nodes are connected by a mean degree of" in capsys.readouterr().err


def test_edges_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = semi_random.build(15, 3.0, 4)
    (tmp_path / "edges.csv").write_text(edges_writer.written(made))
    again = edges.build(tmp_path / "edges.csv")
    assert again.link_name == made.link_name
    assert again.hosts == made.hosts == 15
    assert again.link_rate.tolist() == made.link_rate.tolist()
    assert again.link_delay.tolist() == made.link_delay.tolist()
    parallel = edges.build(links=[{"src": a, "dst": b, "rate": 10, "delay": 1, "parallel": 2} for a, b in ("ab", "bc")])
    (tmp_path / "parallel.csv").write_text(edges_writer.written(parallel))
    assert edges.build(tmp_path / "parallel.csv").links == parallel.links == 8
