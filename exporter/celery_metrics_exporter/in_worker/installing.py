"""``install``: what a Celery application gets, and in which steps of a worker it takes effect.

Source of the facts: ``celery/bootsteps.py`` (``Blueprint.apply``: each step is included in an order that differs from
process to process, as far as ``requires`` leaves it open), ``celery/worker/worker.py`` and
``celery/worker/consumer/consumer.py`` (the two blueprints, and what ends when).

Nothing here is heavy: clients import it with the project.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from celery import bootsteps

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.in_worker.publishing import stamp_publications
from celery_metrics_exporter.in_worker.settings import Tuning, WorkerOption, settings_from, worker_options

if TYPE_CHECKING:
    from celery_metrics_exporter.in_worker.reporter import Reporter

log = logging.getLogger(__name__)

_POOL: Final = "celery.worker.components:Pool"
_EVENTS: Final = "celery.worker.consumer.events:Events"
#: The steps of a consumer that come before ours; a worker that needs no dispatcher has no Events.
_BEFORE: Final = ("celery.worker.consumer.connection.Connection", "celery.worker.consumer.events.Events")
#: Where a worker has its Reporter.
_ATTRIBUTE: Final = "celery_exporter_reporter"


def install(  # noqa: PLR0913 - users give few of these, each by its name
    app: Any,
    *,
    stamp: bool = True,
    runtime_buckets: tuple[float, ...] | None = None,
    wait_buckets: tuple[float, ...] | None = None,
    classic_histograms: bool | None = None,
    native_histograms: bool | None = None,
    native_histogram_schema: int | None = None,
    exemplars: bool | None = None,
    max_series: int | None = None,
    web_config_file: str | None = None,
    app_tasks: bool | None = None,
) -> None:
    """Let each worker of this application serve its own metrics; a second call changes nothing.

    Args:
        app: the Celery application.
        stamp: publications of this process carry the time, by which workers measure the wait in the queue.
        runtime_buckets: upper bounds in seconds of the histogram of run times.
        wait_buckets: those of waits.
        classic_histograms: False: without classic buckets; text has count and sum of histograms then.
        native_histograms: False: without native histograms.
        native_histogram_schema: their resolution, 2^schema buckets for each power of two, -4 to 8.
        exemplars: False: without the latest task of each bucket.
        max_series: limit of the label sets of a family.
        web_config_file: TLS and users, in Prometheus' format.
        app_tasks: False: a task is shown when it comes, and not at 0 from the worker's start.
    """
    options = app.user_options["worker"]
    if any(isinstance(option, WorkerOption) for option in options):
        return
    options.update(worker_options())
    tuning = Tuning(
        runtime_buckets=runtime_buckets,
        wait_buckets=wait_buckets,
        classic_histograms=classic_histograms,
        native_histograms=native_histograms,
        native_histogram_schema=native_histogram_schema,
        exemplars=exemplars,
        max_series=max_series,
        web_config_file=web_config_file,
        app_tasks=app_tasks,
    )
    app.steps["worker"].add(
        type("MetricsServer", (MetricsServer,), {"__module__": __name__, "tuning": tuning})
    )
    app.steps["consumer"].update((MetricsEvents, MetricsEnd))
    if stamp:
        stamp_publications(app)


class MetricsServer(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Serves the metrics from when the pool has its first processes, before there is a connection to the broker.

    Their end is :class:`MetricsEnd`, which comes after the pool's.
    """

    requires = (_POOL,)
    tuning = Tuning()

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        setattr(worker, _ATTRIBUTE, None)
        self._options = options

    def include(self, parent: Any) -> None:
        """Take the step among those that are started."""
        parent.steps.append(self)

    def start(self, parent: Any) -> None:
        """Begin to serve; whatever fails is told in one line, and costs the worker nothing but its metrics."""
        try:
            setattr(parent, _ATTRIBUTE, _started(parent, self._options, self.tuning))
        except Exception as error:
            log.error("this worker serves no metrics: %s", self.tuning.named(_line(error)))
            log.debug("this worker serves no metrics", exc_info=True)


def _line(error: Exception) -> str:
    """An error of ours is a line for users already; of any other the class may be all that it tells."""
    ours = type(error).__module__.startswith(__name__.partition(".")[0])
    return " ".join(str(error).split()) if ours else one_line(error)


def _started(worker: Any, options: dict[str, Any], tuning: Tuning) -> Reporter | None:
    settings = settings_from(options)
    if not settings.enabled:
        return None
    # Only now: it is not for clients, and not for the first processes of the pool.
    from celery_metrics_exporter.in_worker.reporter import Reporter  # noqa: PLC0415 - see above

    reporter = Reporter(worker, settings, tuning)
    reporter.start()
    return reporter


class MetricsEvents(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Takes the place of the event dispatcher at each start of the consumer, before anything has kept the old one.

    Strategies keep ``eventer``, its ``enabled`` and its ``send`` when the step Tasks starts.
    """

    requires = (_EVENTS,)

    def include(self, parent: Any) -> None:
        """Stand directly behind Events, or behind Connection without it.

        ``requires`` alone leaves open whether this comes before Tasks.
        """
        before = [place for place, step in enumerate(parent.steps) if step.name in _BEFORE]
        parent.steps.insert(max(before, default=-1) + 1, self)

    def start(self, parent: Any) -> None:
        """Begin to see the events of this connection."""
        _tell(parent, "consume")

    def stop(self, parent: Any) -> None:
        """The connection is lost, or the worker stops."""
        _tell(parent, "pause")


class MetricsEnd(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Serves for the time of the linger, and ends the metrics."""

    def include(self, parent: Any) -> None:
        """Stand before Connection, so that a shutdown, which goes the other way round, comes last to this."""
        parent.steps.insert(0, self)

    def shutdown(self, parent: Any) -> None:
        """Nothing runs any more: the pool has ended, the connection is closed, messages without a start are back."""
        _tell(parent, "finish")


def _tell(consumer: Any, what: str) -> None:
    reporter = getattr(consumer.controller, _ATTRIBUTE, None)
    if reporter is None:
        return
    try:
        getattr(reporter, what)(consumer)
    except Exception:  # no failure of ours may stop a worker
        log.exception("the metrics of this worker are incomplete")
