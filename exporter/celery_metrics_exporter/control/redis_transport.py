"""Carry commands to all workers and their replies back over Redis: PUBLISH, and a list of replies that expires.

This module does everything that we write on a Redis broker.

Source of the facts: ``kombu/transport/redis.py``. ``Channel._put_fanout`` publishes and ignores how many subscribers
Redis counted; ``create_publish_batch`` lets us read that answer. A reply to the default exchange is one LPUSH
(``Channel._put``) without any binding. It would make the list again after we have deleted it, and the list would stay
forever. So the list always holds one empty element and has a time to live, until every worker that received a command
has replied.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis import Redis

from celery_metrics_exporter.control.transport import BATCH, Message, prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery_metrics_exporter.control.commands import Tickets

#: Late replies find the list for so long after our end: longer than a solo worker is busy with one task.
LIFETIME_SECONDS: Final = 86_400
#: Longest envelope that is read: the reply of a worker with hundreds of processes and queues is far shorter.
MAX_ENVELOPE_BYTES: Final = 4_000_000
_PLACEHOLDER: Final = b""


class _Headers(msgspec.Struct, frozen=True, gc=False):
    ticket: str = ""
    compression: str | None = None


class _Properties(msgspec.Struct, frozen=True, gc=False):
    body_encoding: str | None = None


class _Envelope(msgspec.Struct, frozen=True, gc=False, rename="kebab"):
    body: str
    headers: _Headers
    properties: _Properties
    content_type: str | None = None
    content_encoding: str | None = None


_decode = msgspec.json.Decoder(_Envelope).decode


class RedisTransport:
    """For Redis. All its commands use one connection and are tried once: kombu asks redis-py for no retries."""

    counts = True

    def __init__(self, connection: Any, exchange: str, queue: str, tickets: Tickets) -> None:
        self._channel = channel = connection.channel()
        self._exchange = exchange
        self._tickets = tickets
        channel.exchange_declare(exchange, "fanout")  # in this process only
        # kombu's client for a global_keyprefix knows few commands; this client gets whole keys.
        self._redis: Redis = Redis(connection_pool=channel.pool)
        self._key = f"{channel.global_keyprefix}{queue}"
        self._early: list[Message] = []

    def open_replies(self) -> None:
        """Make the list, or renew its time to live; the replies in it are kept for :meth:`take`."""
        self._early += self._swap()

    def send(self, message: Message) -> int:
        """Send to all workers; returns the number of subscribers."""
        return self._publish(prepared(self._channel, message), self._exchange, "")

    def send_event(
        self, message: Message, exchange: str, routing_key: str, headers: Mapping[str, object]
    ) -> bool:
        """Send to all receivers of events."""
        self._channel.exchange_declare(exchange, "fanout")  # in this process only
        self._publish(prepared(self._channel, message, headers), exchange, routing_key)
        return True

    def _publish(self, message: Any, exchange: str, routing_key: str) -> int:
        batch = self._channel.create_publish_batch(
            10
        )  # with 10 messages it would send them and ignore the answers
        try:
            batch.publish(message, exchange=exchange, routing_key=routing_key)
            taken: list[Any] = batch.pipeline.execute(raise_on_error=False)
        finally:
            batch.close()
        for error in taken:
            if isinstance(error, Exception):
                raise error
        # With sentinel_fanout_compat there are two channels, with the same subscribers.
        return int(max(taken))

    def take(self) -> list[Message]:
        """Take the next batch of replies."""
        early, self._early = self._early, []
        return early + self._swap()

    def discard(self) -> None:
        """Discard the replies that have arrived."""
        self._redis.delete(self._key)

    def close_replies(self) -> None:
        """Delete the list; while replies are missing it stays, and expires."""
        if self._tickets.settled:
            self._redis.delete(self._key)

    def _swap(self) -> list[Message]:
        """Take a batch from the old end of the list; afterwards the list exists and will expire."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.lrange(self._key, -BATCH, -1)
            pipe.ltrim(self._key, 0, -BATCH - 1)
            pipe.rpush(self._key, _PLACEHOLDER)
            pipe.expire(self._key, LIFETIME_SECONDS)
            items: list[bytes] = pipe.execute()[0]
        messages = (_unpacked(item) for item in reversed(items) if item != _PLACEHOLDER)
        return [message for message in messages if message is not None]


def _unpacked(item: bytes) -> Message | None:
    """The message in an envelope of kombu; None for anything that a worker would not send."""
    if len(item) > MAX_ENVELOPE_BYTES:
        return None
    try:
        envelope = _decode(item)
        if envelope.headers.compression is not None:
            return None
        body = envelope.body
        return Message(
            binascii.a2b_base64(body) if envelope.properties.body_encoding == "base64" else body,
            envelope.content_type,
            envelope.content_encoding,
            envelope.headers.ticket,
        )
    except (msgspec.MsgspecError, ValueError):
        return None
