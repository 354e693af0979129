"""The universal receiver: every transport that kombu has, through Celery's own EventReceiver.

Owns: the connection, the subscription, our own drain loop, reconnecting. Must not know: events, metrics.

Source of the facts: ``celery/events/receiver.py``. Of ``EventReceiver`` we keep the exchange, queue and options, and
leave what would touch a body: bodies are handed over as they came, no timestamp is shifted, no clock is kept. Its
``capture`` never reconnects, checks AMQP heartbeats only when idle, and sends its wakeup before a Redis subscription
stands.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from celery.events.receiver import EventReceiver
from celery.utils import uuid
from kombu import Producer
from kombu.pidbox import Mailbox
from kombu.serialization import loads, prepare_accept_content

from exporter.logs import fields
from exporter.receivers.redis_shortcut import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.receivers import Link, Sink
    from exporter.receivers.celery_app import Broker

log = logging.getLogger(__name__)

#: Seconds between two looks at the things that time asks for; also how long a stop may take to be seen.
TICK_SECONDS: Final = 1.0
#: First and longest pause between two tries to connect, before jitter.
BACKOFF_SECONDS: Final = (0.5, 30.0)
#: The fixed name that a durable event queue keeps over restarts.
DURABLE_NODE: Final = "celery-exporter"

_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "binary", None})


class KombuReceiver:
    """Subscribes to the event stream and feeds a sink, until it is told to stop."""

    def __init__(
        self, broker: Broker, sink: Sink, link: Link, *, routing_key: str = "#", enable_events: bool = True
    ) -> None:
        """Args:
        broker: where to connect, see ``celery_app``.
        sink: takes the bodies.
        link: is told whether the subscription stands.
        routing_key: which events to ask the broker for, where it can tell.
        enable_events: ask workers to send task events, at the start and at each :meth:`request_events`.
        """
        self._broker = broker
        self._app = app = broker.app
        self._sink = sink
        self._link = link
        self._routing_key = routing_key
        self._accept = prepare_accept_content({app.conf.event_serializer, "json"})
        self._enable_events = enable_events
        self._events_wanted = threading.Event()
        self._stop = threading.Event()
        self._last_error: str | None = None
        self._refused = False

    def stop(self) -> None:
        """Let :meth:`run` return soon. May be called from any thread and from a signal handler."""
        self._stop.set()

    def request_events(self) -> None:
        """Ask all workers to send task events, at the next occasion. May be called from any thread."""
        self._events_wanted.set()

    def run(self) -> None:
        """Receive until told to stop; reconnects for ever."""
        first, longest = BACKOFF_SECONDS
        pause = first
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._subscribe()
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._lost(error)
            if time.monotonic() - began > longest:
                pause = first
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2 * pause, longest)

    def _lost(self, error: Exception) -> None:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        self._link.down(text)
        if text == self._last_error:
            log.debug("still no events, trying again", exc_info=error)
            return
        self._last_error = text
        log.warning("no events, trying again", extra=fields(broker=self._broker.name, error=text))

    def _subscribe(self) -> None:
        """Connect and receive; returns after a stop, raises whatever ends the connection."""
        connection = self._broker.connect()
        try:
            receiver = _RawReceiver(
                connection.default_channel,
                app=self._app,
                routing_key=self._routing_key,
                node_id=DURABLE_NODE if self._app.conf.event_queue_durable else uuid(),
            )
            consumer = receiver.consumer(self._on_message, self._on_unreadable)
            consumer.consume()
            if connection.transport.driver_type == "redis":
                shorten(receiver.channel, self._sink)
            self._drain(connection)
        except BaseException:
            connection.collect()  # closing in good order could wait for a broker that is gone
            raise
        consumer.cancel()
        connection.release()
        self._link.down("stopped")

    def _drain(self, connection: Any) -> None:
        drain_events, monotonic, stop = connection.drain_events, time.monotonic, self._stop
        # A Redis subscription is asked for by the first drain, and stands when the broker has answered
        # (kombu/transport/redis.py, MultiChannelPoller._register_LISTEN): nothing can be asked of workers before.
        self._poll(drain_events)
        self._link.up()
        self._last_error = None
        log.info("receiving events", extra=fields(broker=self._broker.name))
        self._wake(connection)
        next_tick = monotonic() + TICK_SECONDS
        while not stop.is_set():
            self._poll(drain_events)
            if monotonic() >= next_tick:
                next_tick = monotonic() + TICK_SECONDS
                self._tick(connection)

    @staticmethod
    def _poll(drain_events: Any) -> None:
        try:
            drain_events(timeout=TICK_SECONDS)
        except TimeoutError:
            return

    def _tick(self, connection: Any) -> None:
        if connection.supports_heartbeats:
            connection.heartbeat_check()
        check_redis = getattr(
            getattr(connection.transport, "cycle", None), "maybe_check_subclient_health", None
        )
        if check_redis is not None:
            check_redis()
        if self._events_wanted.is_set():
            self._events_wanted.clear()
            if self._enable_events:
                self._ask(connection, "enable_events")

    def _wake(self, connection: Any) -> None:
        """Let workers introduce themselves now, rather than at their next heartbeat."""
        self._events_wanted.clear()
        if self._enable_events:
            self._ask(connection, "enable_events")
        self._ask(connection, "heartbeat")

    def _ask(self, connection: Any, command: str) -> None:
        """Broadcast a command; where we may not, events are received all the same."""
        conf = self._app.conf
        try:
            with connection.channel() as channel:  # a broker that refuses closes the channel
                mailbox = _Mailbox(
                    conf.control_exchange,
                    type="fanout",
                    connection=connection,
                    accept=conf.accept_content,
                    serializer=conf.task_serializer,
                )
                mailbox.channel = channel
                mailbox.abcast(command)
        except connection.channel_errors as error:
            if not self._refused:
                self._refused = True
                log.warning(
                    "the broker lets us ask workers nothing", extra=fields(command=command, error=str(error))
                )

    def _on_message(self, message: Any) -> None:
        body = message.body
        if message.content_type != "application/json" or message.content_encoding not in _UTF8:
            try:
                content = loads(body, message.content_type, message.content_encoding, accept=self._accept)
                body = json.dumps(content)
            except Exception as error:  # noqa: BLE001 - whatever a codec raises
                self._sink.drop("undecodable", f"{message.content_type}: {type(error).__name__}: {error}")
                return
        self._sink.feed(body.encode() if isinstance(body, str) else bytes(body))

    def _on_unreadable(self, _message: Any, error: Exception) -> None:
        self._sink.drop("undecodable", f"{type(error).__name__}: {error}")


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


class _Mailbox(Mailbox):  # type: ignore[misc]  # kombu is untyped
    """Celery's way to the workers, which tries once, on a channel of its own.

    kombu publishes commands with ``retry=True`` (``kombu/pidbox.py``, ``Mailbox._publish``): on a dead connection it
    would make another one below our subscription, and leave us deaf without an error.
    """

    channel: Any = None

    @contextmanager
    def producer_or_acquire(self, producer: Any = None, channel: Any = None) -> Iterator[Any]:
        """Yield a producer on our channel."""
        yield producer or _Producer(self.channel or channel, auto_declare=False)


class _Producer(Producer):  # type: ignore[misc]  # kombu is untyped
    def publish(self, *args: Any, **kwargs: Any) -> Any:
        return super().publish(*args, **{**kwargs, "retry": False})
