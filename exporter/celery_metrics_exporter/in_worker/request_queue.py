"""Tells from which queue a request of this worker came, when its message was published, and to which trace it belongs.

Source of the facts: ``kombu/messaging.py`` (``Consumer``: a tag for each queue), ``amqp/channel.py``
(``_on_basic_deliver``: it is in ``delivery_info``), ``kombu/transport/SQS`` (``sqs_queue``, a URL),
``kombu/transport/virtual`` (``delivery_info`` is the sender's, with exchange and routing key, but without a queue;
``exchange.py`` routes by them).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from kombu.transport import virtual
from kombu.transport.virtual.exchange import STANDARD_EXCHANGE_TYPES, FanoutExchange

from celery_metrics_exporter.events.plausibility import MAX_AHEAD_SECONDS, MAX_BEHIND_SECONDS
from celery_metrics_exporter.facts import Binding
from celery_metrics_exporter.in_worker.publishing import PUBLISHED_HEADER, RETRIES_HEADER

#: Longest routing key that is looked up: AMQP has no longer one, and to try a topic pattern on it takes long.
_MAX_KEY: Final = 255
#: Destinations, and tags, whose queue is remembered.
_MAX_REMEMBERED: Final = 1000
_TRACE_HEADER: Final = "traceparent"
#: https://www.w3.org/TR/trace-context: version (ff is invalid), trace id, parent id and flags; neither id is zero. What
#: comes after version 00 may have more.
_TRACEPARENT: Final = re.compile(
    r"(?!ff|00-.{52}.)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f][13579bdf](?:-.*)?"
)


def trace_of(request: Any) -> str | None:
    """The trace to which the message of a request belongs, as in ``exemplar.Traced``. Never raises.

    Its publisher may have written the header ``traceparent`` of W3C's Trace Context, as OpenTelemetry does. Of a trace
    that is not sampled, as its last flag tells, nothing is kept anywhere.
    """
    headers = request.message.headers
    value = headers.get(_TRACE_HEADER) if type(headers) is dict else None
    found = _TRACEPARENT.fullmatch(value) if type(value) is str else None
    return None if found is None else f"{found[1]}-{found[2]}"


def published_at(request: Any) -> float | None:
    """When the message of a request was published: epoch seconds by the publisher's clock. Never raises.

    Args:
        request: a ``celery.worker.request.Request``.

    Returns:
        The time in the header that :func:`publishing.stamp_publications` wrote; None if there is none, it is no
        plausible time, or it is that of an earlier attempt.
    """
    headers, facts = request.message.headers, request.request_dict
    if type(headers) is not dict or type(facts) is not dict:
        return None
    published = headers.get(PUBLISHED_HEADER)
    if type(published) is not float and type(published) is not int:
        return None
    now = time.time()
    if not now - MAX_BEHIND_SECONDS < published < now + MAX_AHEAD_SECONDS:  # nor is NaN
        return None
    retries = facts.get("retries")
    return None if retries and headers.get(RETRIES_HEADER) != retries else float(published)


class _Entry(NamedTuple):
    """A binding of a consumed queue as kombu keeps it: a row in the table of an exchange of this kind."""

    exchange: str
    kind: Any
    row: tuple[Any, ...]


class RequestQueues:
    """The queues of a worker's consumer, by what a delivery tells. Follows reconnects and changes of the queues."""

    def __init__(self, consumer: Any) -> None:
        """Args:
        consumer: a ``celery.worker.consumer.Consumer``.
        """
        self._consumer = consumer
        self._consumed: tuple[object, ...] = ()
        self._has_tags = self._has_urls = False
        self._by_tag: dict[str, str] = {}
        self._names: frozenset[str] = frozenset()
        self._entries: tuple[_Entry, ...] = ()
        self._by_destination: dict[tuple[object, object], str | None] = {}
        self._by_url: dict[str, str | None] = {}

    def queue_of(self, request: Any) -> str | None:
        """The name of the queue from which a request came; None if that cannot be told.

        Args:
            request: a ``celery.worker.request.Request`` of this worker.
        """
        delivery, consumer = request.message.delivery_info, self._consumer.task_consumer
        if type(delivery) is not dict or consumer is None:
            return None
        self._follow(consumer)
        tag = delivery.get("consumer_tag") if self._has_tags else None
        if tag is not None:
            return self._by_tag.get(tag)
        url = delivery.get("sqs_queue") if self._has_urls else None
        queue = None if url is None else self._of_url(url, consumer.channel)
        if queue is not None:
            return queue
        exchange, key = delivery.get("exchange"), delivery.get("routing_key")
        try:
            return self._by_destination[exchange, key]
        except (KeyError, TypeError):  # new, or no strings
            return self._remember(exchange, key)

    def _remember(self, exchange: object, key: object) -> str | None:
        """Look up a destination; the result is kept as long as there is room."""
        if type(exchange) is not str or type(key) is not str or len(key) > _MAX_KEY:
            return None
        queue = self._lookup(exchange, key)
        if len(self._by_destination) < _MAX_REMEMBERED:
            self._by_destination[exchange, key] = queue
        return queue

    def _lookup(self, exchange: str, key: str) -> str | None:
        if not exchange:  # the default exchange delivers to the queue of this name
            return key if key in self._names else None
        found = {
            queue
            for entry in self._entries
            if entry.exchange == exchange
            for queue in entry.kind.lookup([entry.row], exchange, key, None)
        }
        return found.pop() if len(found) == 1 else None

    def _of_url(self, url: str, channel: Any) -> str | None:
        """The queue with this URL at SQS (``Channel._resolve_queue_url``), where ``a.b`` and ``a-b`` are the same."""
        if url in self._by_url:
            return self._by_url[url]
        found = []
        for name in self._names:
            entity = channel.canonical_queue_name(name)
            predefined = channel.predefined_queues.get(entity)
            if url == predefined["url"] if predefined else url.rpartition("/")[2] == entity:
                found.append(name)
        queue = found[0] if len(found) == 1 else None
        if len(self._by_url) < _MAX_REMEMBERED:
            self._by_url[url] = queue
        return queue

    def _follow(self, consumer: Any) -> None:
        """Take over the queues that are consumed now, if they have changed: each new consumption has a new tag."""
        tags = consumer._active_tags  # noqa: SLF001 - nothing else has the tags
        consumed = (consumer, len(tags), next(reversed(tags.values()), None))
        if consumed == self._consumed:
            return
        self._consumed = consumed
        # Elsewhere senders might claim them.
        self._has_tags = not isinstance(consumer.channel, virtual.Channel)
        self._has_urls = hasattr(consumer.channel, "canonical_queue_name")
        if len(self._by_tag) > _MAX_REMEMBERED:
            self._by_tag.clear()
        # What was delivered before a queue was cancelled still comes; no tag is given twice in a process.
        self._by_tag.update((tag, queue) for queue, tag in tags.items())
        queues = consumer.queues
        self._names = frozenset(queue.name for queue in queues)
        self._entries = tuple(
            _entry(binding, consumer.channel) for queue in queues for binding in bindings_of(queue)
        )
        self._by_destination.clear()
        self._by_url.clear()


def bindings_of(queue: Any) -> Iterator[Binding]:
    """The bindings of a ``kombu.Queue``, which has one exchange and key, or several (``kombu/entity.py``)."""
    for bound in queue.bindings or (queue,):
        if bound.exchange is not None and bound.exchange.name:
            yield Binding(queue.name, bound.exchange.name, bound.exchange.type, bound.routing_key or "")


def _entry(binding: Binding, channel: Any) -> _Entry:
    # Of an exchange of any other kind nobody can tell which of its queues gets a message.
    kind = STANDARD_EXCHANGE_TYPES.get(binding.kind, FanoutExchange)(channel)
    return _Entry(
        binding.exchange, kind, kind.prepare_bind(binding.queue, binding.exchange, binding.key, None)
    )
