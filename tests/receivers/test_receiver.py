"""What all receivers have in common: the reconnect loop, and which subscription it is given."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from celery_metrics_exporter.receivers import amqp, redis
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.choosing import fastest
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from celery_metrics_exporter.receivers.receiver import Receiver
from celery_metrics_exporter.receivers.redis import RedisSubscription
from tests.waiting import wait_for

WAIT_S = 5.0


@dataclass(slots=True)
class Diary:
    """What happened, in order, and a link that writes into it."""

    entries: list[str] = field(default_factory=list)

    def mark_connected(self, *, standby: bool = False) -> None:
        """The link is up."""
        self.entries.append("standby" if standby else "up")

    def mark_disconnected(self, error: str | None, *, since: float | None = None) -> None:
        """The link is down."""
        self.entries.append(f"down: {error}")

    def wait_for(self, *entries: str) -> None:
        """Wait until the diary says exactly this."""
        wait_for(lambda: self.entries == list(entries), timeout=WAIT_S, what=lambda: str(self.entries))


@dataclass(slots=True)
class Scripted:
    """A subscription that does what it is told."""

    diary: Diary
    opening: Exception | None = None
    polling: Exception | None = None
    closing: Exception | None = None
    waiting: int = 0
    _polled: bool = False

    @property
    def standby(self) -> bool:
        """Whether there is another consumer for so many more polls."""
        return self.waiting > 0

    def open(self) -> None:
        """Stand, or fail."""
        self.diary.entries.append("open")
        if self.opening:
            raise self.opening

    def poll(self) -> None:
        """Say so the first time, or fail."""
        if not self._polled:
            self.diary.entries.append("poll")
        self._polled = True
        self.waiting -= 1
        if self.polling:
            raise self.polling

    def close(self, *, clean: bool) -> None:
        """Say how it was left, or fail."""
        self.diary.entries.append(f"close: clean={clean}")
        if self.closing:
            raise self.closing

    def cut(self) -> None:
        """Say so."""
        self.diary.entries.append("cut")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.receiver.BACKOFF_SECONDS", (0.01, 0.02))


@pytest.fixture
def diary() -> Diary:
    """An empty diary."""
    return Diary()


def run(diary: Diary, script: list[Scripted], *expected: str) -> None:
    """Give these subscriptions out in turn, then healthy ones; stop when the diary says what is expected."""
    subscriptions = iter(script)
    receiver = Receiver("the-broker", diary, lambda: next(subscriptions, Scripted(diary)))
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    diary.wait_for(*expected)
    receiver.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_a_life_without_trouble(diary: Diary) -> None:
    """The link is up when the subscription stands, before anything is received, and down after a clean farewell."""
    run(diary, [], "open", "up", "poll")
    assert diary.entries == ["open", "up", "poll", "close: clean=True", "down: stopped"]


def test_a_standby_tells_when_it_is_active(diary: Diary, caplog: pytest.LogCaptureFixture) -> None:
    """The link is told of the standby, and once more when a delivery has ended that."""
    caplog.set_level(logging.INFO)
    run(diary, [Scripted(diary, waiting=3)], "open", "standby", "poll", "up")
    assert [record.getMessage() for record in caplog.records] == [
        "standby: another exporter receives the events",
        "receiving events",
    ]


def test_a_standby_is_stopped_as_it_is(diary: Diary) -> None:
    """A stop ends the wait for the other consumer, which nobody takes for its end."""
    run(diary, [Scripted(diary, waiting=10**9)], "open", "standby", "poll")
    assert diary.entries == ["open", "standby", "poll", "close: clean=True", "down: stopped"]


def test_a_subscription_that_fails_is_left_and_replaced(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a subscription raises costs one line of log, and is followed by the next one."""
    caplog.set_level(logging.INFO)
    refused = OSError("refused\nby the broker")
    script = [
        Scripted(diary, opening=refused),
        Scripted(diary, opening=refused),
        Scripted(diary, polling=KeyError("lost")),
    ]
    failed = ["open", "close: clean=False", "down: OSError: refused by the broker"]
    lost = ["open", "up", "poll", "close: clean=False", "down: KeyError: 'lost'"]
    run(diary, script, *failed, *failed, *lost, "open", "up", "poll")
    assert [record.getMessage() for record in caplog.records] == [
        "cannot receive events, trying again",  # and not again for the same reason
        "receiving events",
        "cannot receive events, trying again",
        "receiving events",
    ]


