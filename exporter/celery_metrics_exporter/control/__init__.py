"""Remote control: what is asked of workers, and what they answer."""

from __future__ import annotations

from celery_metrics_exporter.facts import WorkerFacts

__all__ = ("WorkerFacts",)
