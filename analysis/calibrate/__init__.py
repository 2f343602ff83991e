"""Fitting of the cost models: a file a model kind, and ``common`` for files, held-out splits and errors.

A kind's module has ``TIMES`` (measured columns), ``fit(table, system) -> body``, ``shape(table)`` (rows of one shape
are held out together), ``size(table)`` (what bins the errors), ``blocks(table)`` (whole blocks to hold out),
``SHIPPED`` (system -> file, source, licence), and where they make sense ``measured``, ``roofline``, ``coordinates``
and ``shipped_as`` (bodies for systems without measurements).
"""
