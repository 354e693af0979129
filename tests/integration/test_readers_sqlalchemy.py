"""Queues in a database, counted with a SELECT: kombu's tables are real ones, in a file of SQLite."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.sqlalchemy import SqlAlchemyReader

# kombu's models use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
MISSING = QueueFacts(exists=False, ready=0)


def reader(url: str, *, max_queues: int = 100, **options: Any) -> SqlAlchemyReader:
    """A reader with these transport options."""
    broker = broker_of(Config(broker_url=url, events=False, transport_options=options))
    return SqlAlchemyReader(broker, accepts=lambda name: name != "unwanted", max_queues=max_queues)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "a#queue.db"


@pytest.fixture
def url(file: Path) -> str:
    """Its broker URL."""
    return f"sqla+sqlite:///{file}"


def publish(file: Path, take: int = 0, **numbers: int) -> None:
    """Put so many messages into these queues, and take some of them, as Celery does through kombu."""
    plain = file.with_name("plain.db")
    with Connection(f"sqla+sqlite:///{plain}") as connection:
        for name, number in numbers.items():
            queue = connection.SimpleQueue(name)
            for _ in range(number):
                queue.put({})
            for _ in range(take):
                queue.get(block=False).ack()
            queue.close()
    plain.rename(file)


def ready(number: int) -> QueueFacts:
    """A queue with so many messages."""
    return QueueFacts(exists=True, ready=number)


def digest(file: Path) -> str:
    """Of the whole database, and of what lies beside it."""
    names = sorted(each.name for each in file.parent.iterdir())
    return f"{hashlib.sha256(file.read_bytes()).hexdigest()} {names}"


def test_known_numbers(file: Path, url: str) -> None:
    """Messages that were taken stay in the table and do not count; nothing in the file changes."""
    publish(file, take=2, letters=5, parcels=2, unwanted=3)
    publish_internal(file)
    before = digest(file)
    with closing(reader(url)) as made:
        facts = made.read(["none"])
        assert facts.queues == {"none": MISSING, "letters": ready(3), "parcels": ready(0)}
        assert (facts.missing, facts.unacked) == ((), None)
    assert digest(file) == before


def publish_internal(file: Path) -> None:
    """Queues of Celery's own, which are not shown."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO kombu_queue (name) VALUES ('celeryev.1'), ('w@h.celery.pidbox')")


def test_names_of_tables(file: Path, url: str) -> None:
    """They are those of the transport options."""
    plain = file.with_name("plain.db")
    options: dict[str, Any] = {"queue_tablename": "q_names", "message_tablename": "q_messages"}
    with closing(sqlite3.connect(plain)) as database, database:
        database.execute("CREATE TABLE q_names (id INTEGER PRIMARY KEY, name VARCHAR(200))")
        database.execute(
            "CREATE TABLE q_messages (id INTEGER PRIMARY KEY, visible BOOLEAN, queue_id INTEGER)"
        )
        database.execute("INSERT INTO q_names VALUES (1, 'celery')")
        database.execute("INSERT INTO q_messages VALUES (1, 1, 1), (2, 0, 1), (3, 1, 1)")
    plain.rename(file)
    with closing(reader(url, **options)) as made:
        assert made.read([]).queues == {"celery": ready(2)}
    with (
        closing(reader(url)) as made,
        pytest.raises(LookupError, match="no table kombu_queue in this database"),
    ):
        made.read([])


def test_nothing_is_made(file: Path, url: str) -> None:
    """A file that is not there stays so, and is read as soon as it is there."""
    with closing(reader(url)) as made:
        with pytest.raises(Exception, match="unable to open database file"):
            made.read(["celery"])
        assert not file.exists()
        file.touch()
        with pytest.raises(LookupError, match="the first worker or client makes it"):
            made.read(["celery"])
        assert file.stat().st_size == 0
        file.unlink()
        publish(file, celery=4)
        assert made.read(["celery"]).queues == {"celery": ready(4)}


def test_while_somebody_writes(file: Path, url: str) -> None:
    """A transaction of a worker's is no failure, and what it has not committed does not count."""
    publish(file, celery=2)
    with closing(reader(url)) as made, closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE kombu_message SET visible = 0")
        assert made.read(["celery"]).queues == {"celery": ready(2)}
        other.execute("COMMIT")
        assert made.read(["celery"]).queues == {"celery": ready(0)}


def test_many_queues(file: Path, url: str) -> None:
    """The wanted ones come first."""
    publish(file, a=1, b=1, c=1)
    with closing(reader(url, max_queues=2)) as made:
        assert list(made.read(["c"]).queues) == ["c", "a"]


def test_options_of_the_engine(file: Path, url: str) -> None:
    """Transport options that are not kombu's are those of the engine, and a wrong one is told."""
    publish(file, celery=1)
    with closing(reader(url, echo=False, pool_recycle=60, max_retries=3)) as made:
        assert made.read([]).queues == {"celery": ready(1)}
    with closing(reader(url, nonsense=1)) as made, pytest.raises(TypeError, match="nonsense"):
        made.read([])
