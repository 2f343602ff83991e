"""``python -m validations``: the page; ``python -m validations NAME...``: these again, with their figures."""

from __future__ import annotations

import argparse
import sys
from time import perf_counter

from models.errors import nearest
from validations import _page, _row
from validations._figure import draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m validations", description="Simulated beside measured and derived.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or any of: {', '.join(_row.names())}")
    parser.add_argument("--quick", action="store_true", help="fewer rows; print them and write nothing")
    parser.add_argument("--figures", action="store_true", help="only draw again what the results say")
    options = parser.parse_args()
    wanted = _row.names() if options.names == ["all"] else options.names
    unknown = [f"no validation '{name}'{nearest(name, _row.names())}" for name in wanted if name not in _row.names()]
    if unknown:
        print("\n".join(unknown), file=sys.stderr)
        return 2
    if not wanted:
        print(_page.page(), end="")
    for name in wanted:
        started = perf_counter()
        found = _row.read(name) if options.figures else _row.module(name).run(options.quick)
        if options.quick:
            print(f"{_row.module(name).TITLE}\n\n{_page.table(found)}\n")
        else:
            _row.write(name, found)
            draw(name, found)
        print(f"{name}: {perf_counter() - started:.0f} s, {_page.verdict(found)}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
