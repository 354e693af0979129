"""What stands in the place of Celery's event dispatcher in a worker: it sees each event, and hands it on.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher``), ``celery/worker/consumer/events.py``
(``Events``: makes one for each connection, and closes the one before) and ``celery/worker/request.py``
(``Request.send_event``, ``create_request_cls``: they keep the dispatcher, and whether it was enabled then).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final

from celery.worker.control import Panel, nok
from celery.worker.state import active_requests, reserved_requests

from celery_metrics_exporter.events.types import WIRE_NAMES
from celery_metrics_exporter.ids import id_text
from celery_metrics_exporter.in_worker.feed import Feed
from celery_metrics_exporter.in_worker.identity import MESSAGE, Identity
from celery_metrics_exporter.logs import ThrottledLog

log = logging.getLogger(__name__)

#: The events of tasks; what is to be known of the worker comes from its own state.
_TASK_EVENTS: Final = frozenset(name for name in WIRE_NAMES.values() if name.startswith("task-"))
#: The remote control commands that answer whether events are on.
_SWITCHES: Final = ("enable_events", "disable_events")


class NoDispatcher:
    """Stands for the dispatcher of a worker that has none, as with ``--without-gossip --without-heartbeat``."""

    enabled = False
    connection = None

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.on_enabled: set[Callable[[], None]] = set()
        self.on_disabled: set[Callable[[], None]] = set()

    def do_nothing(self, *_: object, **__: object) -> None:
        """Nothing can be sent, flushed or closed."""

    send = publish = flush = enable = disable = close = extend_buffer = do_nothing


class Eventer:
    """One for a worker: tasks that run while the connection is made anew keep it.

    Attributes:
        enabled: always, so that Celery makes the events of tasks.
        own: Celery's dispatcher for the present connection. What else Celery asks this one for is that one's.
    """

    enabled = True

    def __init__(self, hostname: str, feed: Feed) -> None:
        self.own: Any = NoDispatcher()
        self.hostname = hostname
        self.identity = Identity(self._release)
        self._pid = os.getpid()
        self._feed = feed
        feed.complete = self._complete
        self._log = ThrottledLog(log)
        #: How many events were lost by a failure of ours.
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def consume(self, consumer: Any) -> None:
        """Take the place of the dispatcher of this consumer, in running tasks too (5.7 gives them the new one)."""
        dispatcher = consumer.event_dispatcher
        self._feed.flush()  # by what is known of the connection before
        if dispatcher is not self:
            self.own = NoDispatcher() if dispatcher is None else dispatcher
        self.identity.consume(consumer)
        consumer.event_dispatcher = self
        for requests in (reserved_requests, active_requests):
            for request in tuple(requests):
                request.eventer = self
        answer_truthfully(Panel.data)

    def send(self, type: str, **fields: Any) -> Any:  # noqa: A002 - Celery's name
        """Let Celery send the event where events are on, and see it. Raises only what Celery's own method raises.

        A worker has done other things since the event before, so that no code of this is in a cache: whatever can wait
        for the batch is done there.
        """
        timestamp = time.time()
        is_of_task = type in _TASK_EVENTS
        own = self.own
        try:
            # Without -E a dispatcher has the group of workers alone; to ask it about each task costs as much as to see.
            if own.enabled and not (is_of_task and own.groups and "task" not in own.groups):
                return own.send(type, **fields)
        finally:
            if is_of_task:
                fields["type"] = type
                fields["timestamp"] = timestamp
                try:
                    if type == "task-received":
                        fields[MESSAGE] = self.identity.received
                    if type == "task-revoked" or (type == "task-failed" and "traceback" not in fields):
                        self.identity.hold(fields)  # of a task that may not have been received
                    else:
                        self._feed.add(fields)
                except Exception:  # noqa: BLE001 - a failure of ours never reaches a task
                    self._lose()
        return None

    def _complete(self, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add to events what they need not carry before, and leave out those where that fails."""
        complete = []
        for event in events:
            try:
                self.identity.complete(event)
                if type(event["uuid"]) is not str:
                    event["uuid"] = id_text(event["uuid"])
                event["hostname"] = self.hostname
                if event["type"] == "task-started":
                    event["pid"] = self._pid
            except Exception:  # noqa: BLE001 - costs this event alone
                self._lose()
            else:
                complete.append(event)
        return complete

    def _lose(self) -> None:
        self.failures += 1
        self._log.log(logging.ERROR, "an event of a task is not counted", exc_info=True)

    def _release(self, event: dict[str, Any], told: dict[str, Any] | None) -> None:
        if told is not None:
            self._feed.add({**told, "type": "task-identified"})
        self._feed.add(event)


def answer_truthfully(commands: MutableMapping[str, Callable[..., Any]]) -> None:
    """Let a worker without a dispatcher of Celery's answer that it cannot send events."""
    for name in _SWITCHES:
        command = commands.get(name)
        if command is not None and not isinstance(command, _Truthful):
            commands[name] = _Truthful(command)


class _Truthful:
    """A command of remote control that needs a dispatcher."""

    def __init__(self, command: Callable[..., Any]) -> None:
        self._command = command
        self.__name__ = getattr(command, "__name__", type(self).__name__)

    def __call__(self, state: Any, **arguments: Any) -> Any:
        """Answer."""
        eventer = state.consumer.event_dispatcher
        if isinstance(eventer, Eventer) and isinstance(eventer.own, NoDispatcher):
            return nok("event dispatcher unavailable")
        return self._command(state, **arguments)
