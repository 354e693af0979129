"""Metrics from inside a worker: the exporter's pipeline in its main process, fed without events over the broker.

A project's ``celery.py`` needs one line::

    from celery_metrics_exporter.in_worker import install
    install(app)

Whatever else imports that module (clients, beat) pays for this package alone: the pipeline is imported when a worker
starts.
"""

from __future__ import annotations

from celery_metrics_exporter.in_worker.installing import install
from celery_metrics_exporter.in_worker.publishing import publisher

__all__ = ("install", "publisher")
