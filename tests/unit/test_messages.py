"""Message profiles: bandwidth by message size as measured, and what the simulator makes of it."""

import numpy as np
import pytest

from models.comms.messages import CROSS_RAIL, RAIL, SCALE_UP, MessageProfile, profile_names

# message bytes -> GB/s per GPU (cross-rail, rail-aligned) of two p5 nodes, uccl ep/bench/alltoall
EFA = {8192: (6.1, 13.8), 32768: (14.1, 35.6), 262144: (15.3, 41.9), 4194304: (20.1, 43.7)}


def overhead(profile, bytes, units, kind):
    return profile.overhead(*(np.atleast_1d(np.asarray(x, np.int64)) for x in (bytes, units, kind)))


@pytest.mark.parametrize("size", EFA)
def test_efa_reaches_the_measured_bandwidth_of_both_kinds(size):
    profile = MessageProfile.named("efa")
    for kind, measured in zip((CROSS_RAIL, RAIL), EFA[size], strict=True):
        extra = overhead(profile, 64 * size, 64, kind)[0]
        assert 50 * 64 * size / (64 * size + extra) == pytest.approx(measured, rel=0.005)
        assert profile.bandwidth(size, kind) == pytest.approx(measured, rel=0.005)


def test_without_cross_rail_only_the_size_curve_stays():
    plain = MessageProfile.named("efa", cross_rail=False)
    size = np.array([4096, 8192, 1 << 20])
    ones = np.ones(3, np.int64)
    assert (plain.overhead(size, ones, 2 * ones) == plain.overhead(size, ones, ones)).all()
    assert (MessageProfile.named("efa").overhead(size, ones, 2 * ones) > plain.overhead(size, ones, ones)).all()


def test_many_small_messages_cost_more_than_one_large():
    for name in ("nccl", "efa"):
        one, many = overhead(MessageProfile.named(name), [1 << 20, 1 << 20], [1, 64], [RAIL, RAIL])
        assert many > 1.5 * one


def test_nccl_large_messages_use_46_of_50_gigabytes():
    profile = MessageProfile.named("nccl")
    assert profile.bandwidth(1 << 28, RAIL) == pytest.approx(45.9, rel=0.01)
    assert profile.bandwidth(1 << 28, SCALE_UP) == pytest.approx(345, rel=0.02)


# DeepEP README: H800, 128 tokens, top-8, hidden 7168; EP size -> us of dispatch and combine
@pytest.mark.parametrize(
    ("ranks", "dispatch", "combine"), [(8, 77, 114), (16, 118, 195), (64, 173, 314), (128, 192, 369)]
)
def test_deepep_low_latency_follows_from_its_profile(ranks, dispatch, combine):
    profile = MessageProfile.named("deepep_low_latency")
    for size, measured in ((7408, dispatch), (14336, combine)):
        copies = 128 * 8 * np.array([7 / min(ranks, 1e9) if ranks > 8 else 7 / 8, max(0, ranks - 8) / ranks])
        units = copies.astype(np.int64)
        payload = units * size
        busy = payload + overhead(profile, payload, units, [SCALE_UP, RAIL])
        time = profile.launch_us + (busy / np.array([200e3, 50e3])).max()
        assert time == pytest.approx(measured, rel=0.10)


def test_every_profile_is_monotone_and_never_faster_than_the_link():
    size = np.unique(np.geomspace(1, 1 << 33, 400).astype(np.int64))
    for name in profile_names():
        profile = MessageProfile.named(name)
        for kind in (SCALE_UP, RAIL, CROSS_RAIL):
            extra = overhead(profile, size, np.ones_like(size), np.full_like(size, kind))
            assert (extra >= 0).all()
            assert (np.diff(size + extra) >= 0).all(), (name, kind)


def test_a_flow_without_messages_costs_nothing():
    assert overhead(MessageProfile.named("efa"), [0, 0], [0, 0], [1, 0]).tolist() == [0, 0]
    assert overhead(MessageProfile.named("none"), [10**9], [7], [2]).tolist() == [0]


def test_an_unknown_profile_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'efa'"):
        MessageProfile.named("efaa")
