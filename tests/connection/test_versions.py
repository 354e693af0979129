"""What differs between versions: the installed libraries, and others as far as these can stand for them."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import celery
import kombu
import pytest
import redis
from celery import Celery
from celery.events.receiver import EventReceiver
from kombu import Connection, Queue

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.connection.versions import add_later_settings, event_queue
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.queues.readers import amqp


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection within this process."""
    with Connection("memory://") as connection:
        yield connection


def named(queue: Queue) -> dict[str, Any]:
    """What a queue says of itself, with its exchange's name and type."""
    attributes = {name: value for name, value in queue.as_dict().items() if not name.startswith("exchange")}
    return attributes | {"to": (queue.exchange.name, queue.exchange.type)}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"event_queue_exclusive": False},
        {"event_queue_exclusive": False, "event_queue_durable": True},
        {
            "event_queue_prefix": "ours",
            "event_queue_ttl": 7,
            "event_queue_expires": 9,
            "event_exchange": "theirs",
        },
    ],
    ids=str,
)
def test_the_event_queue_is_celerys(connection: Connection, settings: dict[str, Any]) -> None:
    """The queue is the one that Celery's own receiver makes; before 5.6 that one is never durable nor exclusive."""
    app = Celery("queues", set_as_current=False)
    app.conf.update(settings)
    add_later_settings(app)
    with connection.channel() as channel:
        theirs = EventReceiver(channel, app=app, routing_key="task.#", node_id="node").queue
    if "queue_durable" not in EventReceiver.__init__.__code__.co_varnames:
        theirs.durable, theirs.exclusive = app.conf.event_queue_durable, app.conf.event_queue_exclusive
        theirs.auto_delete = not theirs.durable
    assert named(event_queue(app, connection, node="node", routing_key="task.#")) == named(theirs)


@pytest.mark.parametrize("namespace", ["", "CELERY"])
@pytest.mark.parametrize("exclusive", [True, False, None])
def test_the_event_queue_of_an_application(namespace: str, exclusive: bool | None) -> None:
    """With each Celery it is exclusive as with 5.7, unless the application sets it by itself, in whichever way."""
    name = f"{namespace}_EVENT_QUEUE_EXCLUSIVE" if namespace else "event_queue_exclusive"
    settings = SimpleNamespace() if exclusive is None else SimpleNamespace(**{name: exclusive})
    app = Celery("queues", set_as_current=False)
    app.config_from_object(settings, namespace=namespace or None)
    add_later_settings(app)
    assert app.conf.event_queue_exclusive is (exclusive is not False)
    assert app.conf.event_queue_durable is False
    other = Celery("other", set_as_current=False)
    assert other.conf.get("event_queue_exclusive") is {(5, 7): True, (5, 6): False}.get(celery.VERSION[:2])


def test_a_durable_event_queue_of_an_application() -> None:
    """Celery 5.6 lets an application have it without a word about exclusive, and so do we beside it."""
    app = Celery("queues", set_as_current=False)
    app.conf.event_queue_durable = True
    add_later_settings(app)
    assert app.conf.event_queue_durable is True
    assert app.conf.event_queue_exclusive is (celery.VERSION[:2] != (5, 6))


@pytest.mark.parametrize(
    "url", ["redis://host/0", "rediss://host/0", "sentinel://host", "redis://a;redis://b"]
)
def test_a_redis_py_that_kombu_refuses(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The two are named, with the command that repairs it; RabbitMQ needs no redis-py."""
    monkeypatch.setattr(redis, "VERSION", (3, 1, 0))
    options = {"master_name": "main"} if url.startswith("sentinel") else {}
    words = r"^kombu .* and redis-py .* do not work together \(Redis transport .*\): pip install 'kombu\[redis\]=="
    with pytest.raises(ConfigError, match=words):
        broker_of(Config(broker_url=url, transport_options=options))
    broker_of(Config(broker_url="amqp://host"))


@pytest.mark.parametrize(("url", "since"), [("gcpubsub://projects/shop", "5.5"), ("pgmq://host/shop", "5.7")])
def test_a_transport_that_kombu_does_not_have_yet(url: str, since: str) -> None:
    """An older kombu is named, with the command that brings the transport; a newer one at most lacks its library."""
    old = tuple(map(int, kombu.__version__.split(".")[:2])) < tuple(map(int, since.split(".")))
    name = url.partition(":")[0]
    words = rf"needs kombu {since} or newer, .*: pip install 'kombu\[{name}\]>={since}'"
    said = ""
    try:
        broker_of(Config(broker_url=url))
    except ConfigError as error:
        said = str(error)
    assert bool(re.search(words, said)) is old


def test_queues_of_delayed_delivery() -> None:
    """The names that the queue reader for RabbitMQ knows are kombu's."""
    delayed = pytest.importorskip("kombu.transport.native_delayed_delivery", reason="new in kombu 5.5")
    assert tuple(map(delayed.level_name, range(delayed.MAX_LEVEL + 1))) == amqp._DELAYED
