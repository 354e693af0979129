"""The queue reader for databases as brokers: sqlalchemy+..., sqla+...

Source of the facts: ``kombu/transport/sqlalchemy`` (``Channel._open``: the transport options are those of
``create_engine``; ``_get`` and ``_size``: a message waits while it is ``visible``, and stays as a row afterwards;
``models.py``: tables and columns). kombu itself creates tables and queues that it is asked about, and is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.labels import has_shared_label
from celery_metrics_exporter.queues.internal import is_internal

#: Transport options of kombu's own; the others are for the engine (``Channel._engine_from_config``).
_OF_KOMBU: Final = frozenset(
    {
        "queue_tablename",
        "message_tablename",
        "callback",
        "errback",
        "max_retries",
        "interval_start",
        "interval_step",
        "interval_max",
        "retry_errors",
    }
)
_CONNECT_SECONDS: Final = 5
#: Drivers whose ``connect`` takes ``connect_timeout`` in seconds.
_WITH_TIMEOUT: Final = frozenset({"psycopg2", "psycopg", "mysqldb", "pymysql", "mysqlconnector"})
_MISSING: Final = QueueFacts(exists=False, ready=0)


class SqlAlchemyReader:
    """Counts messages with one SELECT; a :class:`queues.readers.BrokerReader`. Needs sqlalchemy."""

    def __init__(self, broker: Broker, *, accepts: Callable[[str], bool], max_queues: int) -> None:
        """See :func:`queues.readers.choosing.reader_for`."""
        options: Mapping[str, Any] = broker.app.conf.broker_transport_options
        self._url = broker.url.partition("+")[2]
        self._options = {name: value for name, value in options.items() if name not in _OF_KOMBU}
        self._tables = (
            str(options.get("queue_tablename", "kombu_queue")),
            str(options.get("message_tablename", "kombu_message")),
        )
        self._accepts = accepts
        self._max_queues = max_queues
        self._engine: Any = None
        self._query: Any = None

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues and all others of the database.

        Raises:
            LookupError: there are no tables of kombu's in this database.
            sqlalchemy.exc.SQLAlchemyError: the database cannot be read.
        """
        began = time.monotonic()
        try:
            if self._engine is None:
                self._connect()
            with self._engine.connect() as connection:
                counted = {str(name): int(number) for name, number in connection.execute(self._query)}
        except Exception:
            self.close()
            raise
        found = sorted(name for name in counted if not is_internal(name) and self._accepts(name))
        names = list(dict.fromkeys((*wanted, *sorted(found, key=has_shared_label))))[: self._max_queues]
        queues = {
            name: QueueFacts(exists=True, ready=counted[name]) if name in counted else _MISSING
            for name in names
        }
        return BrokerFacts(queues=queues, round_trip=time.monotonic() - began)

    def close(self) -> None:
        """Close the connections, if there are any."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _connect(self) -> None:
        sql = import_module("sqlalchemy")
        engine = _engine(sql, self._url, self._options)
        try:
            _check_tables(sql.inspect(engine), self._tables)
        except Exception:
            engine.dispose()
            raise
        self._engine, self._query = engine, _query(sql, *self._tables)


def _check_tables(inspector: Any, names: Collection[str]) -> None:
    for name in names:
        if not inspector.has_table(name):
            raise LookupError(
                f"no table {name} in this database: the first worker or client makes it; else correct the database of "
                "--broker-url, or the transport options queue_tablename and message_tablename"
            )


def _engine(sql: Any, url: str, options: Mapping[str, Any]) -> Any:
    """An engine that creates nothing: SQLite makes a file that is missing, unless told not to write."""
    parsed = sql.make_url(url)
    arguments = dict(options)
    path = parsed.database
    if parsed.get_backend_name() == "sqlite" and path and not path.startswith((":memory:", "file:")):
        address = f"{Path(path).absolute().as_uri()}?mode=ro"
        connect = import_module("sqlite3").connect  # not every Python has it; that of our image does not
        arguments["creator"] = lambda: connect(
            address, uri=True, timeout=_CONNECT_SECONDS, check_same_thread=False
        )
    elif parsed.get_driver_name() in _WITH_TIMEOUT:
        arguments["connect_args"] = {
            "connect_timeout": _CONNECT_SECONDS,
            **(arguments.get("connect_args") or {}),
        }
    return sql.create_engine(parsed, **arguments)


def _query(sql: Any, queues: str, messages: str) -> Any:
    """The name of each queue with the number of messages that wait in it."""
    queue = sql.table(queues, sql.column("id"), sql.column("name"))
    message = sql.table(
        messages, sql.column("id"), sql.column("queue_id"), sql.column("visible", sql.Boolean)
    )
    waits = sql.and_(message.c.queue_id == queue.c.id, message.c.visible == sql.true())
    return (
        sql.select(queue.c.name, sql.func.count(message.c.id))
        .select_from(queue.outerjoin(message, waits))
        .group_by(queue.c.name)
    )
