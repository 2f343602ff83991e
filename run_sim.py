"""The command line: ``python run_sim.py SCENARIO``. Parses, calls the verb (``commands/``), and gives the exit code.

Exit codes: 0 done, 1 the run failed (a traceback is in the file named), 2 wrong input, 3 stopped or stalled,
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from commands import FAILED, INTERRUPTED, VERBS, WRONG


def _verb(name: str) -> Any:
    return import_module(f"commands.{name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_sim.py",
        description="Spillway: simulate routing in GPU clusters and networks.",
        epilog="'run_sim.py SCENARIO' is 'run_sim.py run SCENARIO'. 'run_sim.py VERB --help' shows a verb's options.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        verb = _verb(name)
        verb.arguments(verbs.add_parser(name, help=verb.HELP, allow_abbrev=False))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        _parser().print_help(sys.stderr)
        return WRONG
    complaint = _choose_verb(words)
    if complaint:
        print(f"run_sim.py: {complaint}", file=sys.stderr)
        return WRONG
    try:
        options = _parser().parse_args(words)
        return int(_verb(options.verb).call(options))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else WRONG
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of stdout has gone; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explain(error)


def _choose_verb(words: list[str]) -> str | None:
    """Put the verb ``run`` before a scenario; a complaint if the first word is nothing we know."""
    first = words[0]
    if first in VERBS or first in {"-h", "--help"}:
        return None
    if not first.startswith("-") and not Path(first).suffix and not Path(first).exists():
        from models.errors import nearest

        return f"there is no verb and no scenario '{first}'{nearest(first, VERBS)}"
    words.insert(0, "run")
    return None


def _explain(error: Exception) -> int:
    """Wrong input: its problems. Anything else is our fault: the traceback goes to a file."""
    from models.errors import InputError

    if isinstance(error, InputError):
        print(error, file=sys.stderr)
        return WRONG
    folder = "results" if os.access("results", os.W_OK) and os.path.isdir("results") else tempfile.gettempdir()
    number, name = tempfile.mkstemp(prefix="spillway-error-", suffix=".txt", dir=folder, text=True)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    reason = str(error).strip().split("\n")[0] or "no message"
    print(f"the run failed: {type(error).__name__}: {reason} (traceback in {name})", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
