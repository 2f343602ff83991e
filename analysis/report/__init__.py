"""``write_report(folder, out)``: one HTML file of a run, its variants, a sweep or a comparison, that opens anywhere.

- ``data.py`` gathers what the page shows; ``explore.py`` flows and hops, ``fabric.py`` links over time, ``layout.py``
  where they are drawn, ``charts.py`` curves; ``pack.py`` makes it small.
- ``page/`` is the page: ``page.html``, ``style.css`` and the scripts, put together by ``assemble.py``. Nothing is
  loaded from a network: plotly is inside.
"""

from __future__ import annotations

from pathlib import Path

from analysis.report.assemble import MARK, page_of
from analysis.report.pack import Packer
from analysis.report.source import read
from models.errors import InputError, Problem

__all__ = ["write_report"]


def write_report(folder: Path | str, out: Path | str, *, force: bool = False, quiet: bool = True) -> Path:
    """Writes ``out``; the same bytes for the same results. InputError where the results can't be read, where ``out``
    can't be written, or where it is a file that is no report (unless ``force``); then nothing is written.
    """
    target = Path(out)
    obstacle = _obstacle(target, force)
    if obstacle:
        raise InputError([Problem(str(target), 0, 0, obstacle)])
    packer = Packer()
    content = read(Path(folder), packer, quiet)
    text = page_of(str(content["title"]), packer.page(content))
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError([Problem(str(target), 0, 0, f"can't write here: {error.strerror}")]) from None
    return target


def _obstacle(target: Path, force: bool) -> str | None:
    """Why the report may not be written there, or None."""
    if target.is_dir():
        return "is a directory; name a file, such as -o report.html"
    if not target.parent.is_dir():
        return f"there is no directory '{target.parent}'"
    if not target.exists() or force:
        return None
    with target.open("rb") as file:
        if MARK.encode() in file.read(4096):
            return None
    return "exists and is no Spillway report, so it is not replaced; choose another -o or add --force"
