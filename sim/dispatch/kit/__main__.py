"""The contract kit, for policies of one's own: ``python -m sim.dispatch.kit FILE [FILE...]``.

Loads each file as a run would, and checks what the engines rely on and cannot check in a hurry. Prints what was
checked; exit code 0: all passed, 1: something failed, 2: a file can't be loaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from sim.dispatch.kit.admission import check_admission
from sim.dispatch.kit.collective import check_collective
from sim.dispatch.kit.common import check_common
from sim.dispatch.kit.expert import check_expert
from sim.dispatch.kit.packet import check_packet
from sim.dispatch.kit.path import check_path
from sim.dispatch.kit.report import Report
from sim.dispatch.kit.request import check_request
from sim.dispatch.kit.transport import check_transport
from sim.dispatch.registry import LEVELS, Policy, Registry, UnknownPolicyError

_CHECKS = {
    "path": check_path,
    "packet": check_packet,
    "collective": check_collective,
    "transport": check_transport,
    "expert": check_expert,
    "admission": check_admission,
    "request": check_request,
}


def check(policy: Policy) -> Report:
    """All checks of one policy, with its default parameters."""
    report = Report(f"{policy.level} policy {policy.name} ({policy.origin})", policy.module.__file__ or "")
    if check_common(report, policy):
        _CHECKS[policy.level](report, policy)
    return report


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.dispatch.kit", description="Check policies against their contract.", allow_abbrev=False
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="files of own policies")
    parser.add_argument("--level", choices=LEVELS, help="with --name: a built-in policy, or one of an entry point")
    parser.add_argument("--name", help="its name")
    options = parser.parse_args(argv)
    if (options.level is None) != (options.name is None):
        parser.error("--level and --name go together")
    if not options.files and options.name is None:
        parser.error("give a FILE, or --level and --name")
    registry = Registry()
    try:
        policies = [registry.add_plugin(Path(file)) for file in options.files]
        if options.name is not None:
            policies.append(registry.load(options.level, options.name))
    except (InputError, UnknownPolicyError) as error:
        print(error, file=sys.stderr)
        return 2
    passed = True
    for policy in policies:
        report = check(policy)
        passed = passed and report.passed
        print(report)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
