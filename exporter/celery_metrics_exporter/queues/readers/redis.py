"""The queue reader for Redis, also with TLS, over a Unix socket and through Sentinel. It writes nothing.

A reading is one exchange with the server, and a second small one for what the first one has found: the heads of lists
that were empty before, and the members of new binding tables, whose queues are read from the next reading on. Only the
first reading looks for bindings before anything else.
"""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers import BrokerFacts
from celery_metrics_exporter.queues.readers.redis_bindings import Bindings
from celery_metrics_exporter.queues.readers.redis_heads import ListHeads
from celery_metrics_exporter.queues.readers.redis_lengths import LengthQuery, Lengths
from celery_metrics_exporter.queues.readers.redis_session import RedisSession, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.queues.readers.redis_layout import Layout

log = logging.getLogger(__name__)

#: Keys that one SCAN looks at: about a millisecond of the server's time.
_SCAN_COUNT: Final = 5_000
#: SCANs in the first reading, so that all queues of an ordinary database are known at once; later one in each reading.
_FIRST_SCANS: Final = 20

# What is read, as a log line names it.
_UNACKED: Final = "the number of unacknowledged messages"
_OLDEST: Final = "the oldest unacknowledged message"
_TABLES: Final = "the list of bindings"
_BINDINGS: Final = "the queues of a binding"
_HEADS: Final = "the next message of a queue"
_LENGTHS: Final = "the length of a queue"
#: The right that each of them needs, in the words of ACL SETUSER.
_RIGHTS: Final = MappingProxyType(
    {
        _UNACKED: "+hlen",
        _OLDEST: "+zrange",
        _TABLES: "+scan",
        _BINDINGS: "+smembers",
        _HEADS: "+lindex",
        _LENGTHS: "+llen",
    }
)

_Command = tuple[str | bytes | int, ...]


