"""Flow sizes: the stated moments are those of what is drawn, and broken files are told line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from models.sizes import Constant, Empirical, Exponential, SizeDistribution, named, names, read_cdf

MANY = 400_000


def test_four_distributions_are_shipped() -> None:
    assert names() == ["alistorage2019", "fb_hadoop", "google_rpc2008", "websearch"]


@pytest.mark.parametrize("name", ["alistorage2019", "fb_hadoop", "google_rpc2008", "websearch"])
def test_drawn_moments_are_the_stated_ones(name: str) -> None:
    check_moments(named(name))


@pytest.mark.parametrize("mean", [1, 2, 30, 4096])
def test_exponential_has_exactly_the_stated_mean(mean: int) -> None:
    check_moments(Exponential(mean))


def check_moments(sizes: SizeDistribution) -> None:
    drawn = sizes.sample(np.random.default_rng(3), MANY)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 1
    for values, stated in ((drawn.astype(float), sizes.mean()), (drawn.astype(float) ** 2, sizes.second_moment())):
        error = values.std() / np.sqrt(MANY)
        assert abs(values.mean() - stated) <= 5 * error + 1e-12 * stated


def test_moments_by_counting() -> None:
    # 1..4 with 1/8 each, then 4 again with 1/4, then 5..8 with 1/16 each
    sizes = Empirical(np.array([0, 4, 4, 8]), np.array([0.0, 0.5, 0.75, 1.0]))
    weights = {1: 2, 2: 2, 3: 2, 4: 2 + 4, 5: 1, 6: 1, 7: 1, 8: 1}
    assert sizes.mean() == pytest.approx(sum(size * weight for size, weight in weights.items()) / 16, rel=1e-15)
    assert sizes.second_moment() == pytest.approx(sum(s * s * w for s, w in weights.items()) / 16, rel=1e-15)
    values, counts = np.unique(sizes.sample(np.random.default_rng(1), 160_000), return_counts=True)
    assert values.tolist() == list(weights)
    assert counts / 10_000 == pytest.approx(list(weights.values()), rel=0.05)


def test_websearch_follows_its_points() -> None:
    drawn = named("websearch").sample(np.random.default_rng(2), MANY)
    for size, share in ((10_000, 0.15), (80_000, 0.53), (1_000_000, 0.70), (10_000_000, 0.97)):
        assert (drawn <= size).mean() == pytest.approx(share, abs=0.004)
    assert drawn.max() <= 30_000_000
    assert named("websearch").mean() == pytest.approx(1_711_250.5, abs=1)  # trapezoids of the points, and half a byte


def test_constant() -> None:
    assert Constant(7).sample(np.random.default_rng(0), 3).tolist() == [7, 7, 7]
    assert (Constant(7).mean(), Constant(7).second_moment()) == (7.0, 49.0)


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'websearch'"):
        named("websaerch")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.csv:1:1: the header 'flow_size_bytes,cdf_percent' is due"),
        ("size,cdf\n1,100\n", "x.csv:1:1: the header"),
        ("flow_size_bytes,cdf_percent\n", "x.csv:1:1: no points"),
        ("flow_size_bytes,cdf_percent\n1,2,3\n", "x.csv:2:1: 2 columns are due"),
        ("# note\nflow_size_bytes,cdf_percent\n0,0\n1KB,50\n2000,100\n", "x.csv:4:1: '1KB' is not a whole number"),
        ("flow_size_bytes,cdf_percent\n0,0\n100,nan\n", "x.csv:3:5: nan per cent is outside"),
        ("flow_size_bytes,cdf_percent\n0,0\n100,12x\n", "x.csv:3:5: '12x' is not a number"),
        ("flow_size_bytes,cdf_percent\n0,0\n100,101\n", "x.csv:3:5: 101 per cent is outside"),
        ("flow_size_bytes,cdf_percent\n0,0\n-4,50\n", "x.csv:3:1: -4 bytes is outside"),
        ("flow_size_bytes,cdf_percent\n0,0\n100,50\n90,100\n", "x.csv:4:1: sizes must not fall"),
        ("flow_size_bytes,cdf_percent\n0,0\n100,50\n200,40\n300,100\n", "x.csv:4:1: shares must not fall"),
        ("flow_size_bytes,cdf_percent\n0,10\n100,100\n", "x.csv:2:1: 10 per cent of the flows would have 0 bytes"),
        ("flow_size_bytes,cdf_percent\n0,0\n100,99\n", "x.csv:3:1: the last share must be 100"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_cdf(tmp_path / "x.csv", "x.csv")
    assert str(caught.value.problems[0]).startswith(said)


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("flow_size_bytes,cdf_percent\nA,0\n1,B\n2,100\n")
    with pytest.raises(InputError) as caught:
        read_cdf(tmp_path / "x.csv")
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_cdf(tmp_path / "none.csv")


@pytest.mark.parametrize("make", [lambda: Constant(0), lambda: Exponential(0), lambda: Exponential(2**50)])
def test_sizes_out_of_range(make) -> None:
    with pytest.raises(ValueError, match="outside"):
        make()
