"""``compare``: which arm is better, by how much, how sure; the decision certificate.

``study.py`` what is asked and the callable that runs more seeds, ``rule.py`` how many, ``readings.py`` what the runs
say, ``paired.py`` the difference and its interval, ``verdicts.py`` a pair at a point, ``findings.py`` all of it,
``inert.py`` keys that change nothing, ``sentence.py``, ``certificate.py`` and ``picture.py`` what is told.
"""

from analysis.compare.findings import Findings, compare
from analysis.compare.inert import Inert, inert_keys
from analysis.compare.metrics import Metric, parse
from analysis.compare.rule import Rule
from analysis.compare.study import Cell, Point, Runs, Study

__all__ = ["Cell", "Findings", "Inert", "Metric", "Point", "Rule", "Runs", "Study", "compare", "inert_keys", "parse"]
