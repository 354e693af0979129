"""Takes Celery's events off Redis as they are on the wire: envelopes opened, bodies kept byte for byte."""

import base64
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import PubSub

from tests.waiting import wait_for

# kombu/transport/redis.py: a fanout exchange is the channels /<db>.<exchange>/<routing key>
_CHANNELS = "/0.celeryev/"
_END = _CHANNELS + "recording.end"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the event exchange."""

    routing_key: str
    headers: dict[str, Any]
    content_type: str
    body: bytes


class Listener:
    """A subscription to all events of database 0, which starts before ``__init__`` returns.

    Nothing reads in the background: each question first takes in what has arrived.
    """

    def __init__(self, broker_url: str) -> None:
        self.messages: list[Message] = []
        self._seen: Counter[tuple[str, str]] = Counter()
        self._redis = Redis.from_url(broker_url)
        self._pubsub = PubSub(self._redis.connection_pool)
        self._pubsub.psubscribe(_CHANNELS + "*")
        wait_for(lambda: self._pubsub.get_message(timeout=1), timeout=10, what="the subscription")
        self._ended = False

    def seen(self, event_type: str, subject: str) -> int:
        """How many events of this type came about ``subject``: a task's id, or a worker's node name."""
        self._drain()
        return self._seen[event_type, subject]

    def finish(self) -> tuple[Message, ...]:
        """Return all messages, in order of arrival, that were published before this call."""
        self._redis.publish(_END, b"")
        wait_for(self._drain, timeout=10, what="the end of the event stream")
        self._pubsub.close()
        self._redis.close()
        return tuple(self.messages)

    def _drain(self) -> bool:
        while (received := self._pubsub.get_message(timeout=0)) is not None:
            if received["type"] != "pmessage":
                continue
            if received["channel"].decode() == _END:
                self._ended = True
            else:
                self._take(received["data"])
        return self._ended

    def _take(self, payload: bytes) -> None:
        envelope = json.loads(payload)
        delivery = envelope["properties"]["delivery_info"]
        body = base64.b64decode(envelope["body"], validate=True)
        self.messages.append(
            Message(delivery["routing_key"], envelope["headers"], envelope["content-type"], body)
        )
        decoded = json.loads(body)
        for event in decoded if isinstance(decoded, list) else [decoded]:
            self._seen[event["type"], event.get("uuid", event["hostname"])] += 1
