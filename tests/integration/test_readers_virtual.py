"""Queues of the transports without a server, read through kombu itself."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import kombu
import pytest
from kombu import Connection, Exchange, Queue
from kombu.transport import filesystem, memory

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.virtual import VirtualReader

MISSING = QueueFacts(exists=False, ready=0)
LETTERS = Queue("letters", Exchange("post"), routing_key="letter")
PARCELS = Queue("parcels", Exchange("post"), routing_key="parcel")
EVENTS = Queue("celeryev.1", Exchange("celeryev", type="topic"), routing_key="#")


def ready(number: int) -> QueueFacts:
    """A queue with so many messages."""
    return QueueFacts(exists=True, ready=number)


def publish(connection: Connection, queue: Queue, number: int) -> None:
    """Declare and bind a queue, and put so many messages into it."""
    with connection.Producer() as producer:
        queue(connection.default_channel).declare()
        for _ in range(number):
            producer.publish({}, exchange=queue.exchange, routing_key=queue.routing_key)


@pytest.fixture
def memory_broker() -> Iterator[Broker]:
    """A memory:// without any queue, also where other tests of this process left some."""
    memory.Channel.queues.clear()
    memory.Transport.global_state.clear()
    yield broker_of(Config(broker_url="memory://"))
    memory.Channel.queues.clear()
    memory.Transport.global_state.clear()


@pytest.fixture
def filesystem_broker(tmp_path: Path) -> Iterator[Broker]:
    """A filesystem:// without any queue, whose bindings were made by another process as far as we can see."""
    (tmp_path / "messages").mkdir()
    options: dict[str, object] = {
        "data_folder_in": str(tmp_path / "messages"),
        "data_folder_out": str(tmp_path / "messages"),
        "control_folder": str(tmp_path / "control"),
    }
    yield broker_of(Config(broker_url="filesystem://", transport_options=options))
    filesystem.Transport.global_state.clear()


@pytest.fixture(params=["memory_broker", "filesystem_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either of both."""
    broker: Broker = request.getfixturevalue(request.param)
    return broker


def test_known_numbers(broker: Broker) -> None:
    """Messages are counted, in queues that are asked for and in those that are bound; Celery's own stay away."""
    with broker.connect() as connection:
        publish(connection, LETTERS, 3)
        publish(connection, PARCELS, 0)
        publish(connection, EVENTS, 2)
        filesystem.Transport.global_state.clear()  # what another process declares stands in files only
        with closing(VirtualReader(broker, accepts=lambda _: True, max_queues=10)) as reader:
            facts = reader.read(("none",))
            assert facts.queues == {"none": MISSING, "letters": ready(3), "parcels": ready(0)}
            assert (facts.unacked, facts.oldest_unacked, facts.delayed) == (None, None, None)
            assert facts.round_trip > 0
            LETTERS(connection.default_channel).get(no_ack=True)
            assert reader.read(()).queues["letters"] == ready(2)
            reader.close()
            assert reader.read(()).queues["letters"] == ready(2)


def test_deleted_and_made_again(broker: Broker) -> None:
    """A queue that is deleted is missing, and found again when it is made again."""
    with (
        broker.connect() as connection,
        closing(VirtualReader(broker, accepts=lambda _: True, max_queues=10)) as reader,
    ):
        publish(connection, LETTERS, 2)
        assert reader.read(()).queues == {"letters": ready(2)}
        queue = LETTERS(connection.default_channel)
        queue.purge()
        queue.delete()
        # Before 5.7 kombu leaves the binding of a deleted queue in its file (filesystem.Channel._delete).
        stays = broker.scheme == "filesystem" and kombu.VERSION < (5, 7)
        assert reader.read(("letters",)).queues == {"letters": ready(0) if stays else MISSING}
        publish(connection, PARCELS, 0)
        publish(connection, LETTERS, 1)
        assert reader.read(("letters",)).queues["letters"] == ready(1)


def test_which_queues(broker: Broker) -> None:
    """Wanted queues come first, found ones have to be accepted, and the number is limited."""
    with broker.connect() as connection:
        for number in range(5):
            publish(connection, Queue(f"queue-{number}", Exchange("post"), routing_key=f"{number}"), number)
        accepting = VirtualReader(broker, accepts=lambda name: name != "queue-0", max_queues=3)
        with closing(accepting) as reader:
            assert list(reader.read(("queue-4",)).queues) == ["queue-4", "queue-1", "queue-2"]
            assert reader.read(("queue-0",)).queues["queue-0"] == ready(0)


def test_looking_makes_nothing_in_memory(memory_broker: Broker) -> None:
    """A queue that is asked for is not there afterwards."""
    with closing(VirtualReader(memory_broker, accepts=lambda _: True, max_queues=10)) as reader:
        for _ in range(2):
            assert reader.read(("none",)).queues == {"none": MISSING}
    assert memory.Channel.queues == {}
    assert memory.Transport.global_state.exchanges == {}


def test_looking_makes_nothing_in_the_filesystem(filesystem_broker: Broker, tmp_path: Path) -> None:
    """No folder or file comes into being by looking."""
    before = sorted(tmp_path.rglob("*"))
    with closing(VirtualReader(filesystem_broker, accepts=lambda _: True, max_queues=10)) as reader:
        assert reader.read(("none",)).queues == {"none": MISSING}
    assert sorted(tmp_path.rglob("*")) == before


def test_files_that_are_no_tables(filesystem_broker: Broker, tmp_path: Path) -> None:
    """Broken and foreign files beside the tables of bindings do no harm, and messages alone make a queue."""
    control = tmp_path / "control"
    control.mkdir()
    for name, content in {"empty": "", "broken": "[[", "number": "5", "short": "[[1]]", "a b": "[]"}.items():
        (control / f"{name}.exchange").write_text(content)
    (control / "post.exchange").write_text(json.dumps([["letter", "", "letters"]]))
    (control / "directory.exchange").mkdir()
    (tmp_path / "messages" / "1_2.parcels.msg").write_text("{}")
    with closing(VirtualReader(filesystem_broker, accepts=lambda _: True, max_queues=10)) as reader:
        assert reader.read(("parcels",)).queues == {"letters": ready(0), "parcels": ready(1)}


def test_missing_folder(filesystem_broker: Broker, tmp_path: Path) -> None:
    """A folder of messages that is not there fails the reading, until it is."""
    (tmp_path / "messages").rmdir()
    with closing(VirtualReader(filesystem_broker, accepts=lambda _: True, max_queues=10)) as reader:
        with pytest.raises(FileNotFoundError):
            reader.read(("letters",))
        (tmp_path / "messages").mkdir()
        assert reader.read(("letters",)).queues == {"letters": MISSING}
