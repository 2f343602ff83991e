"""Measured rows beside simulated ones: what the file says (``mapping``, ``measured``), errors and distances
(``errors``), stated bands (``bands``), verdict and text (``verdict``), pictures (``pictures``).

Simulates nothing: the caller runs what ``Measured.sizes`` asks for and hands over the results.
"""

from analysis.validate.measured import Measured, read
from analysis.validate.verdict import Validation, validate

__all__ = ["Measured", "Validation", "read", "validate"]
