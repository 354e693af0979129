"""The way to all workers and back on Redis: PUBLISH, and a list of answers that cannot outlive us for long.

Owns: the list of answers, its time to live, and everything that we write on a Redis broker. Must not know: what is
asked, what an answer means.

Source of the facts: ``kombu/transport/redis.py``. ``Channel._put_fanout`` publishes and forgets how many subscribers
Redis counted; ``create_publish_batch`` leaves the answer to us. An answer to the default exchange is one LPUSH
(``Channel._put``), without any binding, and makes the list anew if it is gone: after our end, for ever. So the list
always holds one empty element and expires, whatever comes later, unless all who took a question have answered.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis import Redis

from celery_metrics_exporter.control.post import BATCH, Letter, prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery_metrics_exporter.control.commands import Tickets

#: Seconds for which late answers find the list after our end: longer than a solo worker is busy with one task.
LIFETIME_SECONDS: Final = 86_400
#: An answer of a worker with hundreds of processes and queues is far below.
MAX_ENVELOPE: Final = 4_000_000
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


class RedisPost:
    """All commands go over one connection, each tried once: kombu asks redis-py for no retries."""

    counts = True

    def __init__(self, connection: Any, exchange: str, queue: str, tickets: Tickets) -> None:
        self._channel = channel = connection.channel()
        self._exchange = exchange
        self._tickets = tickets
        channel.exchange_declare(exchange, "fanout")  # in this process alone
        # kombu's client with a global_keyprefix knows few commands; this one is given whole keys.
        self._redis: Redis = Redis(connection_pool=channel.pool)
        self._key = f"{channel.global_keyprefix}{queue}"
        self._early: list[Letter] = []

    def prepare(self) -> None:
        """Make the list, or renew its time to live; what is in it already is kept for :meth:`take`."""
        self._early += self._swap()

    def send(self, letter: Letter) -> int:
        """Send to all workers; returns how many are subscribed."""
        return self._publish(prepared(self._channel, letter), self._exchange, "")

    def send_event(
        self, letter: Letter, exchange: str, routing_key: str, headers: Mapping[str, object]
    ) -> bool:
        """Send to those who receive events."""
        self._channel.exchange_declare(exchange, "fanout")  # in this process alone
        self._publish(prepared(self._channel, letter, headers), exchange, routing_key)
        return True

    def _publish(self, message: Any, exchange: str, routing_key: str) -> int:
        batch = self._channel.create_publish_batch(10)  # at so many it would send them, and drop the answers
        try:
            batch.publish(message, exchange=exchange, routing_key=routing_key)
            taken: list[Any] = batch.pipeline.execute(raise_on_error=False)
        finally:
            batch.close()
        for error in taken:
            if isinstance(error, Exception):
                raise error
        # With sentinel_fanout_compat there are two topics, which the same clients subscribe to.
        return int(max(taken))

    def take(self) -> list[Letter]:
        """The answers that came."""
        early, self._early = self._early, []
        return early + self._swap()

    def discard(self) -> None:
        """Throw away the answers that came."""
        self._redis.delete(self._key)

    def leave(self) -> None:
        """Delete the list; while answers are missing it stays for them, and expires with them."""
        if self._tickets.settled:
            self._redis.delete(self._key)

    def _swap(self) -> list[Letter]:
        """Take a batch from the old end of the list; the list is there afterwards, and will expire."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.lrange(self._key, -BATCH, -1)
            pipe.ltrim(self._key, 0, -BATCH - 1)
            pipe.rpush(self._key, _PLACEHOLDER)
            pipe.expire(self._key, LIFETIME_SECONDS)
            items: list[bytes] = pipe.execute()[0]
        letters = (_letter(item) for item in reversed(items) if item != _PLACEHOLDER)
        return [letter for letter in letters if letter is not None]


def _letter(item: bytes) -> Letter | None:
    """What is in kombu's envelope; None for anything that a worker would not send."""
    if len(item) > MAX_ENVELOPE:
        return None
    try:
        envelope = _decode(item)
        if envelope.headers.compression is not None:
            return None
        body = envelope.body
        return Letter(
            binascii.a2b_base64(body) if envelope.properties.body_encoding == "base64" else body,
            envelope.content_type,
            envelope.content_encoding,
            envelope.headers.ticket,
        )
    except (msgspec.MsgspecError, ValueError):
        return None
