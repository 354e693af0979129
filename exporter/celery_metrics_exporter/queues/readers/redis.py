"""Reads queues from Redis, also with TLS, over a Unix socket and through Sentinel. Writes nothing.

Owns: what is asked in which reading, what the answers mean, what a refusal costs. Must not know: events, metrics.

A reading is one exchange with the server, and a second small one for what the first has brought to light: the heads
of lists that were empty before, the members of new tables of bindings, whose queues are read from the next time on.
Only the very first reading looks for bindings before it asks for anything else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers import BrokerFacts
from celery_metrics_exporter.queues.readers.redis_bindings import Bindings
from celery_metrics_exporter.queues.readers.redis_heads import Heads
from celery_metrics_exporter.queues.readers.redis_plan import Lengths, Plan
from celery_metrics_exporter.queues.readers.redis_session import Session, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.queues.readers.redis_layout import Layout

log = logging.getLogger(__name__)

#: Keys that one step of SCAN looks at: about a millisecond of the server's time.
_SCAN_COUNT: Final = 5_000
#: Steps of SCAN before the first answer, so that an ordinary database is known at once; later one in each reading.
_FIRST_STEPS: Final = 20

# What the server may refuse to tell, as a log line names it.
_UNACKED: Final = "the number of unacked messages"
_OLDEST: Final = "the oldest unacked message"
_TABLES: Final = "which bindings there are"
_BINDINGS: Final = "the queues of a binding"
_HEADS: Final = "the next message of a queue"
_LENGTHS: Final = "the length of a queue"

_Question = tuple[str | bytes | int, ...]


class RedisReader:
    """The queues of one database; see :class:`queues.readers.BrokerReader`.

    ``round_trip`` is the time from sending all questions until the first answer, which is that to a PING.
    """

    def __init__(
        self, broker: Broker, *, accepts: Callable[[str], bool], max_queues: int, timeout: float = 3.0
    ) -> None:
        """Args:
        broker: with one of the schemes of Redis.
        accepts: whether a queue that is only bound is to be looked at; asked once for each set of queues.
        max_queues: look at no more of them; those that are wanted come first.
        timeout: seconds for connecting, and again for the answers of a reading.
        """
        self._broker = broker
        self._accepts = accepts
        self._max_queues = max_queues
        self._timeout = timeout
        self._session: Session | None = None
        self._refused: set[str] = set()  # not asked for again on this connection
        self._said: set[str] = set()
        self._reading = 0
        self._heads = Heads()
        self._bindings: Bindings | None = None
        self._asked: tuple[str, ...] = ()
        self._bound: Collection[str] = ()
        self._plan: Plan | None = None

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Look at these queues and at those that are bound in the database.

        Raises:
            redis.RedisError: no connection, no answer in time, or the lengths of all queues are refused.
        """
        try:
            if self._session is None:
                self._session = Session(self._broker, self._timeout)
            return self._look(self._session, wanted)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        session, self._session = self._session, None
        self._refused.clear()
        if session is not None:
            session.close()

    def _look(self, session: Session, wanted: Collection[str]) -> BrokerFacts:
        session.start()
        self._reading += 1
        layout = session.layout
        if self._bindings is None:
            self._bindings = self._discovered(session)
        bindings = self._bindings
        plan = self._planned(wanted, layout, bindings.queues)
        general = self._general(layout, bindings.cursor)
        details = self._details(bindings.due(self._reading), self._heads.due(self._reading))
        questions = [("PING",), *general.values(), *details.values()]
        answers, round_trip = session.ask(packed(questions) + plan.questions, len(questions) + plan.count)
        rest = iter(answers[1:])
        told = {what: self._told(what, next(rest)) for what in general}
        self._learn(bindings, details, rest)
        lengths = self._lengths(plan, list(rest))
        if told.get(_TABLES):
            bindings.scanned(told[_TABLES])
        self._fetch(session, bindings, self._heads.keep(plan.filled(lengths)))
        oldest = told.get(_OLDEST)
        return BrokerFacts(
            queues=plan.facts(lengths, bindings.queues, None if _HEADS in self._refused else self._heads),
            round_trip=round_trip,
            unacked=told.get(_UNACKED),
            oldest_unacked=_score(oldest) if oldest else None,
        )

    def _discovered(self, session: Session) -> Bindings:
        """The bindings of a database: all of them, unless it is huge."""
        bindings = Bindings(session.layout, self._broker.app.conf.event_exchange)
        for _ in range(_FIRST_STEPS):
            answers, _seconds = session.ask(packed([_scan(session.layout, bindings.cursor)]), 1)
            answer = self._told(_TABLES, answers[0])
            if answer is None:
                break
            bindings.scanned(answer)
            if not bindings.cursor:
                break
        self._fetch(session, bindings, [])
        return bindings

    def _fetch(self, session: Session, bindings: Bindings, heads: Sequence[bytes]) -> None:
        """Ask for what was not known when the reading began."""
        details = self._details(bindings.due(self._reading), heads)
        if details:
            answers, _seconds = session.ask(packed(details.values()), len(details))
            self._learn(bindings, details, iter(answers))

    def _general(self, layout: Layout, cursor: int) -> dict[str, _Question]:
        questions: dict[str, _Question] = {_TABLES: _scan(layout, cursor)}
        if layout.unacked is not None and layout.unacked_index is not None:
            questions[_UNACKED] = ("HLEN", layout.unacked)
            questions[_OLDEST] = ("ZRANGE", layout.unacked_index, 0, 0, "WITHSCORES")
        return {what: question for what, question in questions.items() if what not in self._refused}

    def _details(self, tables: Sequence[bytes], heads: Sequence[bytes]) -> dict[tuple[str, bytes], _Question]:
        questions: dict[tuple[str, bytes], _Question] = {}
        if _BINDINGS not in self._refused:
            questions |= {(_BINDINGS, key): ("SMEMBERS", key) for key in tables}
        if _HEADS not in self._refused:
            questions |= {(_HEADS, key): ("LINDEX", key, -1) for key in heads}
        return questions

    def _learn(
        self, bindings: Bindings, details: Collection[tuple[str, bytes]], answers: Iterator[Any]
    ) -> None:
        """Take the answers to these details, and no more."""
        for what, key in details:
            answer = self._told(what, next(answers))
            if what == _BINDINGS:
                bindings.learn(key, answer, self._reading)
            else:
                self._heads.learn(key, answer, self._reading)

    def _told(self, what: str, answer: Any) -> Any:
        """The answer; None, said once, where the server refuses it."""
        if not isinstance(answer, ResponseError):
            return answer
        if not _is_wrong_type(answer):
            self._refused.add(what)
        self._say(f"the broker does not tell {what}", error=answer)
        return None

    def _say(self, text: str, **values: object) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(text, extra=fields(broker=self._broker.name, **values))

    def _planned(self, wanted: Collection[str], layout: Layout, bound: Collection[str]) -> Plan:
        asked = tuple(wanted)
        if self._plan is None or self._asked != asked or self._bound is not bound:
            found = (name for name in bound if not is_internal(name) and self._accepts(name))
            names = list(dict.fromkeys((*asked, *found)))
            if len(names) > self._max_queues:
                self._say("too many queues, the rest is left out", found=len(names), shown=self._max_queues)
            self._plan = Plan(names[: self._max_queues], layout)
            self._asked, self._bound = asked, bound
        return self._plan

    def _lengths(self, plan: Plan, answers: Sequence[Any]) -> Lengths:
        """The lengths of all lists of the queues that the server does not refuse.

        Raises:
            ResponseError: it refuses all of them.
        """
        lengths, refusals = plan.lengths(answers)
        for name, errors in refusals.items():
            self._say(f"the broker does not tell {_LENGTHS}", queue=name, error=errors[0])
        denied = [error for errors in refusals.values() for error in errors if not _is_wrong_type(error)]
        if denied and len(denied) == plan.count:
            raise denied[0]
        return lengths


def _scan(layout: Layout, cursor: int) -> _Question:
    return ("SCAN", cursor, "MATCH", layout.tables, "COUNT", _SCAN_COUNT)


def _score(members: Any) -> float:
    """The score of the first member; RESP3 has pairs, RESP2 a flat list of bytes."""
    first = members[0]
    return float(first[1] if isinstance(first, list) else members[1])


def _is_wrong_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")
