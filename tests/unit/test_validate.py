"""Measured files: what they say, what is wrong in them; errors and distances by hand."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.validate import read
from analysis.validate.bands import parse_band
from analysis.validate.errors import bins, distance, table
from analysis.validate.kinds import COLLECTIVES, FLOWS, UNITS, factor
from models.errors import InputError

TRACES = Path(__file__).parents[2] / "scenarios" / "traces"
HEAD = "# spillway: kind=collectives\n# map: op=what, ranks=gpus, size=MB[MB], time=t[ms]\n"
ROWS = "what,gpus,MB,t\nalltoall,8,1,0.5\nall_reduce,8,2.5,0.7\n"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(text: str) -> Path:
        path = tmp_path / "measured.csv"
        path.write_text(text)
        return path

    return file


def test_columns_are_mapped_and_units_converted(write: Write) -> None:
    frame = read(write(HEAD + ROWS)).frame
    assert frame["op"].tolist() == ["all_to_all", "all_reduce"]
    assert frame["bytes"].tolist() == [10**6, 2_500_000]
    assert frame["time_us"].tolist() == [500.0, 700.0]
    assert frame["line"].tolist() == [4, 5]
    assert not frame["held_out"].any()


def test_columns_named_as_ours_need_no_map(write: Write) -> None:
    text = "# spillway: kind=flows\n# bands: fct p50<10%\nbytes,fct_us,more\n1000,2.5,x\n2000,,y\n"
    measured = read(write(text), bands=["ks<0.2"])
    assert measured.frame["fct_us"].tolist() == [2.5]  # a row without a value says nothing
    assert [band.text for band in measured.bands] == ["fct p50<10%", "ks<0.2"]
    assert not measured.matched


def test_the_mapping_may_stand_beside_the_file(write: Write, tmp_path: Path) -> None:
    beside = tmp_path / "map.txt"
    beside.write_text(HEAD.replace("# ", ""))
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(ROWS.encode()))
    for path in (write(ROWS), packed):
        assert read(path, beside).frame["time_us"].tolist() == [500.0, 700.0]


def test_a_raw_log_needs_no_mapping() -> None:
    measured = read(TRACES / "nccl_h100_node.log", bands=["time median<10%"])
    assert measured.sizes("all_to_all", 8) == [2**exponent for exponent in range(25, 35)]
    assert measured.what() == "all_reduce of 8, all_gather of 8, all_to_all of 8"


@pytest.mark.parametrize(
    ("change", "line", "column", "message"),
    [
        (("size=MB[MB]", "size=MBs[MB]"), 2, 29, "no column 'MBs'; did you mean 'MB'?"),
        (("[ms]", "[msec]"), 2, 49, "unknown unit 'msec' of a time; did you mean 'ms'?"),
        (("[ms]", "[GB/s]"), 2, 49, "'GB/s' is the unit of a bandwidth, but a time is due"),
        (("[ms]", ""), 2, 42, "'time' has no unit; write time=t[us]"),
        (("time=", "tme="), 2, 42, "no field 'tme'; did you mean 'time'?"),
        (("# map", "# mpa"), 2, 3, "unknown word 'mpa'; did you mean 'map'?"),
        (("collectives", "collective"), 1, 18, "unknown kind 'collective'; did you mean 'collectives'?"),
        (("0.5", "fast"), 4, 14, "'fast' in the column of 'time' is not a number"),
        (("0.5", "-1"), 4, 14, "time '-1' is not above 0"),
        ((",1,", ",1.0000005,"), 4, 12, "size '1.0000005' is not whole in bytes"),
        (("alltoall", "altoall"), 4, 1, "unknown operation 'altoall'; did you mean 'alltoall'?"),
        (("0.7\n", "0.7,3\n"), 5, 1, "5 cells, but the header has 4"),
        (("what,gpus,MB,t\n", "what,gpus,MB,t,t\n"), 3, 14, "column 't' twice"),
        ((ROWS, "what,gpus,MB,t\n"), 0, 0, "has a header and no rows"),
        ((ROWS, ""), 0, 0, "has no header"),
        ((HEAD + ROWS, ""), 0, 0, "is empty"),
        ((HEAD, ""), 0, 0, "no line says what was measured"),
        ((", time=t[ms]", ""), 3, 1, "no column to compare (time or algbw or busbw)"),
        (("ranks=gpus, ", ""), 3, 1, "no column for 'ranks'"),
    ],
)  # fmt: skip
def test_faults_are_told_where_they_stand(
    change: tuple[str, str], line: int, column: int, message: str, write: Write
) -> None:
    path = write((HEAD + ROWS).replace(*change))
    with pytest.raises(InputError) as caught:
        read(path)
    found = caught.value.problems[0]
    assert message in found.message
    assert (found.file, found.line) == (str(path), line)
    if line:
        assert found.column == column


def test_all_faults_at_once(write: Write) -> None:
    with pytest.raises(InputError) as caught:
        read(write((HEAD + ROWS).replace("0.5", "x").replace("2.5", "y")))
    assert [problem.line for problem in caught.value.problems] == [4, 5]


def test_rows_are_held_out_by_their_hash(write: Write) -> None:
    rows = "".join(f"all_reduce,8,{size},1\n" for size in (*range(1, 201), *range(1, 201)))
    path = write(HEAD + "what,gpus,MB,t\n" + rows)
    held = read(path, hold_out="30%").frame["held_out"].to_numpy()
    assert (held[:200] == held[200:]).all()  # repeats of a measurement go together
    assert 0.2 < held.mean() < 0.4
    for wrong in ("30", "0%", "all", "100%"):
        with pytest.raises(InputError, match="hold-out"):
            read(path, hold_out=wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [("median<10", "per cent"), ("medan<10%", "'median'"), ("tme median<1%", "'time'"), ("median", "is no band"),
     ("ks<0.1", "row by row"), ("median<0%", "above 0")],
)  # fmt: skip
def test_bands_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_band(text, COLLECTIVES)


def test_bands_of_rows_need_ids(write: Write) -> None:
    with pytest.raises(InputError, match="have no ids here"):
        read(write("# spillway: kind=flows\nbytes,fct_us\n1000,2\n"), bands=["median<10%"])


def test_units_are_those_of_the_results() -> None:
    assert factor("ms", "time") == 1e3
    assert factor("GiB", "size") == 2**30
    assert factor("Gbps", "bandwidth") == factor("Gb/s", "bandwidth") == 0.125
    assert all(factor(units[0], dimension) == 1 for dimension, units in UNITS.items())


def test_errors_by_hand() -> None:
    measured = pd.DataFrame({"op": "all_reduce", "ranks": 8, "bytes": [10, 20, 400], "time_us": [1.0, 2.0, 4.0]})
    simulated = pd.DataFrame(
        {"op": "all_reduce", "ranks": 8, "bytes": [10, 10, 20, 400], "time_us": [1.0, 1.4, 1.8, 5.0]}
    )
    found = table("case", measured.assign(held_out=False), simulated, COLLECTIVES, paired=True, split=False)
    assert found[["from", "to", "measured"]].to_numpy().tolist() == [[0, np.inf, 3], [10, 100, 2], [100, 1000, 1]]
    whole = found.iloc[0]
    errors = np.array([0.2, -0.1, 0.25])  # repeats of a simulated row count with their mean
    assert whole["bias"] == pytest.approx(errors.mean())
    assert whole["median"] == pytest.approx(0.2)
    assert whole["p90"] == pytest.approx(np.quantile(abs(errors), 0.9))
    assert whole["worst"] == pytest.approx(0.25)
    assert found["ks"].isna().all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=30), st.floats(0.1, 10))
def test_distances_of_scaled_flows(times: list[float], scale: float) -> None:
    """Simulated = scale x measured: every quantile and mean is off by scale - 1, and each row."""
    one = pd.DataFrame({"id": range(len(times)), "bytes": 1000, "fct_us": times, "held_out": False})
    other = one.assign(fct_us=one["fct_us"] * scale)
    whole = table("case", one, other, FLOWS, paired=True, split=False).iloc[0]
    for name in ("bias", "mean", "p50"):
        assert whole[name] == pytest.approx(scale - 1, abs=1e-9)
    for name in ("median", "p90", "worst"):
        assert whole[name] == pytest.approx(abs(scale - 1), abs=1e-9)
    assert pd.isna(whole["p99"])


def test_distance_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(1)
    for count in (1, 7, 300):
        one, other = rng.integers(0, 50, count), rng.integers(5, 60, 40)
        assert distance(one, other) == pytest.approx(ks_2samp(one, other).statistic)


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=50))
def test_every_size_is_in_one_bin(sizes: list[int]) -> None:
    found = bins(np.array(sizes))
    assert all(sum(low <= size < high for low, high in found) == 1 for size in sizes)
