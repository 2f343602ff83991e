"""The scenario's door: values, defaults, overrides, variants, origins, and that what it prints loads to the same."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

import run_sim
from models.errors import InputError
from sim.scenario import reference
from sim.scenario.clusters import TOPOLOGIES
from sim.scenario.crosscheck import cross_check
from sim.scenario.fabric import make_topology, prepare
from sim.scenario.load import Loaded, load
from sim.scenario.show import text_of

BASE = """name: base
fabric:
  topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}
  switch: {ecn: {kmin: 200KB, kmax: 800KB}}
dispatch:
  path: {kind: ethereal, batch_timer: 200ns}
workload:
  - {kind: collective, op: all_reduce, size: 16MB}
"""
MANY = """name: many
seed: 7
engine: packet
fabric:
  topology:
    kind: edges
    hosts: [a, b]
    links:
      - {src: a, dst: s, rate: 100Gbps, delay: 1us}
      - {src: b, dst: s, rate: 10Gbps, delay: 0ns, parallel: 2}
      - {src: s, dst: t, rate: 1.5Gbps, delay: 1us, name: "on"}
  links: {"a->s": {rate: 50Gbps}, on: {delay: 7ns}}
  transport: {kind: line_rate, wire_mtu: 1KB, header: 0B}
  switch: {buffer: unlimited}
workload:
  - {kind: matrix, pattern: {pattern: incast, senders: 1}, size: 1MB, start: 5us}
  - {kind: flows, arrivals: {kind: poisson, rate: 0.5/us}, sizes: websearch, pairs: permutation, count: 1e3}
  - {kind: flows, arrivals: {kind: gaps, gaps: [1us, 0ns]}, sizes: {kind: constant, size: 1B}}
  - {kind: collective, op: broadcast, size: 1MB, group: [1, 0], root: 1, gap: 1ms}
events:
  - {at: 0s, link: on, set: down}
  - {at: 1us, switch: t, set: up}
telemetry: {interval: 1us, links: ["b-s#0"]}
stop: {time: 1ms}
"""


OWN = """from sim.dispatch.api import PolicyParams

LEVEL = "path"


class Params(PolicyParams):
    pass


class Policy:
    pass
