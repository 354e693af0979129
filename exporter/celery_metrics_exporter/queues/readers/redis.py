"""The queue reader for Redis, also with TLS, over a Unix socket and through Sentinel. It writes nothing.

A reading is one exchange with the server, and a second small one for what the first one has found: the heads of lists
that were empty before, and the members of new binding tables, whose queues are read from the next reading on. Only the
first reading looks for bindings before anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from types import MappingProxyType
from typing import Any, Final

from redis.exceptions import ResponseError

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.facts import BrokerFacts
from celery_metrics_exporter.labels import has_shared_label
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers.redis_bindings import Bindings
from celery_metrics_exporter.queues.readers.redis_heads import ListHeads
from celery_metrics_exporter.queues.readers.redis_layout import Layout
from celery_metrics_exporter.queues.readers.redis_lengths import LengthQuery, Lengths
from celery_metrics_exporter.queues.readers.redis_session import RedisSession, packed

log = logging.getLogger(__name__)

#: Keys that one SCAN looks at: about a millisecond of the server's time.
_SCAN_COUNT: Final = 5_000
#: SCANs in the first reading, so that all queues of an ordinary database are known at once; later one in each reading.
_FIRST_SCANS: Final = 20

#: What each command reads, as a log line names it. In the words of ACL SETUSER its right is ``+`` and its name.
_READS: Final = MappingProxyType(
    {
        "HLEN": "the number of unacknowledged messages",
        "ZRANGE": "the oldest unacknowledged message",
        "SCAN": "the list of bindings",
        "SMEMBERS": "the queues of a binding",
        "LINDEX": "the next message of a queue",
        "LLEN": "the length of a queue",
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
        """``timeout``: seconds for connecting, and again for the answers of a reading; see also ``reader_for``."""
        self._broker = broker
        self._accepts = accepts
        self._max_queues = max_queues
        self._timeout = timeout
        self._session: RedisSession | None = None
        self._refused: set[str] = set()  # commands that are not sent again over this connection
        self._warned: set[str] = set()
        self._reading = 0
        self._heads = ListHeads()
        self._bindings: Bindings | None = None
        self._names: tuple[Collection[str], ...] = ()
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
        query = self._query_for(tuple(wanted), layout, bindings.queues)
        general = [_scan(layout, bindings.cursor)]
        if layout.unacked is not None and layout.unacked_index is not None:
            general += ("HLEN", layout.unacked), ("ZRANGE", layout.unacked_index, 0, 0, "WITHSCORES")
        details = _details(bindings.due(self._reading), self._heads.due(self._reading))
        commands = self._allowed([*general, *details])
        encoded = packed([("PING",), *commands]) + query.commands
        answers, round_trip = session.ask(encoded, 1 + len(commands) + query.count)
        found = self._take(bindings, commands, answers[1:])
        lengths = self._readable(query.lengths(answers[1 + len(commands) :]))
        self._fetch(session, bindings, _details((), self._heads.keep(query.filled(lengths))))
        oldest = found.get("ZRANGE")
        return BrokerFacts(
            queues=query.facts(lengths, bindings.queues, None if "LINDEX" in self._refused else self._heads),
            round_trip=round_trip,
            unacked=found.get("HLEN"),
            oldest_unacked=_score(oldest) if oldest else None,
        )

    def _find_bindings(self, session: RedisSession) -> Bindings:
        """The bindings of the database: all of them, unless it is huge."""
        bindings = Bindings(session.layout, self._broker.app.conf.event_exchange)
        for _ in range(_FIRST_SCANS):
            self._fetch(session, bindings, [_scan(session.layout, bindings.cursor)])
            if not bindings.cursor:  # everything was visited, or the server refuses to scan
                break
        self._fetch(session, bindings, ())
        return bindings

    def _fetch(self, session: RedisSession, bindings: Bindings, commands: Sequence[_Command]) -> None:
        """Read this, and the new binding tables."""
        commands = self._allowed([*commands, *_details(bindings.due(self._reading), ())])
        if commands:
            answers, _seconds = session.ask(packed(commands), len(commands))
            self._take(bindings, commands, answers)

    def _allowed(self, commands: Sequence[_Command]) -> list[_Command]:
        return [command for command in commands if command[0] not in self._refused]

    def _take(
        self, bindings: Bindings, commands: Sequence[_Command], answers: Sequence[Any]
    ) -> dict[str, Any]:
        """Take the answers to these commands; returns those about the whole database by command."""
        found = {}
        for command, given in zip(commands, answers, strict=False):
            name, answer = str(command[0]), given
            if isinstance(given, ResponseError):
                answer = None
                if not _is_wrong_type(given):
                    self._refused.add(name)
                self._warn_refused(name, given)
            match command:
                case "SMEMBERS", bytes(key):
                    bindings.update(key, answer, self._reading)
                case "LINDEX", bytes(key), _:
                    self._heads.update(key, answer, self._reading)
                case "SCAN", *_ if answer:
                    bindings.add_scanned(answer)
                case _:
                    found[name] = answer
        return found

    def _readable(self, lengths: Lengths) -> Lengths:
        """The lengths of the queues that the server does not refuse; raises its ResponseError if it refuses all."""
        errors = [
            (name, number)
            for name, numbers in lengths.items()
            for number in numbers
            if isinstance(number, ResponseError)
        ]
        for name, error in errors:
            self._warn_refused("LLEN", error, queue=name)
        denied = [error for _, error in errors if not _is_wrong_type(error)]
        if denied and len(denied) == sum(map(len, lengths.values())):
            raise denied[0]
        refused = dict(errors)
        return {name: numbers for name, numbers in lengths.items() if name not in refused}

    def _warn_refused(self, command: str, error: ResponseError, **values: object) -> None:
        right = f"the user needs +{command.lower()}, and the right to read its key"
        reason = "its key holds another type" if _is_wrong_type(error) else right
        self._warn_once(f"cannot read {_READS[command]}: {reason}", error=error, **values)

    def _warn_once(self, text: str, **values: object) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning(text, extra=fields(broker=self._broker.name, **values))

    def _query_for(self, wanted: tuple[str, ...], layout: Layout, bound: Collection[str]) -> LengthQuery:
        if self._query is None or self._names != (wanted, bound):
            found = (name for name in bound if not is_internal(name) and self._accepts(name))
            names = list(dict.fromkeys((*wanted, *sorted(found, key=has_shared_label))))
            if len(names) > self._max_queues:
                text = "too many queues, leaving out the rest: raise --max-series or use --queue-exclude"
                self._warn_once(text, found=len(names), shown=self._max_queues)
            self._query = LengthQuery(names[: self._max_queues], layout)
            self._names = wanted, bound
        return self._query


def _scan(layout: Layout, cursor: int) -> _Command:
    return ("SCAN", cursor, "MATCH", layout.tables, "COUNT", _SCAN_COUNT)


def _details(tables: Iterable[bytes], heads: Iterable[bytes]) -> list[_Command]:
    return [*(("SMEMBERS", key) for key in tables), *(("LINDEX", key, -1) for key in heads)]


def _score(members: Any) -> float:
    """The score of the first member: RESP3 answers with pairs, RESP2 with a flat list of bytes."""
    first = members[0]
    return float(first[1] if isinstance(first, list) else members[1])


def _is_wrong_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")
