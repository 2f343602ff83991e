"""``python -m analysis.calibrate KIND [SYSTEM ...]``: fit the shipped measurements again, rewrite models/calibrated."""

from __future__ import annotations

import sys

from analysis.calibrate.common import fit_module, ship

for _system in sys.argv[2:] or list(fit_module(sys.argv[1]).SHIPPED):
    print(ship(sys.argv[1], _system), flush=True)
