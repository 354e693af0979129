"""The fast subscription for RabbitMQ: kombu connects and consumes, then we read its socket in bulk.

URL, TLS, SASL, heartbeats and the event queue stay with kombu and py-amqp; they also get every frame that is not part
of a plain event message. py-amqp alone reads a frame in three steps and a message in three frames, and kombu adds five
more calls for each message.

Source of the facts: ``amqp/transport.py`` (``read_frame``, ``_read``: reads no more than the requested frame, and keeps
a part of it in ``_read_buffer`` after a timeout), ``amqp/connection.py`` (``blocking_read``; ``heartbeat_tick`` checks
whether ``bytes_recv`` has changed) and ``amqp/channel.py`` (``callbacks`` by consumer).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import amqp

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.receivers import Sink
from celery_metrics_exporter.receivers import kombu as universal
from celery_metrics_exporter.receivers.buffered_sink import BufferedSink
from celery_metrics_exporter.receivers.deliveries import DeliveryParser, TaggedDeliveryParser
from celery_metrics_exporter.receivers.durable_queue import BATCH
from celery_metrics_exporter.receivers.sockets import ReadPauses

#: Longest wait of a read; a stop may take as long to be seen.
_WAIT_SECONDS: Final = 0.2
#: Longest wait for an answer to a question about the queue.
_ANSWER_SECONDS: Final = 10.0
_READ_BYTES: Final = 64 * 1024


class AmqpSubscription(universal.KombuSubscription):
    """One subscription on RabbitMQ; a :class:`receivers.Subscription`."""

    def __init__(self, broker: Broker, sink: Sink, *, routing_key: str = "#") -> None:
        """See :class:`receivers.kombu.KombuSubscription`."""
        self._buffer = BufferedSink(sink)
        super().__init__(broker, self._buffer, routing_key=routing_key)
        self._socket: Any = None
        self._timeout_before: float | None = None
        self._parser: DeliveryParser
        self._pauses: ReadPauses

    def open(self) -> None:
        """Subscribe through kombu, then take over the socket."""
        super().open()
        connection = self._transport
        channel = self._connection.default_channel
        (tag,) = channel.callbacks
        kind = (
            partial(TaggedDeliveryParser, note=self._acknowledgements.note)
            if self._durable
            else DeliveryParser
        )
        self._parser = kind(self._buffer, connection.on_inbound_frame, channel=channel.channel_id, tag=tag)
        self._socket = connection.sock
        self._timeout_before = self._socket.gettimeout()
        self._socket.settimeout(_WAIT_SECONDS)
        self._pauses = ReadPauses(self._socket)
        self._take(_exchange_buffer(connection.transport, b""))

    def poll(self) -> None:
        """Feed what has arrived; check heartbeats once a second, whether or not anything arrives."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            pass
        else:
            if not data:
                raise ConnectionError("the broker closed the connection")
            self._transport.bytes_recv += 1  # counts as a sign of life, before a whole frame is there
            if self._durable:
                self._check_awake()
                self._take(data)
                self._acknowledge(at_least=BATCH)
            else:
                self._take(data)
            self._pauses.wait_after(len(data))
        self._tick_in_time()

    def _take(self, data: bytes) -> None:
        try:
            self._parser.take(data)
        finally:
            self._buffer.flush()

    def close(self, *, clean: bool) -> None:
        """Give the socket back to py-amqp, and disconnect through kombu."""
        try:
            if clean and self._socket is not None:
                self._give_back(self._timeout_before)
            super().close(clean=clean)
        finally:
            self._buffer.flush()  # what arrived while the consumer was cancelled

    def _acknowledge(self, *, at_least: int = 1) -> None:
        self._buffer.flush()  # only then the handlers have got everything
        super()._acknowledge(at_least=at_least)

    def _count_consumers(self) -> int:
        if self._socket is None:
            return super()._count_consumers()
        with self._lent():
            return super()._count_consumers()

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Give the socket back to py-amqp for a question to the broker."""
        self._give_back(_ANSWER_SECONDS)
        yield
        self._socket.settimeout(_WAIT_SECONDS)
        self._take(_exchange_buffer(self._transport.transport, b""))

    def _give_back(self, timeout: float | None) -> None:
        self._socket.settimeout(timeout)
        _exchange_buffer(self._transport.transport, self._parser.give_back())


def missing() -> str | None:
    """The attribute that we rely on and this version of py-amqp does not have; None when all are there."""
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
    """Replace the bytes that a transport of py-amqp has read and not used yet; returns the old ones."""
    before: bytes = transport._read_buffer  # noqa: SLF001 - see missing()
    transport._read_buffer = data  # noqa: SLF001
    return before
