"""The fast subscription for Redis: our own PSUBSCRIBE on a connection that kombu made, read in bulk.

Nothing is written to Redis (kombu's consumer writes a binding), so a user needs only PING, PSUBSCRIBE and one channel
pattern. URL, TLS, Sentinel, credentials, database, prefixes and channel names stay with kombu. A silent pub/sub
connection can be idle or dead: after some seconds without a byte we send PING.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._queue_bind``, ``PrefixedRedisPubSub``),
``redis/connection.py`` and the RESP protocol: a subscribed connection answers PING with an array in RESP2 and with a
string in RESP3, and hiredis returns pushes as a kind of list.
"""

from __future__ import annotations

import time
from typing import Any, Final

from hiredis import Reader, ReplyError
from redis import Connection
from redis.exceptions import ResponseError

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.connection.versions import fanout_topics, missing_for_fanout, pooled_connection
from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES, SilentError, Sink
from celery_metrics_exporter.receivers.buffered_sink import BufferedSink
from celery_metrics_exporter.receivers.envelopes import Envelopes, UniqueEnvelopes
from celery_metrics_exporter.receivers.sockets import ReadPauses, shut_down

#: Longest wait of a read; a stop may take as long to be seen.
TICK_SECONDS: Final = 0.2
#: After so long without a byte a PING is sent.
SILENCE_SECONDS: Final = 5.0
#: Longest wait for the answer to a PING or PSUBSCRIBE. A server that stalls for some seconds delivers its events later,
#: and they are lost for those who disconnect; a dead connection should be found within half a minute.
ANSWER_SECONDS: Final = 10.0
#: hiredis moves the rest of its buffer after each reply: parsing 2 KB takes 1.7 us in reads of 32 KB, 14 us of 1 MB.
_READ_BYTES: Final = 32 * 1024
#: hiredis keeps an empty buffer up to this size for the next message.
_SPARE_BYTES: Final = 1024 * 1024
#: A reply that is not complete at this size is an error.
_ENDLESS_BYTES: Final = 4 * MAX_MESSAGE_BYTES

_INCOMPLETE: Final = object()


class RedisSubscription:
    """One subscription on Redis; a :class:`receivers.Subscription`."""

    standby = False

    def __init__(self, broker: Broker, sink: Sink, *, routing_key: str = "#") -> None:
        """See :class:`receivers.kombu.KombuSubscription`."""
        self._broker = broker
        self._sink = BufferedSink(sink)
        self._routing_key = routing_key
        self._connection: Any = None
        self._redis: Any = None
        self._socket: Any = None
        self._pauses: ReadPauses
        self._patterns: tuple[str, ...] = ()
        self._confirmed = 0
        self._envelopes: Envelopes
        self._buffer = bytearray(_READ_BYTES)
        self._reader = Reader(notEnoughData=_INCOMPLETE)
        self._reader.setmaxbuf(_SPARE_BYTES)
        self._heard = 0.0  # monotonic time of the last byte
        self._asked: tuple[str, float] | None = None  # the command that waits for its answer, and since when

    def open(self) -> None:
        """Connect and subscribe; returns when the server has confirmed every pattern."""
        conf = self._broker.app.conf
        self._connection = connection = self._broker.connect()
        channel = connection.default_channel
        self._patterns = fanout_topics(channel, conf.event_exchange, self._routing_key.replace("#", "*"))
        kind = Envelopes if len(self._patterns) == 1 else UniqueEnvelopes
        self._envelopes = kind(self._sink, conf.event_serializer)
        self._redis = pooled_connection(channel.client.connection_pool)  # the one that kombu has just tested
        self._socket = _socket(self._redis)
        self._socket.settimeout(TICK_SECONDS)
        self._pauses = ReadPauses(self._socket)
        self._ask("PSUBSCRIBE", *self._patterns)
        while self._confirmed < len(self._patterns):
            self.poll()

    def poll(self) -> None:
        """Feed what has arrived; send a PING after a silence."""
        try:
            size = self._socket.recv_into(self._buffer)
        except TimeoutError:
            self._check_silence()
            return
        if not size:
            raise ConnectionError("the server closed the connection")
        self._heard = time.monotonic()
        self._asked = None
        try:
            self._take(size)
        finally:
            self._sink.flush()
        self._pauses.wait_after(size)

    def close(self, *, clean: bool) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Disconnect, without a command to the server."""
        if self._connection is not None:
            self._connection.release()

    def cut(self) -> None:
        """Shut down the socket."""
        shut_down(self._socket)

    def _take(self, size: int) -> None:
        reader, take = self._reader, self._envelopes.take
        reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]  # any buffer will do
        while (reply := reader.gets()) is not _INCOMPLETE:
            if isinstance(reply, list) and reply[0] == b"pmessage":
                take(reply[3])
            else:
                self._on_answer(reply)
        if reader.len() > _ENDLESS_BYTES:
            self._sink.drop("oversized", f"more than {_ENDLESS_BYTES} bytes")
            raise ConnectionError(f"a message of more than {_ENDLESS_BYTES} bytes")

    def _on_answer(self, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            text = str(reply)
            if text.startswith("NOPERM"):
                text += "; the user needs +psubscribe +ping " + " ".join(
                    f"&{name}" for name in self._patterns
                )
            raise ResponseError(text)
        if isinstance(reply, list) and reply[0] == b"psubscribe":
            self._confirmed += 1

    def _check_silence(self) -> None:
        now = time.monotonic()
        if self._asked is None:
            if now - self._heard >= SILENCE_SECONDS:
                self._ask("PING")
            return
        command, since = self._asked
        if now - since >= ANSWER_SECONDS:
            raise SilentError(f"no answer to {command} for {ANSWER_SECONDS:g} s", since=self._heard)

    def _ask(self, *command: str) -> None:
        self._asked = (command[0], time.monotonic())
        self._redis.send_command(*command, check_health=False)


def missing() -> str | None:
    """The attribute that we rely on and these versions of kombu and redis-py do not have; None when all are there."""
    if not hasattr(Connection(), "_sock"):  # type: ignore[no-untyped-call]  # the library's
        return "redis.Connection._sock"
    return missing_for_fanout()


def _socket(connection: Any) -> Any:
    """The socket of a redis-py connection, which reads from it only when asked to."""
    return connection._sock  # noqa: SLF001 - see missing()
