"""What a process that publishes tasks can tell by itself: when each message was published, and how many were.

Every process that imports the project's ``celery.py`` may call these, so nothing is imported here but Celery's signals.

Source of the facts: ``celery/app/amqp.py`` (``send_task_message``: the signals ``before_task_publish``, which may still
change the headers, and ``after_task_publish``, when the broker has the message).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from celery import signals

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: The header of a message with the time of its publication, in epoch seconds.
PUBLISHED_HEADER: Final = "celery_exporter_published_at"
#: The header of a retry with its number: who does not stamp copies the headers of the attempt before.
RETRIES_HEADER: Final = "celery_exporter_published_retries"

_STAMP_UID: Final = "celery_exporter_stamp"


def stamp_publications(_app: Any) -> None:
    """Write the time into a header of each message that this process and its children publish from now on.

    Workers that have ``in_worker.install`` tell the queue wait by it. A second call changes nothing. The application is
    taken for the sake of ``install``: Celery's signals do not tell which one publishes.
    """
    signals.before_task_publish.connect(_stamp, weak=False, dispatch_uid=_STAMP_UID)


def _stamp(headers: dict[str, Any] | None = None, body: Any = None, **_others: Any) -> None:
    """Stamp a message; a retry brings the headers of the attempt before (``celery/app/task.py``, ``Context``)."""
    if headers is None:
        return
    headers[PUBLISHED_HEADER] = time.time()
    retries = headers.get("retries") or (body.get("retries") if isinstance(body, dict) else None)
    if retries:
        headers[RETRIES_HEADER] = retries
    else:
        headers.pop(RETRIES_HEADER, None)


def publisher(
    app: Any, *, registry: CollectorRegistry | None = None, stamp: bool = True, max_series: int = 10_000
) -> None:
    """Count what this process publishes: ``celery_task_sent_total``, with the labels of the exporter.

    Args:
        app: the Celery application, by whose queues an exchange and a routing key lead to a queue.
        registry: which the process serves; by default that of prometheus_client. A registry has one such counter,
            also if several applications publish.
        stamp: whether messages are stamped, see :func:`stamp_publications`.
        max_series: label sets of the counter; what exceeds them is counted as ``other``.
    """
    from celery_metrics_exporter.in_worker.sent_counter import (  # noqa: PLC0415 - who only stamps pays nothing for it
        SentCounter,
    )

    if stamp:
        stamp_publications(app)
    SentCounter.of(registry, max_series).add(app)
