"""The queue reader for RabbitMQ over AMQP: only passive declares, which create nothing.

RabbitMQ logs an error for each passive declare of a queue that does not exist. So a missing queue is declared again in
the next reading, then after 2, 4, ... readings, up to a limit: a queue that comes back is found after at most twice the
time for which it was away.

From 4.2.6 on a passive declare needs a permission on the queue; without one it is not known whether the queue is there,
and it is left out (``amqp_rights``). A stream counts all its messages, which nothing in the answer shows.

A reading takes one round trip while the known queues still exist; for all others ``amqp_session`` bounds the number of
round trips. A declare counts as use of a classic queue, so that its ``x-expires`` never runs out while it is read
(``rabbit_amqqueue_process.erl``, ``handle_call`` of ``stat``); a quorum queue does expire.

Source of the facts: ``kombu/transport/native_delayed_delivery.py`` (``level_name``, ``MAX_LEVEL``: the queues that hold
messages until their eta, since kombu 5.5).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final, NamedTuple

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.readers.amqp_frames import is_queue_name
from celery_metrics_exporter.queues.readers.amqp_rights import is_forbidden
from celery_metrics_exporter.queues.readers.amqp_session import AmqpSession, Answers, is_missing

log = logging.getLogger(__name__)

#: Missing queues that are declared again in one reading, at most.
PROBES: Final = 10
#: Longest pause before a missing queue is declared again, in readings: half a minute at the default interval.
LONGEST_PAUSE: Final = 6
#: The same for the queues of native delayed delivery, which most brokers do not have: an hour.
LONGEST_DELAYED_PAUSE: Final = 720

_MISSING: Final = QueueFacts(exists=False, ready=0, consumers=0)
_DELAYED: Final = tuple(f"celery_delayed_{level}" for level in range(28))
#: Celery declares this one last: when it exists, all the others do. It is read whether or not it is wanted.
_LAST_DELAYED: Final = _DELAYED[0]


class _RefusedQueue(NamedTuple):
    """A queue whose declare was refused, and the reading in which to declare it again."""

    missing: bool
    due: int
    pause: int


class AmqpReader:
    """Reads the queues of one virtual host; a :class:`queues.readers.BrokerReader`.

    It reads only the wanted queues: AMQP cannot list queues. ``round_trip`` is the time until the first answer.
    """

    def __init__(self, broker: Broker, *, timeout: float = 3.0) -> None:
        """``timeout``: seconds for connecting, and for all answers of a reading."""
        self._session = AmqpSession(broker, timeout)
        self._reading = 0
        self._known: set[str] = set()
        self._refused = {_LAST_DELAYED: _RefusedQueue(missing=True, due=0, pause=1)}  # as most brokers do

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues.

        Returns:
            Facts of these queues, without those that the broker cannot read (locked by another connection, on a node
            that is down), those that it forbids us to read, and those that did not fit into the round trips of one
            reading.

        Raises:
            OSError: no connection, or no answer in time.
            amqp.exceptions.AMQPError: the broker closed or refused the connection.
        """
        self._reading += 1
        names = {name for name in wanted if is_queue_name(name)} | {_LAST_DELAYED}
        self._known &= names
        self._refused = {name: queue for name, queue in self._refused.items() if name in names}
        answers = self._ask(names)
        self._update(names, answers)
        forbidden = tuple(name for name in wanted if name in self._session.forbidden)
        self._session.forbidden.tell(forbidden)
        delayed = [answers.found[name][0] for name in _DELAYED if name in answers.found]
        return BrokerFacts(
            queues={name: facts for name in wanted if (facts := self._facts(name, answers)) is not None},
            round_trip=answers.round_trip,
            delayed=sum(delayed) if len(delayed) == len(_DELAYED) else None,
            forbidden=forbidden,
        )

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._session.close()

    def _ask(self, names: set[str]) -> Answers:
        existing = sorted(self._known)
        if _LAST_DELAYED in self._known:
            existing += _DELAYED[1:]
        uncertain = sorted(names - self._known - self._refused.keys())
        due = [name for name, queue in self._refused.items() if queue.due <= self._reading]
        due.sort(key=lambda name: self._refused[name].due)
        answers = self._session.ask(existing, [*uncertain, *due[:PROBES]])
        for name in _DELAYED:  # without one of them, all are declared again as seldom as the last one
            if name in answers.refused and not is_forbidden(answers.refused[name]):
                answers.found.pop(_LAST_DELAYED, None)
                answers.refused[_LAST_DELAYED] = answers.refused[name]
        return answers

    def _update(self, names: set[str], answers: Answers) -> None:
        """Remember which of these queues exist, and when to declare the others again."""
        for name in names & answers.found.keys():
            self._known.add(name)
            self._refused.pop(name, None)
        for name in names & answers.refused.keys():
            self._known.discard(name)
            if is_forbidden(answers.refused[name]):
                self._refused.pop(name, None)
                continue
            missing, before = is_missing(answers.refused[name]), self._refused.get(name)
            pause = 1
            if before is not None and before.missing == missing:
                pause = min(
                    2 * before.pause, LONGEST_DELAYED_PAUSE if name == _LAST_DELAYED else LONGEST_PAUSE
                )
            elif not missing:
                log.warning(
                    "cannot read a queue, leaving it out",
                    extra=fields(queue=name, error=answers.refused[name]),
                )
            self._refused[name] = _RefusedQueue(missing, self._reading + pause, pause)

    def _facts(self, name: str, answers: Answers) -> QueueFacts | None:
        if name in answers.found:
            ready, consumers = answers.found[name]
            return QueueFacts(exists=True, ready=ready, consumers=consumers)
        refused = self._refused.get(name)
        if refused is None:  # the name is invalid, or forbidden, or the round trips did not suffice
            return None if is_queue_name(name) else _MISSING
        return _MISSING if refused.missing else None
