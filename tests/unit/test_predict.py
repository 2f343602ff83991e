"""The verb predict: CSV in, CSV out, and every fault at its place with nothing written."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

import run_sim

HEADER = "system,dtype,kernel,m,n,k,time_us\n"
GOOD = HEADER + "h200_sxm,bfloat16,any,64,4096,4096,14.5\nh200_sxm,fp8,any,100000,4096,4096,3.0\n"


def _run(tmp_path: Path, text: str, *more: str) -> tuple[int, Path]:
    shapes, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    shapes.write_text(text, encoding="utf-8")
    words = more or ("gemm", "--hardware", "h200_sxm")
    return run_sim.main(["predict", *words, "--input", str(shapes), "-o", str(out)]), out


def test_columns_are_added_and_the_others_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(tmp_path, GOOD)
    assert code == 0
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["system", "dtype", "kernel", "m", "n", "k", "time_us", "predicted_us", "extrapolated"]
    assert [row["extrapolated"] for row in rows] == ["false", "true"]
    assert 5 < float(rows[0]["predicted_us"]) < 40
    assert rows[0]["time_us"] == "14.5"
    assert "2 rows, 1 extrapolated" in capsys.readouterr().out


def test_without_an_output_the_table_goes_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = tmp_path / "shapes.csv.gz"
    shapes.write_bytes(gzip.compress(GOOD.encode()))
    assert run_sim.main(["predict", "gemm", "--hardware", "h200_sxm", "--input", str(shapes)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(HEADER.strip() + ",predicted_us,extrapolated\n")
    assert "1 extrapolated" in said.err


def test_its_own_output_can_be_predicted_again(tmp_path: Path) -> None:
    _, out = _run(tmp_path, GOOD)
    first = out.read_text(encoding="utf-8")
    _run(tmp_path, first)
    assert out.read_text(encoding="utf-8") == first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace("fp8", "fp9"), "shapes.csv:3:10: unknown dtype 'fp9'; did you mean 'fp8'?"),
        (GOOD.replace(",64,", ",many,"), "shapes.csv:2:23: m: 'many' is not a number"),
        (GOOD.replace(",64,", ",0,"), "shapes.csv:2:23: m: 0 is not in 1 .. "),
        (GOOD.replace(",64,", ",6.5,"), "shapes.csv:2:23: m: '6.5' is not a whole number"),
        (GOOD.replace(",64,", ",nan,"), "shapes.csv:2:23: m: 'nan' is not finite"),
        (GOOD.replace("dtype", "dtyp"), "shapes.csv:1:8: unknown column 'dtyp'; did you mean 'dtype'?"),
        (GOOD.replace(",m,", ",rows,"), "shapes.csv:1:1: the header lacks m"),
        (GOOD.replace("time_us", "m"), "shapes.csv:1:27: column 'm' twice"),
        (GOOD.replace(",64,4096", ",64"), "shapes.csv:2:1: 6 cells, but the header has 7"),
        (HEADER, "shapes.csv: has a header but no rows"),
        ("", "shapes.csv: is empty; a header is due: dtype,m,n,k"),
        ("1,2,3\n4,5,6\n", "no header; the first line must name the columns: dtype,m,n,k"),
    ],
)
def test_wrong_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str) -> None:
    code, out = _run(tmp_path, text)
    said = capsys.readouterr().err
    assert code == 2
    assert expected in said
    assert "Traceback" not in said
    assert not out.exists()


def test_all_faults_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path, GOOD.replace("fp8", "fp9").replace(",64,", ",-1,").replace("100000", "x"))
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_wrong_names_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (("gem", "--hardware", "h200_sxm"), "unknown model 'gem'; did you mean 'gemm'?"),
        (("gemm", "--hardware", "h200"), "unknown hardware 'h200'; did you mean 'h200_sxm'?"),
        (("all_to_all", "--hardware", "rtx_4090"), "no measured all_to_all data for 'rtx_4090'"),
    ):
        code, out = _run(tmp_path, GOOD, *words)
        assert code == 2
        assert expected in capsys.readouterr().err
        assert not out.exists()
    assert run_sim.main(["predict", "gemm", "--hardware", "h200_sxm", "--input", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: can't be read: No such file" in capsys.readouterr().err
    for text in ("{", '{"format": "other"}', "a: 1"):
        other = tmp_path / "fitted.yaml"
        other.write_text(text, encoding="utf-8")
        code, _ = _run(tmp_path, GOOD, "gemm", "--hardware", str(other))
        assert code == 2
        assert "not a fitted file" in capsys.readouterr().err
