"""The universal subscription: works with every transport of kombu, as Celery's own EventReceiver does.

Source of the facts: ``celery/events/receiver.py``. We use the exchange, queue and options of ``EventReceiver``, and
nothing that touches a body: bodies are handed over as they came, no timestamp is shifted, no logical clock is kept. Its
``capture`` never reconnects, checks AMQP heartbeats only when idle, and sends its wakeup before a Redis subscription is
confirmed.
"""

from __future__ import annotations

import time
from typing import Any, Final

from amqp import ConnectionForced, InternalError, PreconditionFailed
from celery.utils import uuid

from celery_metrics_exporter.config.broker_url import family
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.connection.versions import event_queue
from celery_metrics_exporter.receivers import RefusedQueueError, SilentError, Sink
from celery_metrics_exporter.receivers.amqp_limits import limit_messages
from celery_metrics_exporter.receivers.bodies import Bodies, keep_bodies_raw
from celery_metrics_exporter.receivers.durable_queue import (
    BATCH,
    FROZEN_SECONDS,
    NODE,
    Acknowledgements,
    durable_queue,
    explained,
    is_durable,
)
from celery_metrics_exporter.receivers.sockets import shut_down

#: Interval of heartbeats and checks; a stop may take as long to be seen.
TICK_SECONDS: Final = 1.0
#: Longest time that Redis may take to confirm a subscription.
CONFIRM_SECONDS: Final = 5.0
#: Families with transports that do not delete a queue whose consumer has gone (``auto_delete``).
_LASTING: Final = frozenset({"mongodb", "pgmq"})


class KombuSubscription:
    """One subscription through kombu; a :class:`receivers.Subscription`."""

    def __init__(self, broker: Broker, sink: Sink, *, routing_key: str = "#") -> None:
        """``routing_key``: which events to subscribe to, where the broker can filter them."""
        self._broker = broker
        self._routing_key = routing_key
        self._bodies = Bodies(sink, broker.app.conf.event_serializer)
        self._connection: Any = None
        self._transport: Any = None  # the library's connection below kombu's, such as an ``amqp.Connection``
        self._queue: Any = None
        self._consumer: Any = None
        self._durable = is_durable(broker)
        self._acknowledgements = Acknowledgements()
        self._shared = False  # the durable queue has another consumer
        self._redis: Any = None
        self._reconnected = False
        self._received = -1
        self._heard = 0.0  # monotonic time of the last AMQP frame
        self._next_tick = 0.0
        self._awake = 0.0  # monotonic time of the end of the latest poll

    @property
    def standby(self) -> bool:
        """Whether another consumer gets the messages of the durable queue; the first message shows that we do."""
        return self._shared and not self._acknowledgements.latest

    def open(self) -> None:
        """Connect, declare the event queue and consume it; returns when the broker has confirmed that."""
        app = self._broker.app
        self._connection = connection = self._broker.connect()
        self._transport = connection.connection
        limit_messages(self._transport)
        channel = connection.default_channel
        keep_bodies_raw(channel)
        durable = self._durable
        if durable:
            self._queue = durable_queue(self._broker, connection, routing_key=self._routing_key)
            self._acknowledgements.begin(channel)
            self._awake = time.monotonic()
        else:
            node = NODE if app.conf.event_queue_durable else uuid()
            self._queue = event_queue(app, connection, node=node, routing_key=self._routing_key)
        try:
            self._consumer = connection.Consumer(  # declares the event queue
                self._queue,
                channel,
                on_message=self._take_durable if durable else self._bodies.take,  # before the body is decoded
                on_decode_error=self._fail_durable if durable else self._bodies.unreadable,
                no_ack=not durable,
            )
        except PreconditionFailed as error:
            raise explained(error) from error
        except InternalError as error:
            if "transient_nonexcl_queues" in str(error):
                raise RefusedQueueError from error
            raise
        self._consumer.consume()  # over AMQP this waits for consume-ok
        if durable:
            self._shared = self._count_consumers() > 1
        if connection.transport.driver_type == "redis":
            self._confirm()
        self._next_tick = time.monotonic() + TICK_SECONDS

    def poll(self) -> None:
        """Feed what has arrived; check heartbeats once a second, whether or not anything arrives."""
        try:  # noqa: SIM105 - a context manager for each message costs more
            self._connection.drain_events(timeout=TICK_SECONDS)
        except TimeoutError:
            pass
        if self._durable:
            self._acknowledge(at_least=BATCH)
        self._tick_in_time()

    def close(self, *, clean: bool) -> None:
        """Cancel the consumer and disconnect; without ``clean`` only drop the connection."""
        if self._connection is None:
            return
        if clean:
            self._consumer.cancel()  # what the broker has sent before it knows is taken meanwhile
            self._acknowledge()
            if family(self._broker.url) in _LASTING:
                self._queue(self._connection.default_channel).delete()
            self._connection.release()
        else:
            self._connection.collect()  # a clean close could wait for a broker that is gone

    def cut(self) -> None:
        """Shut down the socket of py-amqp; does nothing with other transports, whose socket we cannot find."""
        shut_down(getattr(getattr(self._transport, "transport", None), "sock", None))

    def _check_awake(self) -> None:
        """Raise after a time in which this process stood still; what it got before is not acknowledged."""
        if time.monotonic() - self._awake > FROZEN_SECONDS:
            raise ConnectionError(
                "this process stood still: another exporter may have got what is on its way to us"
            )

    def _take_durable(self, message: Any) -> None:
        self._check_awake()
        self._bodies.take(message)
        self._note(message)

    def _fail_durable(self, message: Any, error: Exception) -> None:
        self._bodies.unreadable(message, error)
        self._note(message)

    def _note(self, message: Any) -> None:
        if message.delivery_tag is not None:
            self._acknowledgements.note(message.delivery_tag)

    def _acknowledge(self, *, at_least: int = 1) -> None:
        """Acknowledge what was handled, if it came from a durable queue, and is so much."""
        self._acknowledgements.send(at_least=at_least)

    def _count_consumers(self) -> int:
        name: str = self._queue.name
        declared = self._connection.default_channel.queue_declare(name, passive=True)
        return int(declared.consumer_count)

    def _confirm(self) -> None:
        """Wait for Redis' answer to PSUBSCRIBE; it comes before any message.

        Only the first drain sends PSUBSCRIBE (``kombu/transport/redis.py``, ``MultiChannelPoller._register_LISTEN``).
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
        self._awake = now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._tick()

    def _tick(self) -> None:
        connection = self._connection
        self._acknowledge()
        if self.standby:
            self._shared = self._count_consumers() > 1
        if self._reconnected:
            # kombu/transport/redis.py, MultiChannelPoller.maybe_check_subclient_health replaces a half-open connection
            # and subscribes anew without telling us, although events were missed
            raise ConnectionError("kombu found the connection dead and made another one")
        if connection.supports_heartbeats:
            self._check_heartbeats()
        if self._redis is not None:
            connection.transport.cycle.maybe_check_subclient_health()

    def _check_heartbeats(self) -> None:
        received = self._transport.bytes_recv  # ``amqp.Connection`` counts frames here
        if received != self._received:
            self._received = received
            self._heard = time.monotonic()
        try:
            self._connection.heartbeat_check()
        except ConnectionForced as error:
            raise SilentError(error.message, since=self._heard) from error
