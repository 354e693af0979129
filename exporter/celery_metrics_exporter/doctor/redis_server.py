"""What a Redis server tells of itself and of its databases, and which of our reading commands it refuses.

Source of the facts: the server's own commands HELLO (allowed to everybody: it comes before the login), INFO, CONFIG
GET and SELECT; ``client-output-buffer-limit`` in redis.conf; ``redis_layout`` for kombu's keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.queues.readers.redis_layout import Layout

#: Steps of SCAN through one database at most, and keys that each looks at.
_STEPS: Final = 40
_COUNT: Final = 5_000
_BINDING: Final = b"_kombu.binding."


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
        complete: the whole database was looked at.
    """

    prefixes: Counter[str]
    complete: bool


class RedisServer:
    """One server, on a connection of its own. All methods raise redis.RedisError when the connection is lost.

    Attributes:
        database: the number of the one that URL and settings name.
    """

    def __init__(self, broker: Broker, *, timeout: float) -> None:
        """Connects; ``timeout`` in seconds is for that, and for each answer again."""
        self._connection = broker.connect(heartbeat=0, timeout=timeout)
        channel = self._connection.default_channel
        # kombu's client for a global_keyprefix knows few commands; this client gets whole keys.
        self._redis: Redis = Redis(connection_pool=channel.pool)
        self._layout = Layout(channel)
        self.database = int(channel.pool.connection_kwargs.get("db") or 0)

    def close(self) -> None:
        """Close the connection without waiting for the server."""
        self._connection.collect()

    def identity(self) -> tuple[str, str, str]:
        """Software, version and role (master, replica). Raises ResponseError before Redis 6."""
        told: Any = self._redis.execute_command("HELLO")  # type: ignore[no-untyped-call]  # the library's
        pairs = told.items() if isinstance(told, dict) else zip(told[::2], told[1::2], strict=False)
        words = {str_if_bytes(name): value for name, value in pairs}
        software, version, role = (
            str_if_bytes(words.get(name, "")) for name in ("server", "version", "role")
        )
        return software, version, role.replace("slave", "replica")

    def refused(self, queue: str) -> dict[str, str]:
        """Try out all commands with which queues are read: those that are refused, with the server's words.

        ``queue``: of which lengths are asked for.
        """
        layout = self._layout
        (key, *_) = layout.lists(queue)
        questions: dict[str, tuple[str | bytes | int, ...]] = {
            "ping": ("PING",),
            "scan": ("SCAN", 0, "MATCH", layout.tables, "COUNT", 1),
            "smembers": ("SMEMBERS", f"{layout.prefix}{layout.table % queue}"),
            "llen": ("LLEN", key),
            "lindex": ("LINDEX", key, -1),
        }
        if layout.unacked is not None and layout.unacked_index is not None:
            questions["hlen"] = ("HLEN", layout.unacked)
            questions["zrange"] = ("ZRANGE", layout.unacked_index, 0, 0)
        return {
            command: str(answer)
            for command, answer in zip(questions, self._answers(questions.values()), strict=True)
            if isinstance(answer, ResponseError) and not str(answer).startswith("WRONGTYPE")
        }

    def output_limit(self) -> OutputLimit:
        """The limit for subscribers. Raises ResponseError if the server does not tell."""
        name = "client-output-buffer-limit"
        words = str(self._redis.config_get(name).get(name)).split()
        if "pubsub" not in words:
            raise ResponseError("it names no limit for subscribers")
        hard, soft, seconds = words[words.index("pubsub") + 1 :][:3]
        return OutputLimit(int(hard), int(soft), int(seconds))

    def databases(self) -> list[int]:
        """The numbers of all databases with keys in them. Raises ResponseError if the server does not tell."""
        return [int(name.removeprefix("db")) for name in self._redis.info("keyspace")]

    def tables(self, database: int) -> Tables:
        """The tables of bindings in this database. Raises ResponseError if the server does not tell.

        After a look at another database this object is of no more use but for another such look.
        """
        prefixes: Counter[str] = Counter()
        cursor: int | bytes = 0
        for _ in range(_STEPS):
            scan = ("SCAN", cursor, "MATCH", b"*" + _BINDING + b"*", "COUNT", _COUNT)
            # each time, for the connection may be a new one
            answers = self._answers([("SELECT", database), scan] if database != self.database else [scan])
            for answer in answers:
                if isinstance(answer, ResponseError):
                    raise answer
            cursor, keys = answers[-1]
            prefixes.update(key.partition(_BINDING)[0].decode(errors="replace") for key in keys)
            if not int(cursor):
                break
        return Tables(prefixes, not int(cursor))

    def _answers(self, questions: Iterable[tuple[str | bytes | int, ...]]) -> list[Any]:
        """The answers to commands that are sent together, with a ResponseError for each refused one."""
        with self._redis.pipeline(transaction=False) as pipe:
            for question in questions:
                pipe.execute_command(*question)  # type: ignore[no-untyped-call]  # the library's
            return pipe.execute(raise_on_error=False)
