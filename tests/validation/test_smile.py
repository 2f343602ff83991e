"""Two levels of All2All on SMILE's cluster: where they pay, where not, and why."""

from __future__ import annotations

import pytest

from benchmarks.reproduce import smile

SIZE_ONLY = "efa_size_only"


def test_twice_as_fast_with_small_messages_and_slower_with_large_ones() -> None:
    small, large = smile.gains((16,), (1, 256), SIZE_ONLY)[0]
    assert small >= 2
    assert 0.9 < large < 1


def test_the_gain_grows_with_the_nodes() -> None:
    found = smile.gains((2, 4, 8), (1,), SIZE_ONLY)[:, 0]
    assert found[0] < found[1] < found[2]
    assert found[0] < 1


def test_one_node_has_one_level() -> None:
    assert smile.gains((1,), (4,), SIZE_ONLY)[0, 0] == pytest.approx(1, rel=0.01)


def test_the_loss_across_rails_is_what_two_levels_avoid() -> None:
    """The same exchange costs the flat All2All more with it, the bi-level one nothing."""
    flat, two = ([smile.all_to_all(4, 16, policy, profile) for profile in smile.PROFILES] for policy in smile.POLICIES)
    assert two[0].us == two[1].us
    assert flat[1].us > 1.7 * flat[0].us


def test_why() -> None:
    """The bytes to other nodes are the same; messages are fewer, larger and waste less of the NIC's time."""
    flat, two = (smile.all_to_all(8, 1, policy, SIZE_ONLY) for policy in smile.POLICIES)
    assert (flat.messages, two.messages) == (56, 7)
    assert two.nic == pytest.approx(flat.nic)
    assert two.overhead_share < 0.6 * flat.overhead_share
    assert two.inside > 6 * flat.inside


def test_a_layer_of_the_paper() -> None:
    """Tokens a GPU are not known: with few the layer gains about what the training did (2.5)."""
    assert 1.7 < smile.layer("switch", 512).time_us / smile.layer("smile", 512).time_us < 3
