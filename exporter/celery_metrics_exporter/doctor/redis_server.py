"""What a Redis server tells of itself and of its databases, and which of our reading commands it refuses.

Source of the facts: the server's own commands HELLO (allowed to everybody: it comes before the login), INFO, CONFIG
GET and SELECT; ``client-output-buffer-limit`` in redis.conf; ``redis_layout`` for kombu's keys.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers.redis_session import RedisSession, packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celery_metrics_exporter.connection.celery_app import Broker

_Question = tuple[str | bytes | int, ...]

#: Steps of SCAN through one database at most, and keys that each looks at.
_STEPS: Final = 40
_COUNT: Final = 5_000
_BINDING: Final = b"_kombu.binding."
_KEYSPACE: Final = re.compile(r"^db(\d+):keys=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """When Redis cuts a slow subscriber off: beyond ``hard`` bytes, or ``soft`` for so many seconds; 0: never."""

    hard: int
    soft: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Tables:
    """kombu's tables of bindings in one database.

    Attributes:
        prefixes: how many there are under each ``global_keyprefix``.
        control: exchanges of remote control among them, which workers leave there as long as they run.
        complete: the whole database was looked at.
    """

    prefixes: Counter[str]
    control: frozenset[str]
    complete: bool


class RedisServer:
    """One server, on a connection of its own. All methods raise redis.RedisError when the connection is lost.

    Attributes:
        layout: where kombu keeps what.
        database: the number of the one that URL and settings name.
    """

    def __init__(self, broker: Broker, *, timeout: float) -> None:
        """Connects; ``timeout`` in seconds is for that, and for each question again."""
        self._session = RedisSession(broker, timeout)
        self.layout = self._session.layout
        self.database = self._session.database

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def identity(self) -> tuple[str, str, str]:
        """Software, version and role (master, replica), each empty if it does not tell, as before Redis 6."""
        told = _pairs(self._answer("HELLO"))
        return (
            _word(told.get("server")),
            _word(told.get("version")),
            _word(told.get("role")).replace("slave", "replica"),
        )

    def refused(self, queue: str) -> dict[str, str]:
        """Try out all commands with which queues are read: those that are refused, with the server's words.

        ``queue``: of which lengths are asked for.
        """
        layout = self.layout
        table = f"{layout.prefix}{layout.table % queue}"
        (key, *_) = layout.lists(queue)
        questions: dict[str, _Question] = {
            "ping": ("PING",),
            "scan": ("SCAN", 0, "MATCH", layout.tables, "COUNT", 1),
            "smembers": ("SMEMBERS", table),
            "llen": ("LLEN", key),
            "lindex": ("LINDEX", key, -1),
        }
        if layout.unacked is not None and layout.unacked_index is not None:
            questions["hlen"] = ("HLEN", layout.unacked)
            questions["zrange"] = ("ZRANGE", layout.unacked_index, 0, 0)
        answers = self._answers(questions.values())
        return {
            command: str(answer)
            for command, answer in zip(questions, answers, strict=True)
            if isinstance(answer, ResponseError) and not str(answer).startswith("WRONGTYPE")
        }

    def output_limit(self) -> OutputLimit | str:
        """The limit for subscribers; the server's words if it does not tell."""
        answer = self._answer("CONFIG", "GET", "client-output-buffer-limit")
        if isinstance(answer, ResponseError):
            return str(answer)
        words = _word(_pairs(answer).get("client-output-buffer-limit")).split()
        if "pubsub" not in words:
            return "it names no limit for subscribers"
        hard, soft, seconds = words[words.index("pubsub") + 1 :][:3]
        return OutputLimit(int(hard), int(soft), int(seconds))

    def databases(self) -> list[int] | str:
        """The numbers of all databases with keys in them; the server's words if it does not tell."""
        answer = self._answer("INFO", "keyspace")
        if isinstance(answer, ResponseError):
            return str(answer)
        return [int(number) for number, _ in _KEYSPACE.findall(_word(answer))]

    def tables(self, database: int | None = None) -> Tables | str:
        """The tables of bindings in this database, or in that of the URL; the server's words if it does not tell.

        After a look at another database this object is of no more use but for another such look.
        """
        prefixes: Counter[str] = Counter()
        control: set[str] = set()
        cursor: int | bytes = 0
        for _ in range(_STEPS):
            questions: list[_Question] = [("SCAN", cursor, "MATCH", b"*" + _BINDING + b"*", "COUNT", _COUNT)]
            if database is not None:  # each time, for the connection may be a new one
                questions.insert(0, ("SELECT", database))
            answers = self._answers(questions)
            for answer in answers:
                if isinstance(answer, ResponseError):
                    return str(answer)
            cursor, keys = answers[-1]
            for key in keys:
                prefix, _, exchange = key.partition(_BINDING)
                prefixes[prefix.decode(errors="replace")] += 1
                if exchange.endswith(b".pidbox"):
                    control.add(exchange.decode(errors="replace"))
            if not int(cursor):
                break
        return Tables(prefixes, frozenset(name for name in control if is_internal(name)), not int(cursor))

    def _answer(self, *question: str) -> Any:
        return self._answers([question])[0]

    def _answers(self, questions: Iterable[_Question]) -> Sequence[Any]:
        asked = list(questions)
        self._session.start()
        return self._session.ask(packed(asked), len(asked))[0]


def _pairs(answer: Any) -> dict[str, Any]:
    """A map of RESP3 or a flat list of RESP2, by text."""
    if isinstance(answer, list):
        answer = dict(zip(answer[::2], answer[1::2], strict=False))
    return {_word(name): value for name, value in answer.items()} if isinstance(answer, dict) else {}


def _word(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
