"""The parts of the page put together: markup, style, scripts, the data and plotly, both compressed."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path

from analysis.report.pack import compressed

MARK = '<meta name="generator" content="Spillway report">'  # in the head of every report: it may be replaced
_PARTS = Path(__file__).parent / "page"
_SCRIPTS = ("decode", "format", "table", "summary", "charts", "heat", "fabric", "links", "flows", "start")


def page_of(title: str, data: str) -> str:
    """The whole file. ``data``: base64 of gzip, as ``Packer.page`` makes it."""
    parts = {
        "mark": MARK,
        "title": html.escape(title),
        "style": _part("style.css"),
        "scripts": "".join(_part(f"{name}.js") for name in _SCRIPTS),
        "data": data,
        "plotly": _plotly(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("page.html"))


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return compressed(get_plotlyjs().encode())