def test_trouble_in_leaving_hides_nothing(diary: Diary) -> None:
    """The reason of a loss is told although leaving the broken connection fails as well."""
    script = [Scripted(diary, polling=OSError("reset"), closing=OSError("closed already"))]
    run(
        diary,
        script,
        *("open", "up", "poll", "close: clean=False", "down: OSError: reset"),
        *("open", "up", "poll"),
    )


def test_a_farewell_that_fails_is_made_up_for(diary: Diary) -> None:
    """A broker that goes away while it is left in good order is dropped, and the receiver ends all the same."""
    run(diary, [Scripted(diary, closing=OSError("gone"))], "open", "up", "poll")
    assert diary.entries[3:] == ["close: clean=True", "close: clean=False", "down: OSError: gone"]


def test_a_renewal(diary: Diary) -> None:
    """What is to be renewed is left without a farewell, and replaced without a pause; nothing else is disturbed."""
    receiver = Receiver("the-broker", diary, lambda: Scripted(diary))
    receiver.renew("not yet")
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    diary.wait_for("open", "up", "poll")
    receiver.renew("nothing arrives")
    diary.wait_for(
        *("open", "up", "poll", "close: clean=False", "down: nothing arrives"),
        *("open", "up", "poll"),
    )
    receiver.stop()
    thread.join(WAIT_S)
    assert diary.entries[-2:] == ["close: clean=True", "down: stopped"]


def test_a_stop_ends_the_pause(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that waits to try again ends at once when it is told to stop."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.receiver.BACKOFF_SECONDS", (60.0, 60.0))
    script = [Scripted(diary, opening=OSError("refused"))]
    run(diary, script, "open", "close: clean=False", "down: OSError: refused")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost/0", RedisSubscription),
        ("REDISS://localhost/0", RedisSubscription),
        ("redis+socket:///run/redis.sock", RedisSubscription),
        ("sentinel://a/0;sentinel://b/0", RedisSubscription),
        ("redis://localhost/0;amqp://localhost//", KombuSubscription),
        ("amqp://localhost//", AmqpSubscription),
        ("AMQPS://a//; pyamqp://b//", AmqpSubscription),
        ("amqp://localhost//;redis://localhost/0", KombuSubscription),
        ("memory://", KombuSubscription),
        ("redis-like.transport:Transport://", KombuSubscription),
    ],
)
def test_which_broker_has_a_receiver_of_its_own(url: str, kind: Callable[..., object]) -> None:
    """Redis and RabbitMQ by any of their schemes; a failover list of both takes the universal one."""
    assert fastest(url) is kind


@pytest.mark.parametrize(
    ("url", "part", "without"),
    [
        (
            "redis://localhost/0",
            "Connection._sock",
            ("celery_metrics_exporter.receivers.redis.Connection", object),
        ),
        (
            "redis://localhost/0",
            "Channel._get_publish_topics",
            ("celery_metrics_exporter.connection.versions.Channel", object),
        ),
        ("amqp://localhost//", "TCPTransport._read_buffer", ("amqp.transport.TCPTransport", lambda _: None)),
        ("amqp://localhost//", "Connection.on_inbound_frame", "amqp.Connection.on_inbound_frame"),
        ("amqp://localhost//", "Connection.bytes_recv", "amqp.Connection.bytes_recv"),
        ("amqp://localhost//", "Connection.sock", "amqp.Connection.sock"),
        ("amqp://localhost//", "Channel.callbacks", ("amqp.Channel", lambda _: None)),
        ("amqp://localhost//", "Message.inbound_header", ("amqp.Message", object)),
    ],
)
def test_libraries_that_changed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    url: str,
    part: str,
    without: str | tuple[str, Any],
) -> None:
    """Without what a fast receiver needs of a library, the universal one serves, and one line names what it is."""
    assert (redis.missing(), amqp.missing()) == (None, None), "a library has changed: look at its receiver"
    if isinstance(without, str):
        monkeypatch.delattr(without)
    else:
        monkeypatch.setattr(*without)
    assert fastest(url) is KombuSubscription
    (record,) = caplog.records
    assert part in str(vars(record))
