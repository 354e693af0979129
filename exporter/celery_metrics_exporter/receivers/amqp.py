"""The fast receiver for RabbitMQ: a connection and a consumer that kombu made, read in bulk.

Owns: the socket from the moment on at which the broker has confirmed the consumer. Must not know: events, metrics,
reconnecting.

URL, TLS, SASL, heartbeats, the queue of events and all that the broker says beside plain messages stay kombu's and
py-amqp's: they get each frame that is none of those. py-amqp reads a frame in three steps and a message in three
frames, and kombu takes it through five calls more.

Source of the facts: ``amqp/transport.py`` (``read_frame``, ``_read``: at most the frame that is asked for is read, and
what is left of it after a timeout is kept in ``_read_buffer``), ``amqp/connection.py`` (``blocking_read``;
``heartbeat_tick``, which looks whether ``bytes_recv`` has changed) and ``amqp/channel.py`` (``callbacks`` by consumer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import amqp

from celery_metrics_exporter.receivers import kombu as universal
from celery_metrics_exporter.receivers.batch import Batch
from celery_metrics_exporter.receivers.deliveries import Deliveries
from celery_metrics_exporter.receivers.pausing import Pauses

if TYPE_CHECKING:
    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.receivers import Sink

#: Seconds for which a read waits; also how long a stop may take to be seen.
_WAIT_SECONDS: Final = 0.2
_READ_BYTES: Final = 64 * 1024


class AmqpSubscription(universal.KombuSubscription):
    """One subscription on RabbitMQ; a :class:`receivers.Subscription`."""

    def __init__(self, broker: Broker, sink: Sink, *, routing_key: str = "#") -> None:
        """See :class:`receivers.kombu.KombuSubscription`."""
        self._batch = Batch(sink)
        super().__init__(broker, self._batch, routing_key=routing_key)
        self._socket: Any = None
        self._timeout_before: float | None = None
        self._deliveries: Deliveries
        self._pauses: Pauses

    def open(self) -> None:
        """Subscribe as the universal receiver does, and take the socket over."""
        super().open()
        connection = self._transport
        channel = self._connection.default_channel
        (tag,) = channel.callbacks
        self._deliveries = Deliveries(
            self._batch, connection.on_inbound_frame, channel=channel.channel_id, tag=tag
        )
        self._socket = connection.sock
        self._timeout_before = self._socket.gettimeout()
        self._socket.settimeout(_WAIT_SECONDS)
        self._pauses = Pauses(self._socket)
        self._take(_exchange_buffer(connection.transport, b""))

    def poll(self) -> None:
        """Take what has come; look after heartbeats once a second, whether or not anything comes."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            pass
        else:
            if not data:
                raise ConnectionError("the broker closed the connection")
            self._transport.bytes_recv += 1  # a sign of life, of which there are more than frames
            self._take(data)
            self._pauses.after(len(data))
        self._tick_in_time()

    def _take(self, data: bytes) -> None:
        try:
            self._deliveries.take(data)
        finally:
            self._batch.flush()

    def close(self, *, clean: bool) -> None:
        """Give the socket back, and leave as the universal receiver does."""
        try:
            if clean and self._socket is not None:
                self._socket.settimeout(self._timeout_before)
                _exchange_buffer(self._transport.transport, self._deliveries.give_back())
            super().close(clean=clean)
        finally:
            self._batch.flush()  # what came while the consumer was cancelled


def missing() -> str | None:
    """Name what we rely on and this version of py-amqp does not have; None when all is there."""
    parts = {
        "amqp.transport.TCPTransport._read_buffer": amqp.transport.TCPTransport("localhost"),
        "amqp.Connection.on_inbound_frame": amqp.Connection,
        "amqp.Connection.bytes_recv": amqp.Connection,
        "amqp.Connection.sock": amqp.Connection,
        "amqp.Channel.callbacks": amqp.Channel(amqp.Connection()),
        "amqp.Message.inbound_header": amqp.Message,
    }
    return next((name for name, part in parts.items() if not hasattr(part, name.rpartition(".")[2])), None)


def _exchange_buffer(transport: Any, data: bytes) -> bytes:
    """Replace the bytes that a transport of py-amqp's has read and not used yet; returns them."""
    before: bytes = transport._read_buffer  # noqa: SLF001 - see missing()
    transport._read_buffer = data  # noqa: SLF001
    return before
