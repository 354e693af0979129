"""What stands in the place of Celery's dispatcher: events go into the pipeline and on to Celery, whatever happens."""

import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import UUID

import pytest
from celery import Celery, signals
from celery.events.dispatcher import EventDispatcher
from celery.worker.control import Panel

from celery_metrics_exporter.in_worker.eventer import Eventer, NoDispatcher, answer_truthfully
from celery_metrics_exporter.in_worker.feed import BATCH, Feed
from tests.pipeline import Bench

WORKER = "w@h"
QUEUE = "q"


class Consumer:
    """What is asked of a ``celery.worker.consumer.Consumer``."""

    def __init__(self, dispatcher: Any = None) -> None:
        self.event_dispatcher = dispatcher
        self.task_consumer = None


class Sender:
    """A worker that tells its events to an eventer."""

    def __init__(self, dispatcher: Any = None) -> None:
        self.bench = Bench(start=time.time())
        self.bench.pipeline.report_alone(lambda: None)
        self.feed = Feed(self.bench.pipeline.dispatcher)
        self.eventer = Eventer(WORKER, self.feed)
        self.consumer = Consumer(dispatcher)
        self.eventer.consume(self.consumer)

    def send(self, kind: str, task: object, **fields: Any) -> None:
        """Send one event of a task."""
        self.eventer.send(f"task-{kind}", uuid=task, **fields)

    def receive(self, task: object, name: str = "t", **fields: Any) -> None:
        """Send a task-received, with what Celery adds."""
        self.send("received", task, name=name, args="()", kwargs="{}", retries=0, eta=None, **fields)

    def counts(self, task: str = "t", queue: str = "unknown") -> dict[str, float]:
        """What was counted."""
        self.feed.flush()
        return self.bench.counts(task, queue)


@pytest.fixture
def sender() -> Iterator[Sender]:
    """One without a dispatcher of Celery's."""
    made = Sender()
    yield made
    made.eventer.identity.finish()


def test_a_task_is_counted_without_a_dispatcher(sender: Sender) -> None:
    """From its receipt to its end; nothing waits for a task-sent."""
    sender.receive("u")
    sender.send("started", "u")
    sender.send("succeeded", "u", result="None", runtime=0.5)
    assert sender.counts() == {"received": 1, "started": 1, "succeeded": 1}
    assert (
        sender.bench.value("celery_task_runtime_seconds_sum", task="t", queue="unknown", outcome="succeeded")
        == 0.5
    )


def test_a_full_batch_is_taken_at_once(sender: Sender) -> None:
    """Without a flush; what remains waits for one."""
    for number in range(BATCH + 1):
        sender.receive(f"u{number}")
    assert sender.bench.counts("t", "unknown") == {"received": BATCH}
    assert sender.counts() == {"received": BATCH + 1}


def test_no_task_waits_for_a_batch_that_is_being_taken(sender: Sender) -> None:
    """Nor does a signal handler for what it has interrupted: events are only collected then."""
    with sender.feed._lock:
        for number in range(2 * BATCH):
            sender.receive(f"u{number}")
    assert sender.counts() == {"received": 2 * BATCH}


@pytest.mark.parametrize("identifier", [uuid.uuid4(), 5])
def test_ids_may_be_anything_that_celery_takes(sender: Sender, identifier: object) -> None:
    """A UUID object, or a number, is one id with its text."""
    sender.receive(identifier)
    sender.send("started", str(identifier))
    assert sender.counts() == {"received": 1, "started": 1}
    assert sender.bench.value("celery_exporter_in_flight_tasks") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"retries": -1},
        {"retries": "x"},
        {"eta": 5},
        {"name": ["t"]},
    ],
)
def test_events_have_the_same_bounds_as_on_the_wire(sender: Sender, fields: dict[str, Any]) -> None:
    """What no event may carry costs that event; the others of its batch are counted."""
    sender.receive("good")
    sender.eventer.send("task-received", **{"uuid": "bad", "name": "t", **fields})
    sender.send("started", "good")
    assert sender.counts() == {"received": 1, "started": 1}
    assert sender.bench.value("celery_exporter_events_dropped_total", reason="invalid") == 1


