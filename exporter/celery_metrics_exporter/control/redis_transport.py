"""Carry commands to all workers and their replies back over Redis: PUBLISH, and a list of replies that expires.

This module does everything that we write on a Redis broker.

Source of the facts: ``kombu/transport/virtual/base.py`` (``Channel.basic_publish``) and ``kombu/transport/redis.py``.
``Channel._put_fanout`` publishes and ignores how many subscribers Redis counted, so we send its command. A reply to the
default exchange is one LPUSH (``Channel._put``) without any binding. It would make the list again after we have deleted
it, and the list would stay forever. So the list always holds one empty element and has a time to live, until every
worker that received a command has replied.
"""

from __future__ import annotations

import json
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

from redis import Redis

from celery_metrics_exporter.connection.versions import fanout_topics
from celery_metrics_exporter.control.transport import Message, prepared

#: Late replies find the list for so long after our end: longer than a solo worker is busy with one task.
LIFETIME_SECONDS: Final = 86_400
#: Longest envelope that is read: of the longest answer that is read, in base64.
MAX_ENVELOPE_BYTES: Final = 11_000_000
_PLACEHOLDER: Final = b""
_UNREADABLE: Final = Message(b"", None, None, MappingProxyType({}))


class RedisTransport:
    """For Redis. All its commands use one connection and are tried once: kombu asks redis-py for no retries."""

    counts = True

    def __init__(self, connection: Any, queue: str) -> None:
        self._channel = channel = connection.channel()
        # kombu's client for a global_keyprefix knows few commands; this client gets whole keys.
        self._redis: Redis = Redis(connection_pool=channel.pool)
        self._key = f"{channel.global_keyprefix}{queue}"

    def publish(self, message: Message, exchange: str, routing_key: str = "") -> int:
        """Publish to a fanout exchange; returns the number of subscribers."""
        self._channel.exchange_declare(exchange, "fanout")  # in this process only
        content = prepared(self._channel, message)
        self._channel._inplace_augment_message(content, exchange, routing_key)  # noqa: SLF001 - as basic_publish does
        envelope = json.dumps(content)
        topics = fanout_topics(self._channel, exchange, routing_key)
        # Where there are two, they have the same subscribers.
        return max(int(self._redis.publish(topic, envelope)) for topic in topics)

    def take(self, most: int) -> list[Message]:
        """Take replies from the old end of the list; afterwards the list exists and will expire."""
        count = most + 1  # the oldest element is the placeholder
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.lrange(self._key, -count, -1)
            pipe.ltrim(self._key, 0, -count - 1)
            pipe.rpush(self._key, _PLACEHOLDER)
            pipe.expire(self._key, LIFETIME_SECONDS)
            items: list[bytes] = pipe.execute()[0]
        return [self._unpacked(item) for item in reversed(items) if item != _PLACEHOLDER]

    def discard(self) -> None:
        """Delete the list."""
        self._redis.delete(self._key)

    def _unpacked(self, item: bytes) -> Message:
        """The message in an envelope of kombu; one that answers nothing for what no worker would send."""
        with suppress(Exception):  # an odd envelope makes kombu raise anything
            envelope = json.loads(item) if len(item) <= MAX_ENVELOPE_BYTES else {}
            if (
                "compression" not in envelope["headers"]
            ):  # kombu would decompress it, however much that becomes
                raw = self._channel.message_to_python(envelope)
                return Message(raw.body, raw.content_type, raw.content_encoding, raw.headers)
        return _UNREADABLE
