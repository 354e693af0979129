"""Runs the collectors in a scrape: one that fails loses its own families only.

Owns ``celery_exporter_collector_success`` and ``celery_exporter_collector_duration_seconds``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Sequence

from prometheus_client import Metric

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.collectors.family import Collector, Family
from celery_metrics_exporter.exposition.rows import HistogramRows, Rows

log = logging.getLogger(__name__)

_SUCCESS = Family(
    "celery_exporter_collector_success",
    "gauge",
    "1 if the collector succeeded in this scrape, else 0.",
    ("collector",),
)
_DURATION = Family(
    "celery_exporter_collector_duration_seconds",
    "gauge",
    "Time that the collector took in this scrape.",
    ("collector",),
)


class Guard:
    """All collectors as one that never raises."""

    families = (_SUCCESS, _DURATION)

    def __init__(
        self,
        collectors: Sequence[Collector],
        clock: Clock,
        *,
        absent: Container[str] = (),
    ) -> None:
        """Args:
        collectors: the collectors.
        clock: the time.
        absent: names of families that are left out.
        """
        self._absent = absent
        #: Called first in each scrape; does not raise.
        self.before: Callable[[], None] = lambda: None
        #: Called when somebody wants native histograms: whether they were not counted any more.
        self.want_native: Callable[[], bool] = lambda: False
        self._collectors = collectors
        self._monotonic = clock.monotonic
        self._since = clock.wall()
        self._failing: set[str] = set()

    def describe(self) -> Iterable[Metric]:
        """Yield the families without samples: the registry's filter by ``name[]`` needs them."""
        for families in (*(collector.families for collector in self._collectors), self.families):
            for family in families:
                if family.name not in self._absent:
                    yield family.described()

    def collect(self) -> Iterable[Metric]:
        """Yield the families of each collector, all of them or none, then success and duration."""
        self.before()
        success, duration = _SUCCESS.empty(), _DURATION.empty()
        for collector in self._collectors:
            began = self._monotonic()
            metrics: list[Metric] = []
            try:
                metrics.extend(each for each in collector.collect() if not self._is_absent(each))
            except Exception:
                metrics.clear()
                success.add_metric((collector.name,), 0)
                if collector.name not in self._failing:
                    log.exception("collector %s failed", collector.name)
                self._failing.add(collector.name)
            else:
                success.add_metric((collector.name,), 1)
                self._failing.discard(collector.name)
            for metric in metrics:
                if isinstance(metric, Rows):
                    metric.since = self._since
                if isinstance(metric, HistogramRows):
                    metric.want_native = self.want_native
                yield metric
            duration.add_metric((collector.name,), self._monotonic() - began)
        yield from (success, duration)

    def _is_absent(self, metric: Metric) -> bool:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        return name in self._absent
