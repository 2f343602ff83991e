"""One bar over all cells on stderr, with an ETA; messages stand above it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Bar:
    """``with Bar(quiet) as bar:`` messages (``say``) at once, the bar from ``start`` on."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, cells: int) -> None:
        if not self._quiet:
            from tqdm import tqdm

            form = "{n_fmt}/{total_fmt} cells|{bar:30}| {elapsed}, {remaining} left{postfix}"
            self._bar = tqdm(total=cells, bar_format=form, leave=False, delay=2)

    def step(self, failed: int) -> None:
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{failed} failed", refresh=False)
            self._bar.update()

    def say(self, text: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)
