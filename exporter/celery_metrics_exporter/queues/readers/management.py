"""Reads queues from RabbitMQ's management API, and what that tells late or not at all over AMQP.

Owns: which queues are shown, and which of both sources is believed in what. Must not know: HTTP, frames, events,
metrics.

The API finds queues and tells what workers hold (``management_api`` says how old its numbers are). Ready messages and
consumers come from passive declares, which are true at that moment: one round trip more. A queue with ``x-expires`` is
not declared, because that would keep it alive for ever, nor is an exclusive one, which only its own connection may
declare: of these the API's numbers are shown. Streams are no task queues and never shown.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers import BrokerFacts, QueueFacts
from celery_metrics_exporter.queues.readers.amqp_frames import queue_name
from celery_metrics_exporter.queues.readers.amqp_session import Session
from celery_metrics_exporter.queues.readers.management_api import ManagementApi

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.queues.readers.amqp_session import Answers
    from celery_metrics_exporter.queues.readers.management_api import ListedQueue

# kombu/transport/native_delayed_delivery.py, level_name: an application may put a prefix before it
_DELAYED: Final = re.compile(r"(?:.+_)?celery_delayed_\d+", re.DOTALL)
#: What kombu and RabbitMQ take for a URL without user and password.
_GUEST: Final = "guest"
_TASK_QUEUES: Final = frozenset({"classic", "quorum"})
_MISSING: Final = QueueFacts(exists=False, ready=0, unacked=0, consumers=0)


class ManagementReader:
    """The queues of one virtual host; see :class:`queues.readers.BrokerReader`.

    ``round_trip`` is the time that the API took for its answer.
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
        url: of the management API, such as ``https://host:15671``; without user and password those of the broker's
            URL (the first one of a failover list) are used.
        accepts: whether a queue that is found may be shown.
        max_queues: show no more of them; those that are wanted come first.
        timeout: seconds for connecting to either of both, and for the answers of each.
        """
        self._broker = broker
        self._accepts = accepts
        self._max_queues = max_queues
        self._timeout = timeout
        self._session: Session | None = None
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
        """Look at these queues and at all others of the virtual host.

        Returns:
            Facts of all of them, but for those of which the API names no number and AMQP tells nothing either.

        Raises:
            ManagementError: the API's answer is no list of queues.
            OSError: no connection to either of both, or no answer in time.
            amqp.exceptions.AMQPError: the broker closed the connection, or let us not in.
        """
        began = time.monotonic()
        listed = {queue.name: queue for queue in self._api.queues()}
        round_trip = time.monotonic() - began
        shown = [listed[name] for name in self._names(wanted, listed.values())]
        delayed = [queue for queue in listed.values() if _DELAYED.fullmatch(queue.name)]
        answers = self._ask(queue.name for queue in (*shown, *delayed) if _may_be_declared(queue))
        queues = {name: _MISSING for name in wanted if name not in listed}
        for queue in shown:
            facts = _facts(queue, answers)
            if facts is not None:
                queues[queue.name] = facts
        return BrokerFacts(queues=queues, round_trip=round_trip, delayed=_sum_of(delayed, answers))

    def close(self) -> None:
        """Close the connection, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _names(self, wanted: Collection[str], listed: Iterable[ListedQueue]) -> list[str]:
        """Of the queues to show: those that are wanted, then the others by name."""
        candidates = {queue.name: queue for queue in listed if queue.type in _TASK_QUEUES}
        names = [name for name in wanted if name in candidates]
        found = sorted(candidates.keys() - set(names))
        names += [name for name in found if self._is_shown(candidates[name])]
        return names[: self._max_queues]

    def _is_shown(self, queue: ListedQueue) -> bool:
        return not queue.exclusive and not is_internal(queue.name) and self._accepts(queue.name)

    def _ask(self, names: Iterator[str]) -> Answers:
        try:
            if self._session is None:
                self._session = Session(self._broker, self._timeout)
            return self._session.ask(names)
        except BaseException:
            session, self._session = self._session, None
            if session is not None:
                session.abandon()
            raise


def _may_be_declared(queue: ListedQueue) -> bool:
    return not queue.expires and not queue.exclusive and queue_name(queue.name) is not None


def _facts(queue: ListedQueue, answers: Answers) -> QueueFacts | None:
    if queue.name in answers.found:
        ready, consumers = answers.found[queue.name]
        return QueueFacts(exists=True, ready=ready, unacked=queue.unacked, consumers=consumers)
    refusal = answers.refused.get(queue.name)
    if refusal is not None and refusal.missing:
        return _MISSING  # deleted between both answers
    return None if queue.ready is None else QueueFacts(exists=True, ready=queue.ready, unacked=queue.unacked)


def _sum_of(delayed: Iterable[ListedQueue], answers: Answers) -> int | None:
    """Ready messages of all these queues together; None without any, and when one does not tell."""
    facts = [_facts(queue, answers) for queue in delayed]
    known = [each.ready for each in facts if each is not None]
    return sum(known) if known and len(known) == len(facts) else None
