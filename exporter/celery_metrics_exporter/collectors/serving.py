"""The web server: its configuration (``celery_exporter_web_config_last_reload_successful``) and whom it cannot serve.

The former is named after Prometheus' own ``prometheus_config_last_reload_successful``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric

from celery_metrics_exporter.collectors.family import Family

_WEB_CONFIG = Family(
    "celery_exporter_web_config_last_reload_successful",
    "gauge",
    "1 if the current content of --web.config.file is in force, 0 if its last change was refused.",
)
_CUT = Family(
    "celery_exporter_web_connections_cut_total",
    "counter",
    "Connections that the port closed, or could not accept, for lack of room; waiting: for a request, sending: a page.",
    ("reason",),
)

#: Why connections are cut; each has a series from the start, so that its rate exists.
CUT_REASONS: Final = ("waiting", "sending", "descriptors")


class ServingCollector:
    """Asks the web server in each scrape."""

    name = "serving"
    families = (_WEB_CONFIG, _CUT)

    def __init__(self, web_config_holds: Callable[[], bool] | None, cut: Mapping[str, int]) -> None:
        """Args:
        web_config_holds: whether the current content of the file is in force; None without a file.
        cut: numbers of connections by reason, kept by the server.
        """
        self._web_config_holds = web_config_holds
        self._cut = cut

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        cut = _CUT.empty()
        cut.add_metrics([(reason,) for reason in CUT_REASONS], [self._cut[reason] for reason in CUT_REASONS])
        yield cut
        if self._web_config_holds is not None:
            metric = _WEB_CONFIG.empty()
            metric.add_metric((), float(self._web_config_holds()))
            yield metric
