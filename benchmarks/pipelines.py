"""The exporter's own pipeline without a broker, for measurements in one process."""

from typing import Any

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.control.commands import CommandSchedule
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.pipeline import Declared, Pipeline

#: So many that no measurement meets the limit by chance.
MAX_SERIES = 1_000_000


def make_pipeline(
    max_in_flight: int = 1_000_000, *, declared: Declared | None = None, **settings: Any
) -> Pipeline:
    """A pipeline on the real clock that believes to be connected, with the exporter's defaults but for limits.

    ``settings``: what else differs, as ``Config`` has it.
    """
    clock = Clock()
    subscription = StreamState(clock)
    subscription.mark_connected()
    schedule = CommandSchedule(clock.monotonic, interval=30.0, enable_events=False, inspect=False)
    config = Config(broker_url="memory://", max_series=MAX_SERIES, max_in_flight=max_in_flight, **settings)
    libraries = {"celery": "", "kombu": ""}
    declared = declared or Declared()
    return Pipeline(config, subscription, schedule, clock, libraries=libraries, declared=declared)
