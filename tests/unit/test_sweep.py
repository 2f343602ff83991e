"""Sweeps: what is varied, the cells that result, their names, and everything that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_sim
from models.errors import InputError
from sim.sweep import Axis, Experiment, parse_axes, parse_axis, parse_sample
from sim.sweep.worker import run_cell

SMALL = """name: small
engine: ideal
fabric: {topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}
workload: [{kind: matrix, pattern: permutation, size: 64KB}]
"""
VARIANTS = "variants: {ecmp: {dispatch.path: ecmp}, spray: {dispatch.path: spray}}\n"
POISSON = SMALL.replace(
    "matrix, pattern: permutation, size: 64KB",
    "flows, arrivals: {kind: poisson, load: 0.3}, count: 40, sizes: websearch",
)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    path = tmp_path / "variants.yaml"
    path.write_text(SMALL + VARIANTS)
    return path


def texts(axis: Axis, whole: bool = False) -> list[str]:
    return [value.text for value in axis.resolve(whole).values]


def test_lists_and_ranges() -> None:
    assert texts(parse_axis("dispatch.path=ecmp,ethereal,{kind: subflows, pieces: 4}")) == [
        "ecmp", "ethereal", "{kind: subflows, pieces: 4}",
    ]  # fmt: skip
    assert texts(parse_axis("a=0.2:0.8:4")) == ["0.2", "0.4", "0.6", "0.8"]
    assert texts(parse_axis("a=1:1000:4:log")) == ["1", "10", "100", "1000"]
    assert texts(parse_axis("a=64KiB:1MiB:5:log")) == ["64KiB", "128KiB", "256KiB", "512KiB", "1MiB"]
    assert texts(parse_axis("a=100Gbps:400Gbps:4")) == ["100Gbps", "200Gbps", "300Gbps", "400Gbps"]
    assert texts(parse_axis("a=10/s:20/s:3")) == ["10/s", "15/s", "20/s"]
    assert texts(parse_axis("a=2:8:4"), whole=True) == ["2", "4", "6", "8"]
    assert texts(parse_axis("a=[0, 1],[2, 3]")) == ["[0, 1]", "[2, 3]"]


def test_numbers_are_in_base_units_where_all_are_of_one_kind() -> None:
    sizes = parse_axis("a=64KB,1MB")
    assert ([value.number for value in sizes.values], sizes.unit, sizes.numeric) == ([64e3, 1e6], "B", True)
    assert parse_axis("a=2us,3us").unit == "ps"
    assert not parse_axis("a=unlimited,1MB").numeric
    assert not parse_axis("a=64KB,0.5").numeric


@given(st.floats(-1e9, 1e9), st.floats(0.001, 1e9), st.integers(2, 40))
def test_a_range_holds_its_ends_and_rises(low: float, width: float, count: int) -> None:
    numbers = [value.number for value in parse_axis(f"a={low}:{low + width}:{count}").resolve(False).values]
    assert (numbers[0], numbers[-1]) == pytest.approx((low, low + width))
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("a", "write KEY=a,b,c"),
        ("a=", "has no values"),
        ("a=9:2:3", "the range is empty: '9' is above '2'"),
        ("a=2:2:3", "both ends are the same"),
        ("a=1:5:0", "'0' is no number of values"),
        ("a=1:5:x", "'x' is no number of values"),
        ("a=1:5", "a range is lo:hi:n"),
        ("a=1:5:1", "one value can't hold both ends"),
        ("a=0:5:3:log", "begins above 0"),
        ("a=1KB:5us:3", "the ends differ"),
        ("a=1KB:5:3", "'5' is a number"),
        ("a=1Kb:2GG:3", "'2GG' is no number and no quantity"),
        ("a=1,2,1", "the value 1 is given twice"),
        ("a={b: 1", "not valid YAML"),
        ("seed=1,2", "write --seeds N"),
        ("variants.a.b=1", "variants are part of the grid"),
    ],
)
def test_what_is_wrong_with_an_axis(option: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_axes([option])
    assert all(problem.file.startswith("--vary:") for problem in caught.value.problems)


def test_all_problems_come_at_once_and_nothing_is_written(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def wrong(*options: str) -> str:
        assert run_sim.main(["sweep", str(small), "--out", str(out), "-q", *options]) == 2
        assert not out.exists()
        return capsys.readouterr().err

    err = wrong("--vary", "a=9:2:3", "--vary", "b=1,1", "--vary", "b=2")
    assert len(err.splitlines()) == 4
    assert "--vary:b: is given twice" in err
    assert "--vary:b: unknown key 'b'" in err
    assert "--vary:workload.0.sise: unknown key 'sise'; did you mean 'size'?" in wrong(
        "--vary", "workload.0.sise=1KB,2KB"
    )
    assert "--vary:workload.0.size: '2us' is a time, but a size is due" in wrong("--vary", "workload.0.size=1KB,2us")
    err = wrong("--vary", "dispatch.path=ecpm,spary", "--vary", "fabric.topology.leaves=0,2")
    assert [line.split(": ")[0] for line in err.splitlines()] == [
        "--vary:dispatch.path", "--vary:dispatch.path", "--vary:fabric.topology.leaves",
    ]  # fmt: skip
    assert "has no effect: --vary engine comes after it" in wrong(
        "--set", "engine=fluid", "--vary", "engine=ideal,fluid"
    )
    assert "--workers: has no effect" in wrong("--cluster", "tcp://127.0.0.1:1", "--workers", "2")


def test_a_key_that_every_variant_sets_would_do_nothing(variants: Path) -> None:
    with pytest.raises(InputError, match="has no effect: every variant sets it"):
        Experiment(variants, [parse_axis("dispatch.path=ecmp,spray")])


def test_points_are_all_combinations_in_order(variants: Path) -> None:
    axes = parse_axes(["workload.0.size=1KB,2KB", "fabric.topology.leaves=2:3:2"])
    found = Experiment(variants, axes)
    assert [point.label for point in found.points][:3] == [
        "ecmp, size=1KB, leaves=2", "spray, size=1KB, leaves=2", "ecmp, size=1KB, leaves=3",
    ]  # fmt: skip
    assert len(found.points) == 8
    cells = found.cells(seeds=[1, 2, 3])
    assert len({cell.digest for cell in cells}) == 24
    assert [cell.seed for cell in cells[:4]] == [1, 2, 3, 1]


def test_keys_that_end_alike_are_shown_whole(small: Path) -> None:
    axes = parse_axes(["fabric.topology.host_link.rate=100Gbps", "fabric.topology.fabric_link.rate=100Gbps"])
    assert "fabric.topology.host_link.rate=100Gbps" in Experiment(small, axes).points[0].label


def test_whole_numbers_stay_whole_and_fractions_fractions(tmp_path: Path) -> None:
    path = tmp_path / "poisson.yaml"
    path.write_text(POISSON)
    axes = parse_axes(["workload.0.count=10:40:5:log", "workload.0.arrivals.load=0.1:1:5"])
    found = Experiment(path, axes)
    assert [value.text for value in found.axes[0].values] == ["10", "14", "20", "28", "40"]
    assert [value.text for value in found.axes[1].values] == ["0.1", "0.325", "0.55", "0.775", "1"]


def test_a_digest_names_what_is_run_and_nothing_else(small: Path, tmp_path: Path) -> None:
    def digests(text: str, *sets: str) -> list[str]:
        path = tmp_path / "other.yaml"
        path.write_text(text)
        return [cell.digest for cell in Experiment(path, [parse_axis("workload.0.size=64KB,65KB")], sets).cells()]

    same = digests(SMALL)
    assert digests("# a comment\n" + SMALL.replace("64KB", "0.064MB")) == same
    assert digests(SMALL, "seed=1") == same
    assert digests(SMALL, "fabric.topology.spines=1")[0] not in same
    assert digests(SMALL, "seed=2")[0] not in same


def test_a_digest_holds_the_content_of_files(tmp_path: Path) -> None:
    scenario = tmp_path / "edges.yaml"
    scenario.write_text(
        SMALL.replace("{kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}", "{kind: edges, file: a.csv}")
    )
    found = []
    for rate in ("100Gbps", "200Gbps"):
        (tmp_path / "a.csv").write_text(f"src,dst,rate,delay\nhost0,sw,{rate},1us\nhost1,sw,{rate},1us\n")
        found.append(Experiment(scenario).cells()[0].digest)
    assert found[0] != found[1]


def test_a_scenario_that_changes_under_way_is_not_run_under_the_old_name(small: Path, tmp_path: Path) -> None:
    cell = Experiment(small).cells()[0]
    small.write_text(SMALL.replace("64KB", "32KB"))
    (tmp_path / "cells").mkdir()
    (tmp_path / "manifest.json").touch()
    failure = run_cell(cell, tmp_path / "cells")
    assert failure is not None
    assert failure.fatal
    assert "not the one that the sweep began with" in failure.reason


def test_samples_are_the_same_for_a_seed_and_fill_the_range(small: Path) -> None:
    axes = parse_axes(["workload.0.size=1KB:1MB:log", "dispatch.path=ecmp,spray"], sampled=True)
    first = Experiment(small, axes, sample=parse_sample("lhs:16"))
    again = Experiment(small, axes, sample=parse_sample("lhs:16"))
    other = Experiment(small, axes, seed=2, sample=parse_sample("lhs:16"))
    assert first.points == again.points
    assert first.points != other.points
    assert len(first.points) == 32
    sizes = sorted(point.numbers["workload.0.size"] for point in first.points[:16])
    for index, size in enumerate(sizes):  # one in each sixteenth
        assert 1e3 * 1000 ** (index / 16) - 1 <= size <= 1e3 * 1000 ** ((index + 1) / 16) + 1


@pytest.mark.parametrize("text", ["lhs", "lhs:0", "grid:4", "sobol:7", "sobol:x"])
def test_wrong_samples(text: str) -> None:
    with pytest.raises(InputError, match="--sample"):
        parse_sample(text)


def test_a_combination_that_does_not_go_together_fails_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ring.yaml"
    path.write_text(SMALL.replace("matrix, pattern: permutation, size: 64KB", "collective, op: all_reduce, size: 64KB"))
    out = tmp_path / "out"
    options = [
        "--vary",
        "dispatch.collective=direct,ring",
        "--vary",
        "workload.0.op=all_to_all,all_reduce",
        "--out",
        str(out),
    ]
    assert run_sim.main(["sweep", str(path), "-q", "--workers", "1", *options]) == 1
    shown = capsys.readouterr()
    assert "4 cells: 3 completed, 1 failed" in shown.out
    assert "load: " in shown.err
    assert "ring has no all_to_all" in shown.err


def test_dry_run_writes_nothing(variants: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["sweep", str(variants), "--vary", "workload.0.size=1KB,2KB", "--seeds", "3", "--out", str(out)]
    assert run_sim.main([*options, "--dry-run"]) == 0
    assert "4 points x 3 seeds (1 to 3) = 12 cells" in capsys.readouterr().out
    assert not out.exists()
    assert run_sim.main([*options, "-q", "--workers", "1"]) == 0
    assert run_sim.main([*options, "--dry-run"]) == 0
    assert f"12 of them are finished in {out}" in capsys.readouterr().out


@pytest.mark.slow
def test_no_scheduler_at_the_address(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run_sim.main(["sweep", str(small), "--out", str(out), "--cluster", "tcp://127.0.0.1:1"]) == 2
    assert "no dask scheduler at 'tcp://127.0.0.1:1'" in capsys.readouterr().err
    assert not out.exists()
