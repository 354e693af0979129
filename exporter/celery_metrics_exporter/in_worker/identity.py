"""Names and queues of tasks: what their messages tell, and no event of Celery.

Source of the facts: ``celery/worker/strategy.py`` (the signal ``task_received`` comes just before the event, in the
same thread), ``celery/worker/request.py`` (``_announce_revoked``: the signal ``task_revoked`` comes after the event of
a task that may never have been received) and ``celery/worker/consumer/consumer.py`` (``on_unknown_task``: likewise the
signal ``task_unknown``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from celery import signals
from msgspec.structs import fields

from celery_metrics_exporter.events.types import MAX_NAME, TaskReceived
from celery_metrics_exporter.ids import id_text
from celery_metrics_exporter.in_worker.request_queue import RequestQueues, published_at, trace_of
from celery_metrics_exporter.logs import ThrottledLog

log = logging.getLogger(__name__)

#: An event whose signal does not come, as when the result backend fails, waits no longer for it.
PATIENCE_SECONDS: Final = 1.0
_KEYS: Final = {field.name: field.encode_name for field in fields(TaskReceived)}
_QUEUE: Final = _KEYS["queue"]
_PUBLISHED: Final = _KEYS["published"]
_TRACE: Final = _KEYS["trace"]
#: Where an event has the latest message until it is completed; no field of an event has this name.
MESSAGE: Final = "message"


class _Received(NamedTuple):
    """What is needed of a request to tell where it came from."""

    uuid: object
    message: Any
    request_dict: Any


class Identity:
    """Listens to the signals of one worker."""

    def __init__(self, release: Callable[[dict[str, Any], dict[str, Any] | None], None]) -> None:
        """``release`` takes an event that was held, and what tells the task's name and queue, if they are known."""
        self._release = release
        self._queues: RequestQueues | None = None
        self._log = ThrottledLog(log)
        #: What the latest signal of a receipt was about: the fields of _Received.
        self.received: tuple[Any, ...] | None = None
        self._held: dict[object, tuple[float, dict[str, Any]]] = {}
        self._listeners = (
            (signals.task_received, self.on_received),
            (signals.task_revoked, self.on_revoked),
            (signals.task_unknown, self.on_unknown),
        )

    def consume(self, consumer: Any) -> None:
        """Listen from now on, for this consumer, which may have another connection than before."""
        self._queues = RequestQueues(consumer)
        for signal, listener in self._listeners:
            signal.connect(listener, weak=False, dispatch_uid=(id(self), listener.__name__))

    def finish(self) -> None:
        """Listen no more."""
        for signal, listener in self._listeners:
            signal.disconnect(dispatch_uid=(id(self), listener.__name__))

    def complete(self, event: dict[str, Any]) -> None:
        """Add what the message tells to a task-received that has its own."""
        message = event.pop(MESSAGE, None)
        if message is not None and message[0] == event["uuid"]:
            request = _Received(*message)
            event[_QUEUE] = self._told(self._queue, request)
            event[_PUBLISHED] = self._told(published_at, request)
            event[_TRACE] = self._told(trace_of, request)

    def hold(self, event: dict[str, Any]) -> None:
        """Hold the event until its signal comes."""
        uuid = event["uuid"] = id_text(event["uuid"])
        self._give(uuid, None, None)  # of one task there is one at a time
        self._held[uuid] = time.monotonic(), event

    def expire(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Release the events whose signals have not come."""
        until = time.monotonic() - patience
        for uuid, (since, _) in tuple(self._held.items()):
            if since <= until:
                self._give(uuid, None, None)

    def on_received(self, request: Any, **_: object) -> None:
        """Keep the message until its event comes; to keep the request would keep it among those that are active."""
        self.received = request.id, request.message, request.request_dict

    def on_revoked(self, request: Any, **_: object) -> None:
        """Tell the name and the queue of the task."""
        name = getattr(request, "shadow", None) or getattr(request, "task", None)
        self._give(id_text(request.id), name, request)

    def on_unknown(self, message: Any, name: str, id: object, **_: object) -> None:  # noqa: A002 - Celery's name
        """Likewise."""
        self._give(id_text(id), name, message)

    def _give(self, uuid: object, name: object, message: Any) -> None:
        """Release the event of this task, if it is held; ``message`` has the ``delivery_info``."""
        held = self._held.pop(uuid, None)
        if held is None:
            return
        told = None
        if isinstance(name, str):
            queue = self._told(self._queue, SimpleNamespace(message=message))
            told = {"uuid": uuid, "name": name[:MAX_NAME], "queue": queue and queue[:MAX_NAME]}
        self._release(held[1], told)

    def _queue(self, request: Any) -> str | None:
        return None if self._queues is None else self._queues.queue_of(request)

    def _told(self, tell: Callable[[Any], Any], request: Any) -> Any:
        """What this tells of a message, which anybody may have sent."""
        try:
            return tell(request)
        except Exception:  # noqa: BLE001 - the task goes on
            self._log.log(
                logging.WARNING, "the message of a task does not tell where it came from", exc_info=True
            )
            return None