class RedisReader:
    """Reads the queues of one database; a :class:`queues.readers.BrokerReader`.

    ``round_trip`` is the time from sending all commands until the first answer, which is the one to a PING.
    """

    def __init__(
        self, broker: Broker, *, accepts: Callable[[str], bool], max_queues: int, timeout: float = 3.0
    ) -> None:
        """Args:
        broker: a Redis.
        accepts: whether a queue that is found by its binding may be shown; called once for each set of queues.
        max_queues: most queues that are read; wanted ones come first.
        timeout: seconds for connecting, and again for the answers of a reading.
        """
        self._broker = broker
        self._accepts = accepts
        self._max_queues = max_queues
        self._timeout = timeout
        self._session: RedisSession | None = None
        self._refused: set[str] = set()  # not read again over this connection
        self._warned: set[str] = set()
        self._reading = 0
        self._heads = ListHeads()
        self._bindings: Bindings | None = None
        self._wanted: tuple[str, ...] = ()
        self._bound: Collection[str] = ()
        self._query: LengthQuery | None = None

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues and those that are bound in the database.

        Raises:
            redis.RedisError: no connection, no answer in time, or the server refuses the lengths of all queues.
        """
        try:
            if self._session is None:
                self._session = RedisSession(self._broker, self._timeout)
            return self._read(self._session, wanted)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        session, self._session = self._session, None
        self._refused.clear()
        if session is not None:
            session.close()

    def _read(self, session: RedisSession, wanted: Collection[str]) -> BrokerFacts:
        session.start()
        self._reading += 1
        layout = session.layout
        if self._bindings is None:
            self._bindings = self._find_bindings(session)
        bindings = self._bindings
        query = self._query_for(wanted, layout, bindings.queues)
        general = self._general_commands(layout, bindings.cursor)
        details = self._detail_commands(bindings.due(self._reading), self._heads.due(self._reading))
        commands = [("PING",), *general.values(), *details.values()]
        answers, round_trip = session.ask(packed(commands) + query.commands, len(commands) + query.count)
        rest = iter(answers[1:])
        found = {what: self._unless_refused(what, next(rest)) for what in general}
        self._take_details(bindings, details, rest)
        lengths = self._lengths(query, list(rest))
        if found.get(_TABLES):
            bindings.add_scanned(found[_TABLES])
        self._fetch(session, bindings, self._heads.keep(query.filled(lengths)))
        oldest = found.get(_OLDEST)
        return BrokerFacts(
            queues=query.facts(lengths, bindings.queues, None if _HEADS in self._refused else self._heads),
            round_trip=round_trip,
            unacked=found.get(_UNACKED),
            oldest_unacked=_score(oldest) if oldest else None,
        )

    def _find_bindings(self, session: RedisSession) -> Bindings:
        """The bindings of the database: all of them, unless it is huge."""
        bindings = Bindings(session.layout, self._broker.app.conf.event_exchange)
        for _ in range(_FIRST_SCANS):
            answers, _seconds = session.ask(packed([_scan(session.layout, bindings.cursor)]), 1)
            answer = self._unless_refused(_TABLES, answers[0])
            if answer is None:
                break
            bindings.add_scanned(answer)
            if not bindings.cursor:
                break
        self._fetch(session, bindings, [])
        return bindings

    def _fetch(self, session: RedisSession, bindings: Bindings, heads: Sequence[bytes]) -> None:
        """Read what was not known when the reading began: new binding tables, and these heads."""
        details = self._detail_commands(bindings.due(self._reading), heads)
        if details:
            answers, _seconds = session.ask(packed(details.values()), len(details))
            self._take_details(bindings, details, iter(answers))

    def _general_commands(self, layout: Layout, cursor: int) -> dict[str, _Command]:
        commands: dict[str, _Command] = {_TABLES: _scan(layout, cursor)}
        if layout.unacked is not None and layout.unacked_index is not None:
            commands[_UNACKED] = ("HLEN", layout.unacked)
            commands[_OLDEST] = ("ZRANGE", layout.unacked_index, 0, 0, "WITHSCORES")
        return {what: command for what, command in commands.items() if what not in self._refused}

    def _detail_commands(
        self, tables: Sequence[bytes], heads: Sequence[bytes]
    ) -> dict[tuple[str, bytes], _Command]:
        commands: dict[tuple[str, bytes], _Command] = {}
        if _BINDINGS not in self._refused:
            commands |= {(_BINDINGS, key): ("SMEMBERS", key) for key in tables}
        if _HEADS not in self._refused:
            commands |= {(_HEADS, key): ("LINDEX", key, -1) for key in heads}
        return commands

    def _take_details(
        self, bindings: Bindings, details: Collection[tuple[str, bytes]], answers: Iterator[Any]
    ) -> None:
        """Take the answers to the commands of these details, and leave the others in the iterator."""
        for what, key in details:
            answer = self._unless_refused(what, next(answers))
            if what == _BINDINGS:
                bindings.update(key, answer, self._reading)
            else:
                self._heads.update(key, answer, self._reading)

    def _unless_refused(self, what: str, answer: Any) -> Any:
        """The answer; None, with a warning, where the server refuses it."""
        if not isinstance(answer, ResponseError):
            return answer
        if not _is_wrong_type(answer):
            self._refused.add(what)
        self._warn_refused(what, answer)
        return None

    def _warn_refused(self, what: str, error: ResponseError, **values: object) -> None:
        right = f"the user needs {_RIGHTS[what]}, and the right to read its key"
        reason = "its key holds another type" if _is_wrong_type(error) else right
        self._warn_once(f"cannot read {what}: {reason}", error=error, **values)

    def _warn_once(self, text: str, **values: object) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning(text, extra=fields(broker=self._broker.name, **values))

    def _query_for(self, wanted: Collection[str], layout: Layout, bound: Collection[str]) -> LengthQuery:
        wanted = tuple(wanted)
        if self._query is None or self._wanted != wanted or self._bound is not bound:
            found = (name for name in bound if not is_internal(name) and self._accepts(name))
            names = list(dict.fromkeys((*wanted, *found)))
            if len(names) > self._max_queues:
                text = "too many queues, leaving out the rest: raise --max-series or use --queue-exclude"
                self._warn_once(text, found=len(names), shown=self._max_queues)
            self._query = LengthQuery(names[: self._max_queues], layout)
            self._wanted, self._bound = wanted, bound
        return self._query

    def _lengths(self, query: LengthQuery, answers: Sequence[Any]) -> Lengths:
        """The lengths of all lists of the queues that the server does not refuse.

        Raises:
            ResponseError: it refuses all of them.
        """
        lengths, refusals = query.lengths(answers)
        for name, errors in refusals.items():
            self._warn_refused(_LENGTHS, errors[0], queue=name)
        denied = [error for errors in refusals.values() for error in errors if not _is_wrong_type(error)]
        if denied and len(denied) == query.count:
            raise denied[0]
        return lengths


def _scan(layout: Layout, cursor: int) -> _Command:
    return ("SCAN", cursor, "MATCH", layout.tables, "COUNT", _SCAN_COUNT)


def _score(members: Any) -> float:
    """The score of the first member: RESP3 answers with pairs, RESP2 with a flat list of bytes."""
    first = members[0]
    return float(first[1] if isinstance(first, list) else members[1])


def _is_wrong_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")
