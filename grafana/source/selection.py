"""Which series a dashboard shows: selectors of the exporter's metrics, filtered by the dashboard's variables.

Owns the names of the variables and what each of them filters. The exporter's own catalogue tells which metric has which
label, so that a metric or a label that does not exist is an error here and never an empty panel.
"""

from typing import Final

from celery_metrics_exporter.collectors import CATALOGUE

#: Every series has these labels, Prometheus adds them; others (cluster, namespace) may be there or not.
TARGET: Final = ("job", "instance")

_SUFFIXES: Final = ("_bucket", "_sum", "_count")

_LABELS: Final = {family.name: family.labels for family in CATALOGUE}

#: Series of the exporter's target that the catalogue does not list: of Prometheus and of prometheus_client.
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
    """The series that the variables of one dashboard choose.

    ``Selection("queue")("celery_queue_length")`` is
    ``celery_queue_length{job=~"$job", instance=~"$instance", queue=~"$queue"}``.
    """

    def __init__(self, *variables: str) -> None:
        """``variables``: labels that the dashboard has a variable for, besides job and instance."""
        self.variables = variables

    def __call__(self, metric: str, **equal: str) -> str:
        """Name the metric's series that are chosen and whose labels are ``equal`` to these.

        Raises KeyError for a metric that does not exist, ValueError for a label that it does not have.
        """
        labels = _labels_of(metric)
        if not equal.keys() <= set(labels):
            raise ValueError(f"{metric} has the labels {labels}, not {sorted(equal)}")
        chosen = [*TARGET, *(label for label in self.variables if label in labels)]
        matchers = [f'{label}=~"${label}"' for label in chosen]
        matchers += [f'{label}="{value}"' for label, value in equal.items()]
        return f"{metric}{{{', '.join(matchers)}}}"


def _labels_of(metric: str) -> tuple[str, ...]:
    if metric in _OF_TARGET:
        return ()
    if metric in _LABELS:
        return _LABELS[metric]
    suffix = next((suffix for suffix in _SUFFIXES if metric.endswith(suffix)), "")
    return _LABELS[metric.removesuffix(suffix)]