"""


def write(folder: Path, text: str, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def one(path: Path, *sets: str) -> Loaded:
    (loaded,) = load(path, sets)
    return loaded


def refusal(path: Path, *sets: str) -> str:
    with pytest.raises(InputError) as caught:
        load(path, sets)
    return str(caught.value)


def test_quantities_are_exact_integers(tmp_path: Path) -> None:
    scenario = one(write(tmp_path, BASE)).scenario
    assert scenario.workload[0].size == 16_000_000
    assert scenario.fabric.topology.host_link.rate == 400 * 10**9
    assert scenario.fabric.topology.host_link.delay == 500_000
    assert scenario.fabric.transport.payload == 4096
    assert scenario.fabric.transport.header == 64
    assert scenario.fabric.convergence_delay == 10**11


@pytest.mark.parametrize("text", [BASE, MANY])
@pytest.mark.parametrize("engine", ["packet", "fluid", "ideal"])
def test_the_effective_scenario_loads_to_the_same(text: str, engine: str, tmp_path: Path) -> None:
    first = one(write(tmp_path, text), f"engine={engine}")
    again = one(write(tmp_path, text_of(first.effective), "again.yaml"))
    assert again.effective == first.effective
    assert {level: choice.params for level, choice in again.dispatch.items()} == {
        level: choice.params for level, choice in first.dispatch.items()
    }


def test_every_effective_value_has_an_origin(tmp_path: Path) -> None:
    loaded = one(write(tmp_path, BASE), "seed=3")
    file = str(tmp_path / "x.yaml")
    assert loaded.origins["name",] == f"{file}:1"
    assert loaded.origins["seed",] == "--set"
    assert loaded.origins["fabric", "topology", "leaves"] == f"{file}:3"
    assert loaded.origins["fabric", "topology", "host_link", "rate"].startswith("default (set-up of Ethereal")
    assert loaded.origins["dispatch", "path", "batch_timer"] == f"{file}:6"
    assert loaded.origins["dispatch", "path", "jitter"] == "default (policy ethereal)"
    assert loaded.origins["dispatch", "packet"].startswith("default (")


def test_batch_timer_and_jitter_are_zero_outside_packets_unless_written(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    params = one(path, "engine=fluid").dispatch["path"].params
    assert (params.batch_timer, params.jitter) == (200_000, 0)
    params = one(path).dispatch["path"].params
    assert (params.batch_timer, params.jitter) == (200_000, 50_000)


def test_setting_a_policy_replaces_its_parameters(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    assert one(path, "dispatch.path=spray").effective["dispatch"]["path"] == "spray"
    changed = one(path, "dispatch.path.kind=ecmp").effective["dispatch"]["path"]
    assert changed == {"kind": "ecmp", "same_seed": False}
    # the order of options does not matter: the kind comes first
    both = one(path, "dispatch.path.same_seed=true", "dispatch.path.kind=ecmp").effective["dispatch"]["path"]
    assert both == {"kind": "ecmp", "same_seed": True}
    beside = one(path, "dispatch.path.jitter=1ns").effective["dispatch"]["path"]
    assert (beside["batch_timer"], beside["jitter"]) == ("200ns", "1ns")


def test_a_parameter_set_beside_a_bare_or_default_policy(tmp_path: Path) -> None:
    path = write(tmp_path, BASE.replace("dispatch:\n  path: {kind: ethereal, batch_timer: 200ns}\n", ""))
    assert one(path, "dispatch.path.same_seed=true").effective["dispatch"]["path"] == {
        "kind": "ecmp",
        "same_seed": True,
    }


def test_setting_a_section_merges_and_setting_anything_else_replaces(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    switch = one(path, "fabric.switch={buffer: 2MB}").scenario.fabric.switch
    assert (switch.buffer, switch.ecn.kmin) == (2_000_000, 200_000)
    topology = one(path, "fabric.topology={kind: star, hosts: 4}").effective["fabric"]["topology"]
    assert topology["kind"] == "star"
    assert "leaves" not in topology
    assert one(path, "fabric.switch.ecn=null").scenario.fabric.switch.ecn is None
    assert one(path, "stop.time=3ms").scenario.stop.time == 3 * 10**9


def test_set_reaches_into_lists_and_link_names(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    loaded = one(path, "workload.0.size=4MB", "fabric.links.leaf0->spine1.rate=1Gbps")
    assert loaded.scenario.workload[0].size == 4_000_000
    topology = make_topology(loaded)
    assert topology.link_rate[topology.find_links("leaf0->spine1")[0]] == 10**9
    assert topology.link_rate[topology.find_links("spine1->leaf0")[0]] == 400 * 10**9


def test_one_direction_wins_over_the_cable(tmp_path: Path) -> None:
    links = "{leaf0->spine1: {rate: 1Gbps}, spine1-leaf0: {rate: 2Gbps, delay: 3ns}}"
    topology = make_topology(one(write(tmp_path, BASE), f"fabric.links={links}"))
    there, back = topology.find_links("leaf0-spine1")
    assert topology.link_rate[[there, back]].tolist() == [10**9, 2 * 10**9]
    assert topology.link_delay[[there, back]].tolist() == [3_000, 3_000]


def test_variants_come_last_and_only_they_run(tmp_path: Path) -> None:
    text = (
        BASE + "variants:\n  as_is: {}\n  ecmp: {dispatch.path: ecmp, seed: 9}\n  nested: {dispatch: {path: spray}}\n"
    )
    loaded = load(write(tmp_path, text), ["seed=5", "dispatch.path=wcmp"])
    assert [item.variant for item in loaded] == ["as_is", "ecmp", "nested"]
    assert [item.dispatch["path"].policy.name for item in loaded] == ["wcmp", "ecmp", "spray"]
    assert [item.scenario.seed for item in loaded] == [5, 9, 5]
    assert loaded[1].origins["seed",].startswith("variant ecmp (")
    assert all("variants" not in item.effective for item in loaded)


def test_a_problem_of_all_variants_is_reported_once(tmp_path: Path) -> None:
    path = write(tmp_path, BASE.replace("16MB", "16") + "variants:\n  a: {}\n  b: {dispatch.path: spray}\n")
    assert refusal(path).count("bare number") == 1


def test_all_errors_at_once_in_order_of_place(tmp_path: Path) -> None:
    text = BASE.replace("leaves: 2", "leafs: 2").replace("200KB", "200").replace("all_reduce", "allreduce")
    lines = refusal(write(tmp_path, text)).splitlines()
    assert [line.split("x.yaml:")[1].split(": ")[0] for line in lines] == ["3:32", "4:24", "8:28"]


def test_merge_keys_and_aliases(tmp_path: Path) -> None:
    text = BASE + "  - &one {kind: matrix, pattern: permutation, size: 1MB}\n  - {<<: *one, size: 2MB}\n  - *one\n"
    sizes = [item.size for item in one(write(tmp_path, text)).scenario.workload]
    assert sizes == [16_000_000, 1_000_000, 2_000_000, 1_000_000]


def test_many_kinds_fit_their_topology(tmp_path: Path) -> None:
    (topology,) = prepare([one(write(tmp_path, MANY))])
    assert topology.node_name == ["a", "b", "s", "t"]
    assert topology.link_rate[topology.find_links("a->s")[0]] == 50 * 10**9
    assert topology.link_delay[list(topology.find_links("on"))].tolist() == [7_000, 7_000]


def test_a_wrong_shape_is_shown_at_its_key(tmp_path: Path) -> None:
    loaded = one(write(tmp_path, BASE.replace("leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2", "fat_tree, k: 7")))
    with pytest.raises(InputError, match=r"x\.yaml:3:33: k is 7"):
        make_topology(loaded)


def test_equal_fabrics_of_variants_are_built_once(tmp_path: Path) -> None:
    text = BASE + "variants:\n  a: {}\n  b: {dispatch.path: ecmp}\n  c: {fabric.topology.leaves: 3}\n"
    first, second, third = prepare(load(write(tmp_path, text)))
    assert first is second
    assert third.hosts == 6


def test_cross_check_sees_faults_of_workloads_and_events(tmp_path: Path) -> None:
    text = (
        BASE.replace("size: 16MB", "size: 16MB, group: [0, 1, 8]")
        + "events:\n  - {at: 1us, switch: host0, set: down}\n"
    )
    loaded = one(write(tmp_path, text))
    with pytest.raises(InputError) as caught:
        cross_check(loaded, make_topology(loaded))
    assert "there is no rank 8" in str(caught.value)
    assert "'host0' is a host" in str(caught.value)


@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_keys_of_topologies_are_their_builders_keywords(kind: str) -> None:
    keywords = set(signature(import_module(f"models.builders.{kind}").build).parameters)
    keys = {"path" if name == "file" else name for name in TOPOLOGIES[kind].model_fields if name != "kind"}
    assert keys == keywords


def test_wide_area_kinds_through_the_door(tmp_path: Path) -> None:
    text = "name: x\nfabric:\n  topology: {TOPOLOGY}\nworkload:\n  - {kind: matrix, pattern: permutation, size: 1MB}\n"
    kind = "{kind: semi_random, nodes: 9, degree: 2.5, rates: [1Gbps, 2Gbps], delay: 1ms, hosts_per_node: 2}"
    topology = make_topology(one(write(tmp_path, text.replace("{TOPOLOGY}", kind))))
    assert (topology.kind, topology.hosts, topology.links // 2) == ("semi_random", 18, 18 + 11)
    assert set(topology.link_rate[36:].tolist()) == {10**9, 2 * 10**9}
    write(tmp_path, "?SNDlib native format; type: network; version: 1.0\nNODES ( A B )\n"
          "LINKS ( L ( A B ) 0 0 0 0 ( 2.5 1 ) )\n", "net.txt")  # fmt: skip
    kind = "{kind: sndlib, file: net.txt, unit: 1Gbps, modules: 2, delay: 3ns, host_link: {rate: 7Gbps, delay: 5ns}}"
    loaded = one(write(tmp_path, text.replace("{TOPOLOGY}", kind)))
    topology = make_topology(loaded)
    assert topology.cable_name == ["host0-A", "host1-B", "A-B"]
    assert topology.link_rate[::2].tolist() == [7 * 10**9, 7 * 10**9, 5 * 10**9]
    assert topology.link_delay[::2].tolist() == [5000, 5000, 3000]
    assert [path.name for path in loaded.inputs] == ["x.yaml", "net.txt"]


def test_inputs_list_every_file(tmp_path: Path) -> None:
    write(tmp_path, "start,src,dst,size\n0s,host0,host1,1MB\n", "f.csv")
    write(tmp_path, OWN, "own.py")
    loaded = one(write(tmp_path, "plugins: [own.py]\n" + BASE + "  - {kind: flows, file: f.csv}\n"))
    assert [path.name for path in loaded.inputs] == ["x.yaml", "f.csv", "own.py"]


def test_the_reference_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "scenario.md"
    assert page.read_text(encoding="utf-8") == reference.reference()


def test_check_prints_values_origins_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, BASE + "variants:\n  a: {}\n  b: {dispatch.path: ecmp}\n")
    assert run_sim.main(["check", str(path)]) == 0
    text = capsys.readouterr().out
    assert "leaves: 2" in text
    assert f"# {path}:3" in text
    assert "default (htsim (UEC): 64 B)" in text
    assert "equal-cost paths      2 between any two edge switches" in text
    assert "oversubscription      1 " in text
    assert "[leaf0] [leaf1]" in text
    assert "dispatch.path.kind: ecmp  # variant b" in text


def test_list_names_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sim.main(["list", "topologies"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {kind} " in text for kind in TOPOLOGIES)
    assert "policies" not in text
    assert run_sim.main(["list"]) == 0
    text = capsys.readouterr().out
    assert "ethereal" in text
    assert "collective" in text
    assert run_sim.main(["list", "hardware"]) == 0
    assert "h200_sxm" in capsys.readouterr().out
    assert run_sim.main(["list", "models"]) == 0
    assert "gpt-oss-120b" in capsys.readouterr().out
    assert run_sim.main(["list", "topologie"]) == 2
