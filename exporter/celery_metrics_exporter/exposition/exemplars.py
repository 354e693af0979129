"""Exemplars as prometheus_client has them, with the labels that lead to a task and its trace."""

from __future__ import annotations

from typing import Final

from prometheus_client.samples import Exemplar as Shown

from celery_metrics_exporter.exemplar import Exemplar
from celery_metrics_exporter.labels import clean

#: Characters of all names and values together: OpenMetrics 1.0.0, "Exemplars". Prometheus drops what is longer.
_MAX_CHARACTERS: Final = 128


def shown(exemplar: Exemplar) -> Shown | None:
    """The exemplar; None if the id of its task is too long for one. An id that is cut would lead nowhere."""
    labels = {"task_id": clean(exemplar.task_id)}
    if exemplar.trace is not None:
        trace_id, _, span_id = exemplar.trace.partition("-")
        traced = {**labels, "trace_id": trace_id, "span_id": span_id}
        labels = traced if _fits(traced) else labels
    return Shown(labels, exemplar.value, exemplar.time) if _fits(labels) else None


def _fits(labels: dict[str, str]) -> bool:
    return sum(len(name) + len(value) for name, value in labels.items()) <= _MAX_CHARACTERS
