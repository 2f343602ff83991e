"""Switches and transports in scenarios: what the keys become, what is derived from the topology, and who wins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.paths import Routes
from models.topology import Topology
from sim.build_packets import Derived, derive, headrooms, settings_of
from sim.check import report
from sim.dispatch.api import WINDOW
from sim.network.settings import NO_LIMIT, PacketSettings
from sim.scenario.fabric import prepare
from sim.scenario.load import Loaded, load
from sim.scenario.show import text_of

# uet-htsim's network of 1024 nodes: 100 Gb/s, 1 us, three tiers, packets of 4150 B
BASE = """name: x
fabric:
  topology: {kind: fat_tree, k: 4, host_link: &l {rate: 100Gbps, delay: 1us}, fabric_link: *l}
  switch: {overflow: trim}
  transport: {kind: nscc, wire_mtu: 4150B}
workload:
  - {kind: matrix, pattern: permutation, size: 1MB}
"""


def made(folder: Path, *sets: str) -> tuple[Loaded, Topology, Derived, PacketSettings]:
    path = folder / "x.yaml"
    path.write_text(BASE)
    (loaded,) = load(path, sets)
    (topology,) = prepare([loaded])
    derived = derive(loaded, topology, Routes(topology))
    return loaded, topology, derived, settings_of(loaded, topology, derived, 7)


def test_the_numbers_of_uet_htsim_follow_from_the_topology(tmp_path: Path) -> None:
    loaded, topology, derived, settings = made(tmp_path)
    facts = derived.facts
    assert facts.rtt == 12_000_000 + 6 * (332_000 + 5_120)  # 14.02 us
    assert (facts.hops, derived.packets, facts.mtu, facts.payload) == (6, 43, 4150, 4086)
    assert settings.buffer == 43 * 4150
    assert (settings.kmin, settings.kmax) == (9 * 4150, 35 * 4150)
    assert settings.rto == 15_000_000 + 6 * 43 * 332_000  # 100.7 us
    assert settings.ports.trim
    assert settings.ports.control == 2 * 43 * 4150
    assert settings.control is not None
    assert (settings.control.own[:, WINDOW] == facts.bdp * 3 // 2).all()
    assert settings.control.ack_every == 16384
    said = report([loaded], [topology])
    for line in (
        "14.023 us over 6 links",
        "43 packets",
        "178,450 B, 43.0 packets (1 BDP",
        "from 37,350 B",
        "100.656 us",
    ):
        assert line in said


def test_without_trimming_a_buffer_has_five_bdps(tmp_path: Path) -> None:
    _, _, derived, settings = made(tmp_path, "fabric.switch={overflow: drop, buffer: auto}")
    assert settings.buffer == 5 * 43 * 4150
    assert derived.rto == 15_000_000 + 6 * 5 * 43 * 332_000


WINDOW_KEYS = "fabric.transport={kind: window, window: 100KB}"


@pytest.mark.parametrize("key", ["fabric.switch.overflow=trim", "fabric.transport.receiver=in_order"])
def test_a_window_is_a_constant_control_where_that_is_needed(key: str, tmp_path: Path) -> None:
    control = made(tmp_path, WINDOW_KEYS, key)[3].control
    assert control is not None
    assert (control.own[:, WINDOW] == 25 * 4150).all()  # 100 kB of payload are 25 packets
    assert control.ack_every == 1


def test_else_it_is_built_in(tmp_path: Path) -> None:
    settings = made(tmp_path, WINDOW_KEYS, "fabric.switch.overflow=drop")[3]
    assert settings.control is None
    assert settings.rto == 10**9
    assert (settings.buffer, settings.kmin) == (10**6, None)


def test_marking_is_the_scenarios_then_the_controls(tmp_path: Path) -> None:
    drop = ("fabric.switch.overflow=drop", "fabric.transport.kind=dctcp")
    assert made(tmp_path, *drop)[3].kmin == 400_000  # its own step at 100 Gb/s
    assert made(tmp_path, *drop, "fabric.switch.ecn=none")[3].kmin is None
    assert made(tmp_path, *drop, "fabric.switch.ecn=auto")[3].kmin == 9 * 4150
    late = made(tmp_path, *drop, "fabric.switch.ecn={kmin: 10KB, kmax: 20KB, at: dequeue, host_links: false}")
    topology, settings = late[1], late[3]
    assert (settings.kmin, settings.kmax, settings.ports.late_marks) == (10_000, 20_000, True)
    assert settings.ports.unmarked is not None
    assert settings.ports.unmarked.sum() == topology.hosts


def test_ports_of_single_links(tmp_path: Path) -> None:
    changes = "fabric.links={agg0-core0: {rate: 25Gbps, buffer: 50KB, ecn: {kmin: 10KB, kmax: 20KB}}}"
    _, topology, _, settings = made(tmp_path, changes, "fabric.links.agg0->core0={buffer: 60KB}")
    up, down = topology.find_links("agg0-core0")
    found = settings.ports.changes
    assert sorted(found) == sorted((up, down))
    assert found[up] == (60_000, 10_000, 20_000)
    assert found[down] == (50_000, 10_000, 20_000)


def test_pause_has_room_for_what_still_comes(tmp_path: Path) -> None:
    pause = made(tmp_path, "fabric.switch={overflow: pause, buffer: 300KB}")[3].ports.pause
    assert pause is not None
    assert (pause.limit, pause.resume, pause.alpha) == (300_000, 3072, None)
    assert (pause.headroom == 25_000 + 64 + 3 * 4150).all()  # 2 us at 100 Gb/s, the pause itself, 3 packets
    settings = made(tmp_path, "fabric.switch={overflow: pause, shared: {buffer: 4MB}, pause: {alpha: 0.125}}")[3]
    assert settings.ports.pause is not None
    assert (settings.ports.pause.limit, settings.ports.pause.alpha) == (4_000_000, 0.125)
    assert (settings.buffer, settings.ports.shared) == (None, 4_000_000)


def test_headroom_follows_each_link(tmp_path: Path) -> None:
    _, topology, _, _ = made(tmp_path, "fabric.links={agg0-core0: {rate: 50Gbps, delay: 3us}}")
    room = headrooms(topology, 4150)
    link = topology.find_links("agg0->core0")[0]
    assert room[link] == 50 * 6_000 // 8 + 64 + 3 * 4150
    assert len(np.unique(room)) == 2


def test_receivers_and_gaps(tmp_path: Path) -> None:
    ordered = made(tmp_path, "fabric.transport.receiver={kind: in_order}", "fabric.transport.reorder=32")[3]
    assert ordered.control is not None
    assert (ordered.control.reorder_buffer, ordered.control.reorder) == (43 * 4086, 32)
    for key in ("receiver", "recovery"):
        assert made(tmp_path, f"fabric.transport.{key}=go_back_n")[3].go_back_n
    packet = made(tmp_path, "fabric.transport.ack_every=packet")[3].control
    assert packet is not None
    assert packet.ack_every == 1


def test_credit_begins_with_a_window(tmp_path: Path) -> None:
    _, _, derived, settings = made(tmp_path, "fabric.transport.kind=credit")
    assert settings.control is not None
    assert settings.control.credit
    assert derived.window < NO_LIMIT


def test_another_kind_leaves_the_parameters_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(BASE.replace("nscc,", "nscc, parameters: {target: 9us},"))
    assert load(path)[0].dispatch["transport"].params.model_dump()["target"] == 9_000_000
    (other,) = load(path, ["fabric.transport.kind=constant"])
    assert other.dispatch["transport"].params.model_fields_set == set()
    (both,) = load(path, ["fabric.transport={parameters: {window: 50KB}, kind: constant}"])
    assert both.dispatch["transport"].params.model_dump()["window"] == 50_000


@pytest.mark.parametrize(
    "keys",
    [
        "fabric.switch={overflow: pause, shared: {buffer: 4MB}, ecn: {at: dequeue}}",
        "fabric.switch={bounce: true, ecn: none}",
        "fabric.transport={kind: constant, receiver: go_back_n, parameters: {window: 50KB}}",
        "fabric.transport={kind: constant, recovery: go_back_n, ack_every: packet}",
        "fabric.transport={receiver: {kind: in_order, buffer: 64KB}, reorder: 8, rto: 1ms}",
    ],
)
def test_what_check_prints_loads_to_the_same(keys: str, tmp_path: Path) -> None:
    first = made(tmp_path, keys)[0]
    (tmp_path / "again.yaml").write_text(text_of(first.effective))
    (again,) = load(tmp_path / "again.yaml")
    assert again.effective == first.effective
    assert again.scenario.fabric.transport.go_back_n == first.scenario.fabric.transport.go_back_n
    assert again.dispatch["transport"].params == first.dispatch["transport"].params
