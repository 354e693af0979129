"""The queue reader for RabbitMQ with its management API; ready messages and consumers are read over AMQP.

The API lists queues and their unacknowledged messages (``management_api`` says how old its numbers are). Ready messages
and consumers come from passive declares, which are exact: one more round trip. Two kinds of queues are not declared,
and have the API's numbers: a queue with ``x-expires``, which declares would keep alive forever, and an exclusive queue,
which only its own connection may declare. So has a queue that we may not declare (``amqp_rights``), with its consumers:
one more request. Streams are no task queues and are never shown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.labels import has_shared_label
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers.amqp_frames import is_queue_name
from celery_metrics_exporter.queues.readers.amqp_session import AmqpSession, Answers, is_missing
from celery_metrics_exporter.queues.readers.management_api import ListedQueue, ManagementApi

# kombu/transport/native_delayed_delivery.py, level_name: an application may put a prefix before it
_DELAYED: Final = re.compile(r"(?:.+_)?celery_delayed_\d+", re.DOTALL)
#: User and password of a URL that has none, in kombu and RabbitMQ.
_GUEST: Final = "guest"
_TASK_QUEUES: Final = frozenset({"classic", "quorum"})
#: Readings until queues that we may not declare are tried again: an hour at the default interval, for the API tells of
#: them, and RabbitMQ logs an error each time.
_PAUSE: Final = 720
_MISSING: Final = QueueFacts(exists=False, ready=0, unacked=0, consumers=0)


class ManagementReader:
    """Reads the queues of one virtual host; a :class:`queues.readers.BrokerReader`.

    ``round_trip`` is the time until the API has answered.
    """

    def __init__(
        self,
        broker: Broker,
        url: str,
        *,
        accepts: Callable[[str], bool],
        max_queues: int,
        timeout: float = 3.0,
    ) -> None:
        """Args:
        broker: a RabbitMQ; its URL names the virtual host.
        url: of the management API, such as ``https://host:15671``; without user and password it uses those of the
            broker's URL (of the first one of a failover list).
        accepts, max_queues: see :func:`queues.readers.choosing.reader_for`.
        timeout: seconds for connecting to the API and to AMQP each, and for the answers of each.
        """
        self._accepts = accepts
        self._max_queues = max_queues
        self._session = AmqpSession(broker, timeout, pause=_PAUSE)
        settings: Any = broker.app.connection_for_read(url=broker.url)  # not connected, only read
        password = settings.password
        self._api = ManagementApi(
            url,
            settings.virtual_host,
            credentials=(
                settings.userid or _GUEST,
                str(password() if callable(password) else password or _GUEST),
            ),
            tls=broker.app.conf.broker_use_ssl,
            timeout=timeout,
        )

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues and all others of the virtual host.

        Returns:
            Facts of these queues, without those whose length neither the API nor AMQP knows.

        Raises:
            ManagementError: the API's answer is not a list of queues.
            OSError: no connection to the API or the broker, or no answer in time.
            amqp.exceptions.AMQPError: the broker closed or refused the connection.
        """
        began = time.monotonic()
        listed = {queue.name: queue for queue in self._api.queues()}
        round_trip = time.monotonic() - began
        tasks = {name: queue for name, queue in listed.items() if queue.type in _TASK_QUEUES}
        names = [name for name in wanted if name in tasks]
        found = sorted(name for name in tasks.keys() - set(names) if self._is_shown(tasks[name]))
        names += sorted(found, key=has_shared_label)
        shown = [tasks[name] for name in names[: self._max_queues]]
        delayed = [queue for queue in listed.values() if _DELAYED.fullmatch(queue.name)]
        answers = self._session.ask(queue.name for queue in (*shown, *delayed) if _may_be_declared(queue))
        consumers = self._api.consumers() if self._session.forbidden else {}
        queues = {name: _MISSING for name in wanted if name not in listed}
        for queue in shown:
            facts = _facts(queue, answers, consumers)
            if facts is not None:
                queues[queue.name] = facts
        return BrokerFacts(queues=queues, round_trip=round_trip, delayed=_sum_of(delayed, answers))

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._session.close()

    def _is_shown(self, queue: ListedQueue) -> bool:
        return not queue.exclusive and not is_internal(queue.name) and self._accepts(queue.name)


def _may_be_declared(queue: ListedQueue) -> bool:
    return not queue.expires and not queue.exclusive and is_queue_name(queue.name)


def _facts(queue: ListedQueue, answers: Answers, consumers: Mapping[str, int | None]) -> QueueFacts | None:
    if queue.name in answers.found:
        ready, consuming = answers.found[queue.name]
        return QueueFacts(exists=True, ready=ready, unacked=queue.unacked, consumers=consuming)
    if is_missing(answers.refused.get(queue.name, "")):
        return _MISSING  # deleted between the answers of the API and of AMQP
    if queue.ready is None:
        return None
    return QueueFacts(
        exists=True, ready=queue.ready, unacked=queue.unacked, consumers=consumers.get(queue.name)
    )


def _sum_of(delayed: Iterable[ListedQueue], answers: Answers) -> int | None:
    """Ready messages of all these queues together; None without queues, and when one of them is not known."""
    facts = [_facts(queue, answers, {}) for queue in delayed]
    known = [each.ready for each in facts if each is not None]
    return sum(known) if known and len(known) == len(facts) else None
