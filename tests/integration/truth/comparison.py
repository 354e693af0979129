"""Compares a metrics page with the truth and says in words what differs.

Owns which families the truth speaks for: all counters and histograms of the page, but those of the client library
and those that tell of worker events and of the exporter's own, whose number depends on the run's length.
"""

import math
from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.truth.truth import ALWAYS_ZERO, Labels, Sample, Truth

_EVENTS = "celery_exporter_events_total"
_PROBE = "exporter-probe"
_LAG = "celery_exporter_event_lag_seconds_count"
_DISCONNECTED = "celery_exporter_receiver_disconnected_seconds_total"
_NOT_OURS = ("process_", "python_")


class Page:
    """One scrape, or those of several workers added up: the counters and histogram counts that the truth speaks for.

    And what is checked beside them.
    """

    def __init__(self, *texts: str) -> None:
        self.counted: dict[Sample, float] = {}
        self.gauges: dict[Sample, float] = {}
        self.sums: dict[Sample, float] = {}
        self.known_events = 0.0
        self.workers_offline = 0.0
        self.lag_count = 0.0
        for text in texts:
            self._add(text)

    def _add(self, text: str) -> None:
        for family in text_string_to_metric_families(text):
            if family.name.startswith(_NOT_OURS):
                continue
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                if family.type == "gauge":
                    self.gauges[sample.name, labels] = sample.value
                elif family.type == "counter" or sample.name.endswith("_count"):
                    self._count(sample.name, labels, sample.value)
                elif sample.name.endswith("_sum"):
                    self.sums[sample.name, labels] = sample.value

    def _count(self, name: str, labels: Labels, value: float) -> None:
        if name == _LAG:
            self.lag_count = value
            return
        if name == _EVENTS:
            type_ = dict(labels)["event"]
            if type_ == _PROBE:
                return
            if type_ != "other":
                self.known_events += value
            if type_ == "worker-offline":
                self.workers_offline = value
            if type_.startswith("worker-"):
                return
        if name != _DISCONNECTED:
            self.counted[name, labels] = self.counted.get((name, labels), 0.0) + value


def differences(page: Page, truth: Truth) -> list[str]:
    """Say for each number that is missing, wrong or not of the truth what was expected; empty when all are equal."""
    return [*_counts(page.counted, truth), *_relations(page, truth), *_gauges(page.gauges, truth)]


def _counts(counted: Mapping[Sample, float], truth: Truth) -> Iterator[str]:
    for sample in sorted(truth.samples.keys() | counted.keys()):
        expected = truth.samples.get(sample)
        found = counted.get(sample)
        if expected is None and (sample[0] in ALWAYS_ZERO or sample in truth.optional_zeros):
            expected = 0.0
        if found != expected:
            yield f"{_show(sample)} is {_value(found)}, the truth is {_value(expected)}"


def _relations(page: Page, truth: Truth) -> Iterator[str]:
    if truth.of_listener and page.lag_count != page.known_events:
        yield f"{_LAG} is {page.lag_count:g}, but {page.known_events:g} events of known types were counted"
    for sample, value in sorted(page.sums.items()):
        if not (math.isfinite(value) and value >= 0):
            yield f"{_show(sample)} is {value:g}, but durations are finite and not negative"


def _gauges(gauges: Mapping[Sample, float], truth: Truth) -> Iterator[str]:
    for sample, value in sorted(gauges.items()):
        name, labels = sample
        place = tuple(pair for pair in labels if pair[0] in {"queue", "task"})
        if name.startswith("celery_task_") and place not in truth.places:
            yield f"{_show(sample)} is {value:g}, the truth has no such task and queue"
        if name.startswith("celery_worker_") and dict(labels).get("worker", "") not in truth.workers:
            yield f"{_show(sample)} is {value:g}, the truth has no such worker"
        if name == "celery_task_in_progress" and value != 0:
            yield f"{_show(sample)} is {value:g}, but every task has ended"


def _show(sample: Sample) -> str:
    name, labels = sample
    return f"{name}{{{','.join(f'{label}={value}' for label, value in labels)}}}"


def _value(value: float | None) -> str:
    return "not there" if value is None else f"{value:g}"
