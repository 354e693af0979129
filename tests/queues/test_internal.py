"""Which queues are Celery's own and are never shown, by the names that its own code makes."""

import pytest
from celery import Celery
from kombu.pidbox import Mailbox

from celery_metrics_exporter.queues.internal import is_internal


@pytest.fixture
def app() -> Celery:
    """An application that never connects anywhere."""
    return Celery("names", broker="memory://", backend="rpc://", set_as_current=False)


def test_event_queues(app: Celery) -> None:
    """The exchange of events and the queue of each receiver are internal."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        receiver = app.events.Receiver(channel)
        assert is_internal(receiver.queue.name)
        assert is_internal(receiver.exchange.name)


@pytest.mark.parametrize("namespace", ["celery", "celery-exporter", "shop.eu"])
def test_remote_control(app: Celery, namespace: str) -> None:
    """A worker's mailbox, a reply queue and both exchanges are internal, whatever the control exchange's name."""
    with app.connection_for_read() as connection:
        mailbox = Mailbox(namespace, connection=connection)
        with connection.channel() as channel:
            queue = mailbox.get_queue("worker@host")
            names = [
                queue.name,
                queue.exchange.name,
                mailbox(channel).reply_queue.name,
                mailbox.reply_exchange.name,
            ]
    assert [name for name in names if not is_internal(name)] == []


def test_result_queues(app: Celery) -> None:
    """The queue through which the rpc backend gets its results is internal."""
    assert is_internal(app.backend.oid)


@pytest.mark.parametrize("prefix", [None, "shop"])
def test_delayed_delivery(prefix: str | None) -> None:
    """All levels of native delayed delivery and its last exchange are internal, with a prefix too."""
    delayed = pytest.importorskip("kombu.transport.native_delayed_delivery", reason="new in kombu 5.5")
    names = [*map(delayed.level_name, range(delayed.MAX_LEVEL + 1)), delayed.CELERY_DELAYED_DELIVERY_EXCHANGE]
    if prefix:  # kombu makes such names itself since 5.7
        names = [f"{prefix}_{name}" for name in names]
    assert [name for name in names if not is_internal(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "celery",
        "",
        "celeryevents",
        "mail.celeryev",
        "pidbox",
        "pidboxes",
        "my-pidbox",
        "celery_delayed_reports",
        "celery_delayed_5_reports",
        "worker@host.dq2",
        "bcast.6c3a2d0e-57bd-4a6f-8bd3-0b0f5c2f1c11",
        "reports-6c3a2d0e-57bd-4a6f-8bd3-0b0f5c2f1c11",
        "celery\x06\x163",
    ],
)
def test_queues_with_tasks(name: str) -> None:
    """Names that only look alike hold tasks and are shown."""
    assert not is_internal(name)
