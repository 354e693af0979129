"""Sends event messages without a worker: by Celery's own dispatcher, or as any bytes under any headers."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from celery.events.event import get_exchange
from kombu import Producer

from tests.integration.known_tasks import application


class EventSender:
    """A connection that events are sent over; a context manager. ``settings`` are Celery's.

    With ``patient``, what cannot be sent waits for the next event, as in a worker; else that raises.
    """

    def __init__(
        self, settings: Mapping[str, Any], *, hostname: str = "sender@localhost", patient: bool = True
    ) -> None:
        app = application(settings)
        self._connection = app.connection_for_write()
        if not patient:
            self._connection.ensure_connection(max_retries=1, interval_start=0.1)
        self._dispatcher = app.events.Dispatcher(
            self._connection, hostname=hostname, buffer_while_offline=patient
        )
        self._exchange = get_exchange(self._connection, app.conf.event_exchange)

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event as a worker would."""
        self._dispatcher.send(kind, **fields)

    def message(
        self,
        body: bytes,
        *,
        routing_key: str = "task.multi",
        content_type: str = "application/json",
        content_encoding: str = "utf-8",
        compression: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one message with this body."""
        Producer(self._connection).publish(
            body,
            exchange=self._exchange,
            routing_key=routing_key,
            declare=[self._exchange],
            content_type=content_type,
            content_encoding=content_encoding,
            compression=compression,
            headers=dict(headers or {}),
        )

    def __enter__(self) -> Self:
        """Do nothing: the dispatcher has connected already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._dispatcher.close()
        self._connection.release()
