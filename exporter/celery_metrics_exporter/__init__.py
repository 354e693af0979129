"""Prometheus exporter for Celery: exact, cheap, unfreezable.

The package is one pipeline: ``receivers`` hand over raw event bodies, ``events`` decodes them, ``dispatch``
routes them to the typed handlers of ``collectors``, ``web`` serves what these hold. ``app`` is the only wiring.
"""

__version__ = "0.1.0"
