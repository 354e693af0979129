"""A Celery application whose workers write down what their own process can tell of each request.

Its broker is that of CELERY_BROKER_URL; everything else is the JSON object in the environment variable
``REQUEST_REPORTS``: ``file`` takes one JSON object for each request, ``backend`` is a folder for results, ``counted``
a file for the page of prometheus_client's own registry when the worker ends, ``beat`` asks for a schedule
of one task a second, ``transport`` are options of the transport.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import prometheus_client
from celery import Celery, Task, signals
from celery.worker.request import Request
from kombu import Exchange, Queue
from kombu.common import Broadcast

from celery_metrics_exporter.in_worker.publishing import publisher, stamp_publications
from celery_metrics_exporter.in_worker.request_queue import RequestQueues, published_at

APP: Final = "tests.integration.request_reports"
VARIABLE: Final = "REQUEST_REPORTS"

SHOP: Final = Exchange("shop", "topic")
HAND: Final = Exchange("hand", "direct")
POST: Final = Exchange("post", "fanout")
NEWS: Final = Exchange("news", "fanout")
HEADED: Final = Exchange("headed", "headers")
QUEUES: Final = (
    Queue("celery", Exchange("celery"), "celery"),
    Queue("video", SHOP, "video.#"),
    Queue("image", SHOP, "image.*"),
    Queue("left", HAND, "hand"),
    Queue("right", HAND, "hand"),
    Queue("letters", POST),
    Queue("with.dots", Exchange("with.dots"), "with.dots"),
    Broadcast("news"),
)
#: Only RabbitMQ has them.
RABBITMQ_QUEUES: Final = (
    Queue("headed", HEADED, binding_arguments={"kind": "x", "x-match": "all"}),
    Queue("late", Exchange("late", "topic"), "late", queue_arguments={"x-queue-type": "quorum"}),
)

_SETTINGS: Final = json.loads(os.environ.get(VARIABLE, "{}"))


def note() -> None:
    """Do nothing."""


def retry(self: Task) -> None:
    """Retry twice, at once."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)


def replace(self: Task) -> None:
    """Let another task take its place."""
    self.replace(self.app.signature("reports.note", immutable=True))


def publish(self: Task, number: int) -> None:
    """Publish tasks from where tasks run."""
    for _ in range(number):
        self.app.send_task("reports.note")


def application(broker_url: str, backend: str | None, transport: Mapping[str, Any]) -> Celery:
    """Make the application."""
    made = Celery("reports", broker=broker_url, set_as_current=False)
    made.conf.update(
        task_queues=(*QUEUES, *(RABBITMQ_QUEUES if broker_url.startswith("amqp") else ())),
        result_backend=f"file://{backend}" if backend else None,
        result_chord_join_timeout=10.0,
        broker_connection_retry_on_startup=True,
        task_default_queue="celery",
        broker_transport_options=dict(transport),
    )
    if "beat" in _SETTINGS:
        made.conf.beat_schedule = {"each second": {"task": "reports.note", "schedule": 1.0}}
    for name, function in (("note", note), ("retry", retry), ("replace", replace), ("publish", publish)):
        made.task(name=f"reports.{name}", bind=function is not note, shared=False)(function)
    return made


class _Reporter:
    """Writes the file."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._queues: RequestQueues | None = None

    def report(self, sender: Any, request: Request, **_others: Any) -> None:
        """A request was received by the consumer ``sender``."""
        if self._queues is None:
            self._queues = RequestQueues(sender)
        facts = {
            "task": request.name,
            "id": request.id,
            "retries": request.request_dict["retries"],
            "queue": self._queues.queue_of(request),
            "published": published_at(request),
            "received": time.time(),
        }
        with self._file.open("a") as file:
            file.write(json.dumps(facts) + "\n")


def _write_page(**_others: Any) -> None:
    Path(_SETTINGS["counted"]).write_bytes(prometheus_client.generate_latest())


if _SETTINGS:
    app = application(
        os.environ["CELERY_BROKER_URL"], _SETTINGS.get("backend"), _SETTINGS.get("transport", {})
    )
    stamp_publications(app)
    signals.task_received.connect(_Reporter(_SETTINGS["file"]).report, weak=False)
    if "counted" in _SETTINGS:
        publisher(app)
        signals.worker_shutdown.connect(_write_page, weak=False)