@pytest.mark.parametrize("identifier", [None, "", "x" * 501, object()])
def test_an_id_that_is_none_is_no_event(sender: Sender, identifier: object) -> None:
    """It is dropped, and raises nothing."""
    sender.receive(identifier)
    assert sender.counts() == {}
    assert sender.bench.value("celery_exporter_events_dropped_total", reason="invalid") == 1


def test_a_long_name_is_cut(sender: Sender) -> None:
    """As on the wire: the task counts."""
    sender.receive("u", name="n" * 600)
    sender.feed.flush()
    names = {name for name in sender.bench.samples("celery_task_received_total") if "nnn" in name}
    assert len(names) == 1


def test_what_celery_sends_itself_is_sent_unchanged() -> None:
    """With its groups asked only where that matters; attributes are those of Celery's dispatcher."""
    sent: list[tuple[str, dict[str, Any]]] = []

    class Dispatcher(EventDispatcher):
        def _publish(self, event: dict[str, Any], *_: object, **__: object) -> None:
            sent.append((event["type"], event))

    app = Celery(broker="memory://", set_as_current=False)
    dispatcher = Dispatcher(app.connection_for_write(), hostname=WORKER, app=app, groups=["worker"])
    sender = Sender(dispatcher)
    assert sender.eventer.enabled
    assert sender.eventer.groups is dispatcher.groups
    sender.receive("u")
    sender.eventer.send("worker-heartbeat", freq=2.0)
    assert [kind for kind, _ in sent] == ["worker-heartbeat"]
    sender.eventer.groups.add("task")
    sender.send("started", "u")
    assert sent[-1][0] == "task-started"
    assert {"uuid", "hostname", "pid", "clock"} <= sent[-1][1].keys()
    assert sender.counts() == {"received": 1, "started": 1}
    sender.eventer.identity.finish()


def test_what_celery_raises_is_raised_and_the_event_is_counted() -> None:
    """As without us."""

    class Broken(NoDispatcher):
        enabled = True

        def send(self, *_: object, **__: object) -> NoReturn:
            raise OSError("no connection")

    sender = Sender(Broken())
    with pytest.raises(OSError, match="no connection"):
        sender.receive("u")
    assert sender.counts() == {"received": 1}
    sender.eventer.identity.finish()


