"""The queue reader for RabbitMQ over AMQP: only passive declares, which create nothing and need no permission.

RabbitMQ logs an error for each passive declare of a queue that does not exist. So a missing queue is declared again in
the next reading, then after 2, 4, ... readings, up to a limit: a queue that comes back is found after at most twice the
time for which it was away.

A reading takes one round trip while the known queues still exist; for all others ``amqp_session`` bounds the number of
round trips. A declare counts as use of a classic queue, so that its ``x-expires`` never runs out while it is read
(``rabbit_amqqueue_process.erl``, ``handle_call`` of ``stat``); a quorum queue does expire.

Source of the facts: ``kombu/transport/native_delayed_delivery.py`` (the queues that hold messages until their eta).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kombu.transport.native_delayed_delivery import MAX_LEVEL, level_name

from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.readers import BrokerFacts, QueueFacts
from celery_metrics_exporter.queues.readers.amqp_frames import queue_name
from celery_metrics_exporter.queues.readers.amqp_session import AmqpSession

if TYPE_CHECKING:
    from collections.abc import Collection

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.queues.readers.amqp_session import Answers, Refusal

log = logging.getLogger(__name__)

#: Missing queues that are declared again in one reading, at most.
PROBES: Final = 10
#: Longest pause before a missing queue is declared again, in readings: half a minute at the default interval.
LONGEST_PAUSE: Final = 6
#: The same for the queues of native delayed delivery, which most brokers do not have: an hour.
LONGEST_DELAYED_PAUSE: Final = 720

_MISSING: Final = QueueFacts(exists=False, ready=0, consumers=0)
_DELAYED: Final = tuple(level_name(level) for level in range(MAX_LEVEL + 1))
#: Celery declares this one last: when it exists, all the others do.
_LAST_DELAYED: Final = _DELAYED[0]


@dataclass(slots=True)
class _RefusedQueue:
    """A queue whose declare was refused, and the reading in which to declare it again."""

    missing: bool
    due: int
    pause: int = 1

    def postpone(self, refusal: Refusal, reading: int, longest: int) -> None:
        """Double the pause: the queue was refused once more."""
        self.missing = refusal.missing
        self.pause = min(2 * self.pause, longest)
        self.due = reading + self.pause


class AmqpReader:
    """Reads the queues of one virtual host; a :class:`queues.readers.BrokerReader`.

    It reads only the wanted queues: AMQP cannot list queues. ``round_trip`` is the time until the first answer.
    """

    def __init__(self, broker: Broker, *, timeout: float = 3.0) -> None:
        """Args:
        broker: a RabbitMQ.
        timeout: seconds for connecting, and for all answers of a reading.
        """
        self._session = AmqpSession(broker, timeout)
        self._reading = 0
        self._known: set[str] = set()
        self._refused: dict[str, _RefusedQueue] = {}
        self._delayed = False
        self._delayed_refused = _RefusedQueue(missing=True, due=0)

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues.

        Returns:
            Facts of these queues, without those that the broker cannot read (locked by another connection, on a node
            that is down) and those that did not fit into the round trips of one reading.

        Raises:
            OSError: no connection, or no answer in time.
            amqp.exceptions.AMQPError: the broker closed or refused the connection.
        """
        self._reading += 1
        names = {name for name in wanted if queue_name(name) is not None}
        self._known &= names
        self._refused = {name: queue for name, queue in self._refused.items() if name in names}
        answers = self._ask(names)
        self._update(names, answers)
        delayed = self._sum_of_delayed(answers)
        queues = {name: facts for name in wanted if (facts := self._facts(name, answers)) is not None}
        return BrokerFacts(queues=queues, round_trip=answers.round_trip, delayed=delayed)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._session.close()

    def _ask(self, names: set[str]) -> Answers:
        existing = sorted(self._known)
        uncertain = sorted(names - self._known - self._refused.keys())
        due = [name for name, queue in self._refused.items() if queue.due <= self._reading]
        due.sort(key=lambda name: self._refused[name].due)
        uncertain += due[:PROBES]
        if self._delayed:
            existing += _DELAYED
        elif self._delayed_refused.due <= self._reading:
            uncertain.append(_LAST_DELAYED)
        return self._session.ask(existing, uncertain)

    def _update(self, names: set[str], answers: Answers) -> None:
        """Remember which of these queues exist, and when to declare the others again."""
        for name in names & answers.found.keys():
            self._known.add(name)
            self._refused.pop(name, None)
        for name in names & answers.refused.keys():
            self._known.discard(name)
            refusal, refused = answers.refused[name], self._refused.get(name)
            if refused is None or refused.missing != refusal.missing:
                self._refused[name] = _RefusedQueue(missing=refusal.missing, due=self._reading + 1)
                if not refusal.missing:
                    log.warning(
                        "cannot read a queue, leaving it out", extra=fields(queue=name, error=refusal.text)
                    )
            else:
                refused.postpone(refusal, self._reading, LONGEST_PAUSE)

    def _sum_of_delayed(self, answers: Answers) -> int | None:
        """Messages in all queues of native delayed delivery; None unless all of them were read."""
        refusal = next((answers.refused[name] for name in _DELAYED if name in answers.refused), None)
        if refusal is not None:
            self._delayed = False
            self._delayed_refused.postpone(refusal, self._reading, LONGEST_DELAYED_PAUSE)
        elif _LAST_DELAYED in answers.found and not self._delayed:
            self._delayed = True
            self._delayed_refused = _RefusedQueue(missing=True, due=0)
        found = [answers.found[name][0] for name in _DELAYED if name in answers.found]
        return sum(found) if len(found) == len(_DELAYED) else None

    def _facts(self, name: str, answers: Answers) -> QueueFacts | None:
        if name in answers.found:
            ready, consumers = answers.found[name]
            return QueueFacts(exists=True, ready=ready, consumers=consumers)
        refused = self._refused.get(name)
        if refused is None:  # the name is invalid, or the round trips did not suffice
            return _MISSING if queue_name(name) is None else None
        return _MISSING if refused.missing else None
