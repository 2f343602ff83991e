"""Simulated beside measured, published and derived: one file a validation, and the page made from all of them.

A validation is a module of this folder with ``TITLE``, ``KIND`` (of ``_row.KINDS``), ``SOURCE``, ``ABOUT`` (Markdown),
``run(quick) -> Found`` and, where the strip of errors is not the picture to show, ``draw(found) -> Figure``. Its full
result lies in ``rows/NAME.json``; ``python -m validations NAME`` computes it again, ``python -m validations >
docs/validation.md`` writes the page. A new validation is one new file; names with an underscore are no validations.
"""
