"""The universal receiver: every transport that kombu has, through Celery's own EventReceiver.

Owns: the connection, the subscription, our own drain loop. Must not know: events, metrics, reconnecting.

Source of the facts: ``celery/events/receiver.py``. Of ``EventReceiver`` we keep the exchange, queue and options, and
leave what would touch a body: bodies are handed over as they came, no timestamp is shifted, no clock is kept. Its
``capture`` never reconnects, checks AMQP heartbeats only when idle, and sends its wakeup before a Redis subscription
stands.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from amqp import ConnectionForced
from celery.events.receiver import EventReceiver
from celery.utils import uuid

from celery_metrics_exporter.receivers import SilentError
from celery_metrics_exporter.receivers.amqp_bounds import bound_messages
from celery_metrics_exporter.receivers.bodies import Bodies, seal
from celery_metrics_exporter.receivers.cutting import shut

if TYPE_CHECKING:
    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.receivers import Sink

#: Seconds between two looks at the things that time asks for; also how long a stop may take to be seen.
TICK_SECONDS: Final = 1.0
#: How long Redis may take to confirm a subscription.
CONFIRM_SECONDS: Final = 5.0
#: The fixed name that a durable event queue keeps over restarts.
DURABLE_NODE: Final = "celery-exporter"


class KombuSubscription:
    """One subscription through kombu; a :class:`receivers.Subscription`."""

    def __init__(self, broker: Broker, sink: Sink, *, routing_key: str = "#") -> None:
        """Args:
        broker: where to connect, see ``connection.celery_app``.
        sink: takes the bodies.
        routing_key: which events to ask the broker for, where it can tell.
        """
        self._broker = broker
        self._routing_key = routing_key
        self._bodies = Bodies(sink, broker.app.conf.event_serializer)
        self._connection: Any = None
        self._transport: Any = None  # what kombu's connection stands on, such as an ``amqp.Connection``
        self._consumer: Any = None
        self._redis: Any = None
        self._reconnected = False
        self._received = -1
        self._heard = 0.0  # monotonic time at which the broker was last heard, by AMQP
        self._next_tick = 0.0

    def open(self) -> None:
        """Connect, declare the event queue and consume it; returns when the broker has confirmed that."""
        app = self._broker.app
        self._connection = connection = self._broker.connect()
        self._transport = connection.connection
        bound_messages(self._transport)
        seal(connection.default_channel)
        receiver = _RawReceiver(
            connection.default_channel,
            app=app,
            routing_key=self._routing_key,
            node_id=DURABLE_NODE if app.conf.event_queue_durable else uuid(),
        )
        self._consumer = receiver.consumer(self._bodies.take, self._bodies.unreadable)
        self._consumer.consume()  # over AMQP it waits for consume-ok
        if connection.transport.driver_type == "redis":
            self._confirm()
        self._next_tick = time.monotonic() + TICK_SECONDS

    def poll(self) -> None:
        """Take what has come; look after heartbeats once a second, whether or not anything comes."""
        try:  # noqa: SIM105 - a context manager for each message costs more
            self._connection.drain_events(timeout=TICK_SECONDS)
        except TimeoutError:
            pass
        self._tick_in_time()

    def close(self, *, clean: bool) -> None:
        """Cancel the consumer and disconnect; without ``clean`` only drop the connection."""
        if self._connection is None:
            return
        if clean:
            self._consumer.cancel()
            self._connection.release()
        else:
            self._connection.collect()  # closing in good order could wait for a broker that is gone

    def cut(self) -> None:
        """Shut the socket, where there is one of py-amqp's; other transports have none that we know."""
        shut(getattr(getattr(self._transport, "transport", None), "sock", None))

    def _confirm(self) -> None:
        """Wait for Redis' answer to PSUBSCRIBE, which nothing but the first drain sends.

        ``kombu/transport/redis.py``, ``MultiChannelPoller._register_LISTEN``. The answer comes before any message.
        """
        try:
            self._connection.drain_events(timeout=CONFIRM_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"no answer to PSUBSCRIBE for {CONFIRM_SECONDS:g} s") from None
        self._redis = self._connection.default_channel.subclient.connection
        self._redis.register_connect_callback(self._on_reconnect)

    def _on_reconnect(self, _connection: Any) -> None:
        self._reconnected = True

    def _tick_in_time(self) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._tick()

    def _tick(self) -> None:
        connection = self._connection
        if self._reconnected:
            # kombu/transport/redis.py, MultiChannelPoller.maybe_check_subclient_health: it gives up a half-open
            # connection and subscribes anew without a word to us, though events were missed
            raise ConnectionError("kombu found the connection dead and made another one")
        if connection.supports_heartbeats:
            self._check_heartbeats()
        check_redis = getattr(
            getattr(connection.transport, "cycle", None), "maybe_check_subclient_health", None
        )
        if check_redis is not None:
            check_redis()

    def _check_heartbeats(self) -> None:
        received = self._transport.bytes_recv  # of ``amqp.Connection``, which counts frames
        if received != self._received:
            self._received = received
            self._heard = time.monotonic()
        try:
            self._connection.heartbeat_check()
        except ConnectionForced as error:
            raise SilentError(error.message, since=self._heard) from error


def declare_durable_queue(broker: Broker, *, routing_key: str, timeout: float) -> None:
    """Declare and bind the event queue that keeps its name, and leave it to whoever consumes it.

    It changes nothing where an exporter with the same settings was before. Raises what hinders it; ``timeout`` in
    seconds is for connecting and for each answer.
    """
    connection = broker.connect(heartbeat=0, timeout=timeout)
    try:
        channel = connection.default_channel
        receiver = _RawReceiver(channel, app=broker.app, routing_key=routing_key, node_id=DURABLE_NODE)
        receiver.queue(channel).declare()
    finally:
        connection.collect()


class _RawReceiver(EventReceiver):  # type: ignore[misc]  # celery is untyped
    """Celery's receiver, with the message handed over before anything is decoded."""

    def consumer(self, on_message: Any, on_unreadable: Any) -> Any:
        """Declare the queue of events and return its consumer, not consuming yet."""
        return self.channel.connection.client.Consumer(
            self.queue,
            channel=self.channel,
            on_message=on_message,
            on_decode_error=on_unreadable,
            no_ack=True,
            accept=self.accept,
        )
