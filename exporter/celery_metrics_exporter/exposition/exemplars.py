"""Exemplars as prometheus_client has them, with the labels that lead to a task and its trace."""

from __future__ import annotations

from typing import Final

from prometheus_client.samples import Exemplar as Shown

from celery_metrics_exporter.exemplar import Exemplar
from celery_metrics_exporter.labels import clean

#: Characters of all names and values together: OpenMetrics 1.0.0, "Exemplars". Prometheus drops what is longer.
_MAX_CHARACTERS: Final = 128


def label_pairs(exemplar: Exemplar) -> tuple[tuple[str, str], ...]:
    """The labels, sorted by name; none if the id of the task has no room. An id that is cut would lead nowhere."""
    task_id, trace = clean(exemplar.task_id), exemplar.trace
    room = _MAX_CHARACTERS - len("task_id") - len(task_id)
    if room < 0:
        return ()
    if trace is None or room < len("span_idtrace_id") + len(trace) - 1:
        return (("task_id", task_id),)
    trace_id, _, span_id = trace.partition("-")
    return ("span_id", span_id), ("task_id", task_id), ("trace_id", trace_id)


def shown(exemplar: Exemplar) -> Shown | None:
    """The exemplar for prometheus_client's encoders; None if it has no room."""
    labels = label_pairs(exemplar)
    return Shown(dict(labels), exemplar.value, exemplar.time) if labels else None
