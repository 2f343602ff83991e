"""The validation page is what the committed results say, and the results are what the validations give."""

from __future__ import annotations

from pathlib import Path

import pytest

from validations import _page, _row
from validations._row import Found, Row

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


def test_the_page_is_that_of_the_results() -> None:
    assert PAGE.read_text() == _page.page()


@pytest.mark.parametrize("name", _row.names())
def test_every_validation_is_whole(name: str) -> None:
    what = _row.module(name)
    assert what.KIND in _row.KINDS
    assert all(text.strip() for text in (what.TITLE, what.SOURCE, what.ABOUT))
    found = _row.read(name)
    assert found.rows
    assert any(row.holds is not None for row in found.rows)


@pytest.mark.parametrize("name", ["communication", "kernels"])
def test_stated_errors_are_those_of_the_shipped_fits(name: str) -> None:
    assert _row.module(name).run(quick=False).rows == _row.read(name).rows


@pytest.mark.parametrize("name", ["all_to_all", "eplb", "silicon_serving", "vllm_requests"])
def test_a_part_of_the_rows_again(name: str) -> None:
    """What the quick run computes is in the committed results."""
    known = {(row.case, row.metric): row for row in _row.read(name).rows}
    rows = [row for row in _row.module(name).run(quick=True).rows if row.metric != "balance of 32 GPUs"]  # fewer layers
    assert len(rows) >= 2
    for row in rows:
        assert row.ours == pytest.approx(known[row.case, row.metric].ours, rel=1e-4), row


def test_what_holds() -> None:
    assert Row("", "", 10, 11, band=0.1 + 1e-9).holds
    assert Row("", "", 10, 11.2, band=0.1).holds is False
    assert Row("", "", 10, 99).holds is None
    assert Row("", "", 0.5, 0.6, band=0.1 + 1e-9, difference=True).holds
    assert Row("", "", 0, 0, side="at most").holds
    assert Row("", "", 0, 1, side="at most").holds is False
    assert Row("", "", 2, 2.2, side="at least").holds
    assert Row("", "", None, 0.03, band=0.025).holds is False  # an error itself


def test_results_survive_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row("a", "m", 2, 2.5, "us", 0.1), Row("b", "m", None, 0.02, count=7)]
    found = Found(rows, {"c": {"x": [1.0], "y": [2.0]}})
    monkeypatch.setattr(_row, "result_file", lambda name: tmp_path / f"{name}.json")
    _row.write("one", found)
    assert _row.read("one") == found


def test_a_miss_is_shown_thrice() -> None:
    """Counted in the summary, listed among the misses, marked in its table."""
    page = _page.page()
    missed = [(name, row) for name in _row.names() for row in _row.read(name).rows if row.holds is False]
    assert missed
    misses = page.split("## Misses")[1].split("\n## ")[0]
    assert misses.count("\n| ") - 1 == len(missed)
    assert page.count("**missed**") == len(missed)