def test_a_failure_of_ours_raises_nothing(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is on the way of an event."""

    def fail(event: dict[str, Any]) -> None:
        if event["uuid"] == "lost":
            raise RuntimeError("a bug")

    feed, identity = sender.feed, sender.eventer.identity
    sender.receive("good")
    with monkeypatch.context() as broken:
        broken.setattr(feed, "add", fail)
        sender.receive("lost")
        broken.setattr(identity, "hold", fail)
        sender.send("revoked", "lost")
    assert sender.eventer.failures == 2
    monkeypatch.setattr(identity, "complete", fail)
    sender.receive("lost")
    sender.send("started", "good")
    assert sender.counts() == {"received": 1, "started": 1}
    assert sender.eventer.failures == 3


def test_a_task_that_was_never_received_has_its_name_from_the_signals(sender: Sender) -> None:
    """Celery sends them after the event; its queue is that of the message."""
    delivery = {"exchange": "", "routing_key": QUEUE}
    sender.consumer.task_consumer = SimpleNamespace(  # type: ignore[assignment]  # as much as is asked for
        _active_tags={QUEUE: "1"}, channel=SimpleNamespace(), queues=[]
    )
    sender.send("revoked", "r", terminated=False, expired=True)
    assert sender.counts("t", QUEUE) == {}
    context = SimpleNamespace(id="r", task="t", shadow=None, delivery_info=delivery)
    signals.task_revoked.send(sender=None, request=context, terminated=False, signum=None, expired=True)
    sender.send("failed", "f", exception="NotRegistered('gone')")
    message = SimpleNamespace(delivery_info=delivery, headers={}, properties={})
    signals.task_unknown.send(sender=None, message=message, exc=None, name="gone", id="f")
    sender.feed.flush()
    samples = sender.bench.samples("celery_task_revoked_total", "celery_task_failed_total")
    found = {name for name, value in samples.items() if value}
    assert len(found) == 2
    assert {'task="t"' in name or 'task="gone"' in name for name in found} == {True}


def test_an_event_whose_signal_does_not_come_counts_too(sender: Sender) -> None:
    """After a second, without its name."""
    sender.send("revoked", "r", terminated=False, expired=False)
    sender.eventer.identity.expire()
    assert sender.counts("unknown") == {}
    sender.eventer.identity.expire(patience=0.0)
    assert sender.counts("unknown") == {"revoked": 1}


def test_two_events_of_one_task_are_both_counted(sender: Sender) -> None:
    """The first one does not wait for the signal of the second."""
    sender.receive("u")
    sender.send("started", "u")
    sender.send("revoked", "u", terminated=True, expired=False)
    sender.send("failed", "u", exception="NotRegistered('t')")
    sender.eventer.identity.expire(patience=0.0)
    assert sender.counts() == {"received": 1, "started": 1, "terminated": 1}


def test_running_tasks_keep_the_eventer_when_the_connection_is_made_anew(sender: Sender) -> None:
    """A new dispatcher takes the place of the old one behind it, never its own."""
    first = NoDispatcher()
    sender.consumer.event_dispatcher = first
    sender.eventer.consume(sender.consumer)
    assert sender.consumer.event_dispatcher is sender.eventer
    assert sender.eventer.own is first
    sender.eventer.consume(sender.consumer)
    assert sender.eventer.own is first


def test_the_switch_of_events_is_answered_truthfully(sender: Sender) -> None:
    """Without a dispatcher there is nothing to switch; a second wrapping changes nothing."""
    commands = dict(Panel.data)
    answer_truthfully(commands)
    assert commands == Panel.data  # done before, by the fixture
    state = SimpleNamespace(consumer=sender.consumer)
    for name in ("enable_events", "disable_events"):
        assert commands[name](state) == {"error": "event dispatcher unavailable"}
    own = NoDispatcher()
    own.groups.add("worker")
    other = SimpleNamespace(consumer=Consumer(own))
    assert commands["enable_events"](other) == {"ok": "task events enabled"}


def test_tasks_that_run_no_more_are_not_in_progress(sender: Sender) -> None:
    """What ended without an event, by the worker's own list; what has just begun stays."""
    for task in ("a", "b"):
        sender.receive(task)
        sender.send("started", task)
    sender.feed.flush()
    pipeline, now = sender.bench.pipeline, time.time() + 1
    pipeline.reconcile(WORKER, ["a"], now)
    assert sender.bench.value("celery_task_in_progress", task="t", queue="unknown") == 1
    pipeline.reconcile(WORKER, [], now - 3600)
    assert sender.bench.value("celery_task_in_progress", task="t", queue="unknown") == 1
    sender.send("succeeded", "b", result="None", runtime=0.1)  # its end was only late
    sender.send("succeeded", "a", result="None", runtime=0.1)
    assert sender.counts() == {"received": 2, "started": 2, "succeeded": 2}
    assert sender.bench.value("celery_task_in_progress", task="t", queue="unknown") == 0


def test_a_uuid_is_an_id() -> None:
    """The text of a UUID object is its usual one."""
    from celery_metrics_exporter.ids import id_text  # noqa: PLC0415 - one function of another room

    assert id_text(UUID(int=5)) == "00000000-0000-0000-0000-000000000005"
