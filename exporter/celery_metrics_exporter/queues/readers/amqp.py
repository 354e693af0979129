"""Reads queues from RabbitMQ over AMQP: passive declares only, which make nothing and need no permission.

Owns: which queues are asked for in which reading, and what their answers mean. Must not know: how they are asked for,
events, metrics.

RabbitMQ writes an error into its log for each queue that is asked for in vain, so a queue that was not there is asked
for again in the next reading, then after twice as many readings each time, up to a limit. One that comes back is thus
seen after twice the time for which it was away, at most.

A reading takes one round trip as long as the queues that were there are still there; ``amqp_session`` has the bound
for all others. A declare counts as use of a classic queue, so that its ``x-expires`` never runs out while we look
(``rabbit_amqqueue_process.erl``, ``handle_call`` of ``stat``); that of a quorum queue does.

Source of the facts: ``kombu/transport/native_delayed_delivery.py`` (the queues that hold messages for their eta).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kombu.transport.native_delayed_delivery import MAX_LEVEL, level_name

from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.readers import BrokerFacts, QueueFacts
from celery_metrics_exporter.queues.readers.amqp_frames import queue_name
from celery_metrics_exporter.queues.readers.amqp_session import Session

if TYPE_CHECKING:
    from collections.abc import Collection

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.queues.readers.amqp_session import Answers, Refusal

log = logging.getLogger(__name__)

#: Queues that are asked for although they were not there, in one reading at most.
PROBES: Final = 10
#: Readings until a queue that was not there is asked for again, at most: half a minute at the default interval.
LONGEST_PAUSE: Final = 6
#: The same for native delayed delivery, which most brokers never see: an hour.
LONGEST_DELAYED_PAUSE: Final = 720

_MISSING: Final = QueueFacts(exists=False, ready=0, consumers=0)
_DELAYED: Final = tuple(level_name(level) for level in range(MAX_LEVEL + 1))
#: Declared last, so that all others are there when it is.
_DELAYED_SIGN: Final = _DELAYED[0]


@dataclass(slots=True)
class _Away:
    """A queue of which the broker told nothing, and the reading in which to ask for it again."""

    missing: bool
    due: int
    pause: int = 1

    def again(self, refusal: Refusal, reading: int, longest: int) -> None:
        """It was refused once more."""
        self.missing = refusal.missing
        self.pause = min(2 * self.pause, longest)
        self.due = reading + self.pause


class AmqpReader:
    """The queues of one virtual host; see :class:`queues.readers.BrokerReader`.

    It finds no queues by itself. ``round_trip`` is the time until the first answer.
    """

    def __init__(self, broker: Broker, *, timeout: float = 3.0) -> None:
        """Args:
        broker: a RabbitMQ.
        timeout: seconds for connecting, and for all answers of a reading.
        """
        self._broker = broker
        self._timeout = timeout
        self._session: Session | None = None
        self._reading = 0
        self._known: set[str] = set()
        self._away: dict[str, _Away] = {}
        self._delayed = False
        self._delayed_away = _Away(missing=True, due=0)

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Look at these queues.

        Returns:
            Facts of all of them, but for those that are out of our reach (locked by another connection, on a node
            that is down) and those that were not reached in the round trips of one reading.

        Raises:
            OSError: no connection, or no answer in time.
            amqp.exceptions.AMQPError: the broker closed the connection, or let us not in.
        """
        self._reading += 1
        names = {name for name in wanted if queue_name(name) is not None}
        self._known &= names
        self._away = {name: away for name, away in self._away.items() if name in names}
        answers = self._ask(names)
        self._learn(names, answers)
        delayed = self._sum_of_delayed(answers)
        queues = {name: facts for name in wanted if (facts := self._facts(name, answers)) is not None}
        return BrokerFacts(queues=queues, round_trip=answers.round_trip, delayed=delayed)

    def close(self) -> None:
        """Close the connection, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _ask(self, names: set[str]) -> Answers:
        sure = sorted(self._known)
        unsure = sorted(names - self._known - self._away.keys())
        due = [name for name, away in self._away.items() if away.due <= self._reading]
        due.sort(key=lambda name: self._away[name].due)
        unsure += due[:PROBES]
        if self._delayed:
            sure += _DELAYED
        elif self._delayed_away.due <= self._reading:
            unsure.append(_DELAYED_SIGN)
        try:
            if self._session is None:
                self._session = Session(self._broker, self._timeout)
            return self._session.ask(sure, unsure)
        except BaseException:
            session, self._session = self._session, None
            if session is not None:
                session.abandon()
            raise

    def _learn(self, names: set[str], answers: Answers) -> None:
        for name in names & answers.found.keys():
            self._known.add(name)
            self._away.pop(name, None)
        for name in names & answers.refused.keys():
            self._known.discard(name)
            refusal, away = answers.refused[name], self._away.get(name)
            if away is None or away.missing != refusal.missing:
                self._away[name] = _Away(missing=refusal.missing, due=self._reading + 1)
                if not refusal.missing:
                    log.warning("a queue cannot be read", extra=fields(queue=name, error=refusal.text))
            else:
                away.again(refusal, self._reading, LONGEST_PAUSE)

    def _sum_of_delayed(self, answers: Answers) -> int | None:
        """Messages in all queues of native delayed delivery; None unless all of them were seen."""
        refusal = next((answers.refused[name] for name in _DELAYED if name in answers.refused), None)
        if refusal is not None:
            self._delayed = False
            self._delayed_away.again(refusal, self._reading, LONGEST_DELAYED_PAUSE)
        elif _DELAYED_SIGN in answers.found and not self._delayed:
            self._delayed = True
            self._delayed_away = _Away(missing=True, due=0)
        found = [answers.found[name][0] for name in _DELAYED if name in answers.found]
        return sum(found) if len(found) == len(_DELAYED) else None

    def _facts(self, name: str, answers: Answers) -> QueueFacts | None:
        if name in answers.found:
            ready, consumers = answers.found[name]
            return QueueFacts(exists=True, ready=ready, consumers=consumers)
        away = self._away.get(name)
        if away is None:  # no queue can have this name, or the round trips did not suffice
            return _MISSING if queue_name(name) is None else None
        return _MISSING if away.missing else None
