"""The web configuration: ``celery_exporter_web_config_last_reload_successful``.

It is named after Prometheus' own ``prometheus_config_last_reload_successful``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric

from celery_metrics_exporter.collectors.family import Family

_WEB_CONFIG = Family(
    "celery_exporter_web_config_last_reload_successful",
    "gauge",
    "1 if the current content of --web.config.file is in force, 0 if its last change was refused.",
)


class ServingCollector:
    """Asks the web server in each scrape."""

    name = "serving"
    families = (_WEB_CONFIG,)

    def __init__(self, web_config_holds: Callable[[], bool] | None) -> None:
        """``web_config_holds``: whether the current content of the file is in force; None without a file."""
        self._web_config_holds = web_config_holds

    def collect(self) -> Iterator[Metric]:
        """Yield the family."""
        if self._web_config_holds is not None:
            metric = _WEB_CONFIG.empty()
            metric.add_metric((), float(self._web_config_holds()))
            yield metric
