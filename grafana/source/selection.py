"""Selectors of the exporter's metrics, filtered by the dashboard's variables.

They are checked against the exporter's catalogue: a metric or a label that does not exist is an error here, not an
empty panel.
"""

from typing import Final

from celery_metrics_exporter.collectors import CATALOGUE
from grafana.source.histograms import Histogram

_SUFFIXES: Final = ("_bucket", "_sum", "_count")

_LABELS: Final = {family.name: family.labels for family in CATALOGUE}

#: Series of the target that are not in the catalogue: those of Prometheus and of prometheus_client.
_OF_TARGET: Final = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "up",
)


class Selection:
    """Makes selectors for the variables of one dashboard.

    ``Selection("queue")("celery_queue_length")`` is
    ``celery_queue_length{job="$job", instance=~"$instance", queue=~"$queue"}``.
    """

    def __init__(self, *variables: str) -> None:
        """``variables``: labels with a variable in the dashboard, besides job and instance."""
        self.variables = variables

    def __call__(self, metric: str, **equal: str) -> str:
        """The selector of the metric's chosen series; with ``equal``, of those with these label values.

        Raises KeyError for a metric that does not exist, ValueError for a label that it does not have.
        """
        labels = _labels_of(metric)
        if not equal.keys() <= set(labels):
            raise ValueError(f"{metric} has the labels {labels}, not {sorted(equal)}")
        chosen = ["instance", *(label for label in self.variables if label in labels)]
        matchers = ['job="$job"', *(f'{label}=~"${label}"' for label in chosen)]
        matchers += [f'{label}="{value}"' for label, value in equal.items()]
        return f"{metric}{{{', '.join(matchers)}}}"

    def histogram(self, family: str, **equal: str) -> Histogram:
        """The selectors of a histogram, whichever way Prometheus stores it."""
        return Histogram(*(self(f"{family}{suffix}", **equal) for suffix in ("", *_SUFFIXES)))


def _labels_of(metric: str) -> tuple[str, ...]:
    if metric in _OF_TARGET:
        return ()
    if metric in _LABELS:
        return _LABELS[metric]
    suffix = next((suffix for suffix in _SUFFIXES if metric.endswith(suffix)), "")
    return _LABELS[metric.removesuffix(suffix)]
