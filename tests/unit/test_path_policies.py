"""Path policies on small leaf-spines: which links they load, and how Ethereal reacts to a failed path."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from models.builders import leaf_spine
from models.paths import Routes
from models.topology import Topology, TopologyBuilder
from sim.dispatch.api import Flow, Piece
from sim.dispatch.path import ecmp, ethereal, least_loaded, spray, static, subflows, wcmp
from sim.dispatch.views import PathView

G, NS = 10**9, 1000
RNG = np.random.default_rng


def fabric(leaves: int, spines: int, hosts: int) -> Topology:
    return leaf_spine.build(leaves, spines, hosts, (400 * G, 500 * NS), (400 * G, 500 * NS))


class Clock:
    now = 0


def view_of(topology: Topology, key: int = 7, clock: type[Clock] = Clock) -> PathView:
    return PathView(topology, Routes(topology), key, lambda: clock.now)


def all_to_all(hosts: int, size: int) -> list[list[Flow]]:
    """The flows of every host, a batch each."""
    pairs = [[(src, (src + step) % hosts) for step in range(1, hosts)] for src in range(hosts)]
    return [[Flow(src * hosts + at, src, dst, size, 0) for at, (src, dst) in enumerate(own)] for own in pairs]


def shift(hosts: int, by: int, size: int) -> list[list[Flow]]:
    return [[Flow(src, src, (src + by) % hosts, size, 0)] for src in range(hosts)]


def check(topology: Topology, flow: Flow, pieces: list[Piece]) -> None:
    assert sum(piece.bytes for piece in pieces) == flow.bytes
    assert all(piece.bytes > 0 for piece in pieces)
    for _, path in pieces:
        if path is None:
            continue
        nodes = [int(topology.link_src[path[0]]), *topology.link_dst[list(path)].tolist()]
        assert (nodes[0], nodes[-1]) == (flow.src, flow.dst)
        assert topology.link_src[list(path)].tolist() == nodes[:-1]


def link_bytes(policy, topology: Topology, batches: list[list[Flow]], seed: int = 0) -> np.ndarray:
    """[links] bytes of all batches, each checked."""
    rng, total = RNG(seed), np.zeros(topology.links, dtype=np.int64)
    for flows in batches:
        for flow, pieces in zip(flows, policy.assign(flows, rng), strict=True):
            check(topology, flow, pieces)
            for size, path in pieces:
                total[list(path)] += size
    return total


def fabric_links(topology: Topology) -> np.ndarray:
    return (topology.link_src >= topology.hosts) & (topology.link_dst >= topology.hosts)


def test_ethereal_loads_every_fabric_link_alike_and_splits_nothing_when_flows_divide() -> None:
    topology = fabric(8, 8, 8)
    policy = ethereal.Policy(ethereal.Params(), view_of(topology))
    batches = all_to_all(64, 1000)
    total = link_bytes(policy, topology, batches)[fabric_links(topology)]
    assert set(total) == {8 * 56 * 1000 // 8}
    assert all(len(pieces) == 1 for pieces in policy.assign(batches[0], RNG(0)))


@pytest.mark.parametrize("spines", [3, 6, 12])
def test_ethereal_balances_left_overs_exactly_where_pieces_are_whole_bytes(spines: int) -> None:
    topology = fabric(4, spines, 8)
    policy = ethereal.Policy(ethereal.Params(), view_of(topology))
    total = link_bytes(policy, topology, all_to_all(32, 1200))[fabric_links(topology)]
    assert set(total) == {8 * 24 * 1200 // spines}


def test_ethereal_with_chunks_that_differ_by_a_byte_is_not_split_further() -> None:
    topology = fabric(4, 8, 8)
    policy = ethereal.Policy(ethereal.Params(), view_of(topology))
    flows = [Flow(dst, 0, dst, 100 + dst % 2, 0) for dst in range(8, 32)]
    assert all(len(pieces) == 1 for pieces in policy.assign(flows, RNG(1)))


def test_ethereal_deals_groups_of_other_sizes_on() -> None:
    topology = fabric(2, 4, 8)
    policy = ethereal.Policy(ethereal.Params(), view_of(topology))
    flows = [Flow(dst, 0, dst, 1000 if dst < 12 else 80, 0) for dst in range(8, 15)]
    pieces = policy.assign(flows, RNG(1))
    # four large ones whole; three small ones over 4 paths: 4 pieces each
    assert [len(parts) for parts in pieces] == [1] * 4 + [4] * 3
    assert set(link_bytes(policy, topology, [flows])[topology.link_src == 16][8:]) == {1060}


def test_ethereal_inside_a_leaf_goes_whole_and_at_once() -> None:
    topology = fabric(2, 4, 4)
    policy = ethereal.Policy(ethereal.Params(), view_of(topology))
    near, far = Flow(0, 0, 3, 999, 0), Flow(1, 0, 4, 1000, 0)
    assert policy.at_once(near)
    assert not policy.at_once(far)
    assert [len(parts) for parts in policy.assign([near, far], RNG(0))] == [1, 4]


def test_ethereal_avoids_a_failed_path_until_its_time_is_over() -> None:
    clock = type("Own", (Clock,), {})
    topology = fabric(2, 4, 4)
    policy = ethereal.Policy(ethereal.Params(failed_path_timeout="1ms"), view_of(topology, clock=clock))
    flow = Flow(0, 0, 4, 1200, 0)
    ways = [piece.path for piece in policy.assign([flow], RNG(0))[0]]
    assert len(set(ways)) == 4
    other = policy.on_timeout(flow, ways[0], RNG(0))
    assert other in ways[1:]
    # all hosts under the destination leaf are concerned, other sources and leaves are not
    sibling = Flow(1, 0, 5, 1200, 0)
    dead = ways[0][1]
    assert sorted(piece.bytes for piece in policy.assign([sibling], RNG(0))[0]) == [400] * 3
    assert all(dead not in piece.path for piece in policy.assign([sibling], RNG(0))[0])
    assert len(policy.assign([Flow(2, 1, 5, 1200, 0)], RNG(0))[0]) == 4
    clock.now = 10**9 - 1
    assert len(policy.assign([flow], RNG(0))[0]) == 3
    clock.now = 10**9
    assert len(policy.assign([flow], RNG(0))[0]) == 4


def test_ethereal_uses_all_paths_when_all_have_failed() -> None:
    topology = fabric(2, 2, 2)
    policy = ethereal.Policy(ethereal.Params(), view_of(topology))
    flow = Flow(0, 0, 2, 1200, 0)
    first, second = (piece.path for piece in policy.assign([flow], RNG(0))[0])
    assert policy.on_timeout(flow, first, RNG(0)) == second
    assert policy.on_timeout(flow, second, RNG(0)) == first
    assert len(policy.assign([flow], RNG(0))[0]) == 2
    lone = Flow(1, 0, 1, 10, 0)
    only = policy.assign([lone], RNG(0))[0][0].path
    assert policy.on_timeout(lone, only, RNG(0)) == only


def test_new_routes_are_taken_over() -> None:
    topology = fabric(2, 4, 4)
    up = np.ones(topology.links, dtype=bool)
    up[list(topology.find_links("leaf0-spine1"))] = False
    for module in (ecmp, ethereal, least_loaded, static, wcmp, subflows):
        view = view_of(topology)
        policy = module.Policy(module.Params(), view)
        flows = [Flow(at, at % 4, 4 + at // 4, 1200, 0) for at in range(16)]
        policy.assign(flows, RNG(0))
        view.routes = Routes(topology, up)
        total = link_bytes(policy, topology, [flows])
        assert total[list(topology.find_links("leaf0-spine1"))].sum() == 0
        assert (total[topology.link_src == 8] > 0).sum() >= 3, module.__name__


@pytest.mark.parametrize("module", [ecmp, ethereal, least_loaded, static, wcmp, subflows])
def test_no_path_is_an_empty_path(module) -> None:
    topology = fabric(2, 2, 2)
    view = view_of(topology)
    policy = module.Policy(module.Params(), view)
    up = np.ones(topology.links, dtype=bool)
    up[list(topology.find_links("host2-leaf1"))] = False
    view.routes = Routes(topology, up)
    pieces = policy.assign([Flow(0, 0, 2, 1200, 0)], RNG(0))[0]
    assert {piece.path for piece in pieces} == {()}
    assert sum(piece.bytes for piece in pieces) == 1200


def test_ecmp_spreads_by_its_own_hash_and_depends_on_nothing_else() -> None:
    topology = fabric(4, 4, 8)
    batches = all_to_all(32, 1)
    policy = ecmp.Policy(ecmp.Params(), view_of(topology))
    total = link_bytes(policy, topology, batches)
    uplinks = total[(topology.link_src >= 32) & (topology.link_src < 36) & fabric_links(topology)]
    # 192 flows over 4 uplinks: a mean of 48, standard deviation 6
    assert abs(uplinks.mean() - 48) < 1e-9
    assert 3 < uplinks.std() < 9.5
    alone = [policy.assign([flow], RNG(9))[0] for flow in batches[5]]
    assert alone == policy.assign(batches[5], RNG(1))
    other = ecmp.Policy(ecmp.Params(), view_of(topology, key=8))
    assert other.assign(batches[5], RNG(1)) != policy.assign(batches[5], RNG(1))


def test_one_seed_for_all_stages_polarises() -> None:
    from models.builders import fat_tree

    topology = fat_tree.build(k=8, tiers=3, oversubscription=1, host_link=(G, 1), fabric_link=(G, 1))
    flows = [[Flow(at, at % 16, 64 + at % 61, 1, 0)] for at in range(800)]
    used = {}
    for same_seed in (False, True):
        policy = ecmp.Policy(ecmp.Params(same_seed=same_seed), view_of(topology))
        used[same_seed] = int((link_bytes(policy, topology, flows)[topology.tier[topology.link_dst] == 3] > 0).sum())
    assert used == {False: 16, True: 4}  # 4 aggregation switches of the pod, 4 uplinks each


def test_wcmp_prefers_the_faster_path() -> None:
    slow = fabric(2, 2, 4)
    slow.link_rate[list(slow.find_links("leaf0-spine0"))] = 100 * G
    policy = wcmp.Policy(wcmp.Params(), view_of(slow))
    flows = [[Flow(at, at % 4, 4 + at % 3, 1, 0)] for at in range(2000)]
    total = link_bytes(policy, slow, flows)
    assert total[slow.find_links("leaf0->spine0")[0]] / 2000 == pytest.approx(0.2, abs=0.04)


def test_static_paths_of_a_shift_do_not_collide() -> None:
    topology = fabric(4, 8, 8)
    policy = static.Policy(static.Params(), view_of(topology))
    for by in (8, 13, 16):
        assert link_bytes(policy, topology, shift(32, by, 1)).max() == 1
    first = static.Policy(static.Params(choice="first"), view_of(topology))
    assert link_bytes(first, topology, shift(32, 8, 1)).max() == 8


@pytest.mark.parametrize("choice", ["by_destination", "by_source"])
def test_static_paths_of_a_shift_do_not_collide_in_a_fat_tree(choice: str) -> None:
    from models.builders import fat_tree

    topology = fat_tree.build(k=4, tiers=3, oversubscription=1, host_link=(G, 1), fabric_link=(G, 1))
    policy = static.Policy(static.Params(choice=choice), view_of(topology))
    for by in (1, 4, 7):
        assert link_bytes(policy, topology, shift(16, by, 1)).max() == 1


def test_least_loaded_takes_the_emptiest_path_and_sees_its_own_batch() -> None:
    topology = fabric(2, 4, 4)
    view = view_of(topology)
    policy = least_loaded.Policy(least_loaded.Params(), view)
    flows = [Flow(at, 0, 4 + at, 100, 0) for at in range(4)]
    pieces = [parts[0] for parts in policy.assign(flows, RNG(0))]
    assert [int(topology.link_dst[path[1]]) for _, path in pieces] == [10, 11, 12, 13]
    view.added([Piece(size, piece.path) for size, piece in zip((1000, 50, 60, 60), pieces, strict=True)])
    (piece,) = policy.assign([Flow(9, 1, 5, 100, 0)], RNG(0))[0]
    assert int(topology.link_dst[piece.path[1]]) == 11
    view.removed([Piece(1000, pieces[0].path)])
    (piece,) = policy.assign([Flow(9, 1, 5, 100, 0)], RNG(0))[0]
    assert int(topology.link_dst[piece.path[1]]) == 10
    assert view.load(pieces[1].path[0]) == 170
    assert view.load_age == 0


def test_least_loaded_weighs_by_rate() -> None:
    topology = fabric(2, 2, 4)
    topology.link_rate[list(topology.find_links("leaf0-spine0"))] = 100 * G
    policy = least_loaded.Policy(least_loaded.Params(), view_of(topology))
    flows = [Flow(at, 0, 4, 100, 0) for at in range(10)]
    total = link_bytes(policy, topology, [flows])
    assert total[topology.find_links("leaf0->spine0")[0]] == 200


def dual_homed() -> Topology:
    """Hosts 0-3 hang on leaf0 and leaf1, host4 twice on leaf2, host5 once; two spines."""
    builder = TopologyBuilder("edges")
    for host in range(6):
        builder.add_node(f"h{host}", host=True, tier=0)
    for leaf in range(3):
        builder.add_node(f"leaf{leaf}", host=False, tier=1)
    for spine in range(2):
        builder.add_node(f"spine{spine}", host=False, tier=2)
    for host in range(4):
        builder.add_cable(f"h{host}", "leaf0", G, 1)
        builder.add_cable(f"h{host}", "leaf1", G, 1)
    for host in (4, 4, 5):
        builder.add_cable(f"h{host}", "leaf2", G, 1)
    for leaf in range(3):
        for spine in range(2):
            builder.add_cable(f"leaf{leaf}", f"spine{spine}", G, 1)
    return builder.freeze()


def ring_of_hosts() -> Topology:
    builder = TopologyBuilder("torus")
    for host in range(6):
        builder.add_node(f"h{host}", host=True, tier=-1)
    for host in range(6):
        builder.add_cable(f"h{host}", f"h{(host + 1) % 6}", G, 1)
    return builder.freeze()


@pytest.mark.parametrize("module", [ecmp, ethereal, least_loaded, static, wcmp, subflows])
@pytest.mark.parametrize("make", [dual_homed, ring_of_hosts])
def test_hosts_with_several_links_and_without_switches(module, make) -> None:
    topology = make()
    view = view_of(topology)
    policy = module.Policy(module.Params(), view)
    for _ in range(2):  # the second time from what was kept
        total = link_bytes(policy, topology, all_to_all(6, 1200))
    if module is ethereal:  # between any two hosts the paths carry the same
        pair = policy.assign([Flow(0, 0, 3, 1200, 0)], RNG(0))[0]
        assert sorted(piece.path for piece in pair) == view.routes.paths(0, 3)
        assert {piece.bytes for piece in pair} == {1200 // len(pair)}
    assert total.sum() > 0


def test_subflows_are_k_equal_pieces() -> None:
    topology = fabric(2, 8, 4)
    policy = subflows.Policy(subflows.Params(k=8), view_of(topology))
    pieces = policy.assign([Flow(0, 0, 4, 1003, 0), Flow(1, 0, 5, 3, 0)], RNG(0))
    assert sorted(piece.bytes for piece in pieces[0]) == [125] * 5 + [126] * 3
    assert 2 <= len({piece.path for piece in pieces[0]}) <= 8
    assert [piece.bytes for piece in pieces[1]] == [1, 1, 1]


def test_spray_fixes_no_path() -> None:
    policy = spray.Policy(spray.Params(), view_of(fabric(2, 2, 2)))
    assert policy.assign([Flow(0, 0, 2, 10, 0)], RNG(0)) == [[Piece(10, None)]]


@pytest.mark.parametrize(
    ("module", "given"),
    [(subflows, {"k": 0}), (static, {"choice": "hash"}), (ecmp, {"seed": 1}), (ethereal, {"jitter": 50})],
)
def test_bad_parameters_are_refused(module, given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        module.Params(**given)
