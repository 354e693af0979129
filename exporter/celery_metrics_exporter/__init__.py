"""Prometheus exporter for Celery: exact, cheap, and never silently stale.

``receivers`` hand over raw event bodies, ``events`` decodes them and calls the typed handlers of ``collectors``, and
``web`` serves what these hold. ``app`` and ``pipeline`` put the parts together.
"""

__version__ = "0.1.0"
