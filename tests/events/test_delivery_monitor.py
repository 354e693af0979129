"""Connected but deaf: what is asked when, what follows from silence, and what is shown, on a clock that tests turn."""

import logging
from itertools import pairwise

import pytest

from celery_metrics_exporter.events.delivery_monitor import (
    ANSWER_SECONDS,
    RENEWAL_PAUSE_SECONDS,
    SILENCE_SECONDS,
    DeliveryMonitor,
    Prober,
)
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.web.health import ExporterStatus
from tests.pipeline import T0, Bench, FakeTime, worker_event

DELIVERING = "celery_exporter_receiver_delivering"
DEAF_SECONDS = "celery_exporter_receiver_disconnected_seconds_total"
LOOK = 0.25


class Stage:
    """A delivery with a subscription that stands; it sends the probes and renews the subscription itself.

    Attributes:
        probes: for each probe whether a new connection was wanted.
        renewals: the reasons given.
        publishes: a probe is published at once.
        resubscribes: a renewal leads to another subscription at once.
    """

    def __init__(self, *, prober: bool = True) -> None:
        self.time = FakeTime()
        self.subscription = StreamState(self.time.clock())
        self.received = 0
        self.probes: list[bool] = []
        self.renewals: list[str] = []
        self.publishes = self.resubscribes = True
        stage: Prober | None = self if prober else None
        self.monitor = DeliveryMonitor(
            self.subscription,
            self.time.clock(),
            received=lambda: self.received,
            renew=self.renew,
            prober=stage,
        )
        self.subscription.mark_connected()

    def request_probe(self, told: DeliveryMonitor, *, anew: bool) -> None:
        """Send it."""
        self.probes.append(anew)
        if self.publishes:
            told.published()

    def renew(self, reason: str) -> None:
        """Subscribe anew."""
        self.renewals.append(reason)
        if self.resubscribes:
            self.subscription.mark_disconnected(reason)
            self.subscription.mark_connected()

    def pass_(self, seconds: float) -> None:
        """Let time pass, with its looks."""
        for _ in range(round(seconds / LOOK)):
            self.time.elapsed += LOOK
            self.monitor.sweep()

    def delivering(self) -> bool | None:
        """What the subscription says."""
        return self.subscription.read().delivering

    @property
    def ready(self) -> tuple[bool, str]:
        """What /-/ready says."""
        return ExporterStatus(self.subscription, (), Bench().survey.look).ready()


@pytest.fixture
def stage() -> Stage:
    """A subscription through which nothing came yet."""
    return Stage()


def test_events_are_evidence_enough(stage: Stage) -> None:
    """While events come nothing is asked; whether they do is not known before the first."""
    assert stage.delivering() is None
    for _ in range(10):
        stage.pass_(SILENCE_SECONDS - 1)
        stage.received += 1
    assert stage.delivering() is True
    assert stage.probes == []
    assert stage.ready == (True, "receiving events")


def test_silence_proves_nothing_on_standby(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The active exporter gets our probes: a standby is never called deaf, but a probe that comes ends its wait."""
    caplog.set_level(logging.INFO)
    stage.subscription.mark_disconnected("gone")
    stage.subscription.mark_connected(standby=True)
    stage.pass_(10 * (SILENCE_SECONDS + ANSWER_SECONDS))
    assert stage.delivering() is None
    assert stage.renewals == []
    assert caplog.records == []
    assert stage.ready[0] is True
    assert 15 <= len(stage.probes) <= 20
    stage.received += 1
    stage.pass_(LOOK)
    assert stage.delivering() is True


def test_a_standby_is_no_longer_deaf(stage: Stage) -> None:
    """A deaf subscription that comes back as a standby is subscribed anew once, and its fault is over."""
    stage.resubscribes = False
    stage.pass_(SILENCE_SECONDS + ANSWER_SECONDS + 1)
    assert len(stage.renewals) == 1
    stage.subscription.mark_disconnected(stage.renewals[0])
    stage.subscription.mark_connected(standby=True)
    stage.pass_(60)
    assert len(stage.renewals) == 1
    assert stage.ready[1].startswith("standby: ")


def test_silence_is_broken(stage: Stage) -> None:
    """After a silence one event is sent, and one more half way; that it comes back is proof."""
    stage.pass_(SILENCE_SECONDS - LOOK)
    assert stage.probes == []
    stage.pass_(LOOK)
    assert stage.probes == [False]
    stage.pass_(ANSWER_SECONDS / 2)
    assert stage.probes == [False, False]
    stage.received += 1
    stage.pass_(ANSWER_SECONDS)
    assert stage.delivering() is True
    assert stage.renewals == []


def test_deafness_is_found_and_ended(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Without an answer we are deaf: that is said once, the receiver subscribes anew, and is asked again at once."""
    caplog.set_level(logging.INFO)
    stage.received += 1
    stage.pass_(1)
    stage.resubscribes = False
    stage.pass_(SILENCE_SECONDS + ANSWER_SECONDS)
    reason = "no event for 25 s, not even our own probes (2 sent)"
    assert stage.ready == (False, f"connected but nothing arrives: {reason}")
    assert stage.delivering() is False
    stage.pass_(2 * LOOK)
    assert stage.renewals == [f"subscribing again: {reason}"]
    stage.subscription.mark_disconnected(stage.renewals[0])
    assert stage.ready == (False, f"not receiving events: subscribing again: {reason}")
    stage.pass_(1)
    stage.subscription.mark_connected()
    assert stage.ready[0] is False
    stage.pass_(LOOK)
    assert stage.probes[-1] is True
    stage.received += 1
    stage.pass_(LOOK)
    assert stage.ready == (True, "receiving events")
    assert [record.getMessage() for record in caplog.records] == [
        "connected, but no events arrive: subscribing again",
        "events arrive again",
    ]


def test_lasting_deafness(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """As long as nothing helps it subscribes anew with growing pauses, and says nothing more."""
    moments = []
    for _ in range(8):
        before = len(stage.renewals)
        while len(stage.renewals) == before:
            stage.pass_(LOOK)
        moments.append(stage.time.elapsed)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    expected = [*RENEWAL_PAUSE_SECONDS[1:], *RENEWAL_PAUSE_SECONDS[-1:] * 3]
    assert [gap - ANSWER_SECONDS for gap in gaps] == pytest.approx(expected, abs=4 * LOOK)
    assert len(caplog.records) == 1
    stage.received += 1
    stage.pass_(LOOK)
    assert stage.delivering() is True
    stage.pass_(SILENCE_SECONDS + ANSWER_SECONDS + 2 * LOOK)
    assert len(stage.renewals) == 9


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "no remote control"])
def test_nobody_who_may_send(refused: bool) -> None:
    """Without probes silence proves nothing: nobody is called deaf, and what was known is known no more."""
    stage = Stage(prober=refused)
    stage.received += 1
    stage.publishes = False
    stage.pass_(SILENCE_SECONDS + LOOK)
    stage.monitor.refused()
    assert stage.delivering() is (True if refused else None)
    stage.pass_(600)
    assert stage.delivering() is None
    assert stage.ready == (True, "receiving events")
    assert len(stage.probes) == refused
    stage.subscription.mark_disconnected("lost")
    stage.subscription.mark_connected()
    stage.pass_(SILENCE_SECONDS + LOOK)
    assert len(stage.probes) == 2 * refused  # the rights may have changed


def test_a_broker_that_cannot_be_asked(stage: Stage) -> None:
    """A probe that is not published, or not yet, proves nothing either; it is tried again after a while."""
    stage.received += 1
    stage.publishes = False
    stage.pass_(SILENCE_SECONDS + ANSWER_SECONDS)
    assert stage.delivering() is True
    stage.pass_(10 * ANSWER_SECONDS)
    assert stage.probes == [False]
    for count in range(2, 5):
        stage.monitor.failed()
        stage.pass_(ANSWER_SECONDS - LOOK)
        assert len(stage.probes) == count - 1
        stage.pass_(2 * LOOK)
        assert len(stage.probes) == count
    assert stage.delivering() is None
    assert stage.renewals == []


def test_what_cannot_be_published_makes_nobody_silent(stage: Stage) -> None:
    """While the broker lets nobody publish, nobody is silent; afterwards silence begins anew."""
    stage.publishes = False
    heard = stage.time.clock().monotonic()
    stage.pass_(SILENCE_SECONDS)
    assert stage.subscription.silence(heard) == SILENCE_SECONDS
    stage.monitor.failed()
    stage.pass_(100)
    assert stage.subscription.silence(heard) == LOOK  # until the first look
    assert stage.subscription.read().disconnected_seconds == 0
    stage.received += 1
    stage.pass_(LOOK)
    stage.pass_(5)
    assert stage.subscription.silence(heard) == 5


def test_a_frozen_process_calls_nobody_deaf(stage: Stage) -> None:
    """After a time in which the whole process stood still, the answer that waits in the socket gets its chance."""
    stage.pass_(SILENCE_SECONDS)
    assert stage.probes == [False]
    stage.time.elapsed += 3600
    stage.monitor.sweep()
    assert stage.delivering() is None
    stage.received += 1
    stage.monitor.sweep()
    assert stage.delivering() is True


def test_an_outage_is_no_deafness(stage: Stage) -> None:
    """While there is no subscription nothing is asked, and afterwards a silence begins anew."""
    stage.received += 1
    stage.pass_(SILENCE_SECONDS - 1)
    stage.subscription.mark_disconnected("gone")
    assert stage.delivering() is None
    stage.pass_(300)
    stage.subscription.mark_connected()
    stage.pass_(SILENCE_SECONDS - LOOK)
    assert stage.probes == []


def test_deaf_time_counts_from_the_last_event(stage: Stage) -> None:
    """The gap begins with the last event, lasts until one comes, and lets nobody be declared dead."""
    stage.received += 1
    stage.pass_(LOOK)
    heard = 1000 + stage.time.elapsed
    stage.pass_(SILENCE_SECONDS + ANSWER_SECONDS)
    assert stage.subscription.read().disconnected_seconds == SILENCE_SECONDS + ANSWER_SECONDS
    stage.pass_(1000)
    assert stage.subscription.read().connected
    assert stage.subscription.silence(heard) == 0
    stage.received += 1
    stage.pass_(LOOK)
    gap = stage.subscription.read().disconnected_seconds
    assert gap == SILENCE_SECONDS + ANSWER_SECONDS + 1000 + LOOK
    stage.pass_(5)
    assert stage.subscription.silence(heard) == 5
    assert stage.subscription.read().disconnected_seconds == gap


def test_what_is_shown() -> None:
    """The gauge is absent before anything is known; probes are no events of Celery's, no lag and no worker."""
    bench = Bench()
    assert bench.value(DELIVERING) is None
    bench.feed({"type": "exporter-probe", "hostname": "celery-exporter@h", "timestamp": T0 - 50, "uuid": "1"})
    bench.wait(LOOK)
    assert bench.value(DELIVERING) == 1
    assert bench.value("celery_exporter_events_total", event="exporter-probe") == 1
    assert bench.value("celery_exporter_events_total", event="other") == 0
    assert bench.value("celery_exporter_event_lag_seconds_count") == 0
    assert bench.value("celery_exporter_last_event_timestamp_seconds") is None
    assert bench.samples("celery_worker_up") == {}
    bench.subscription.mark_not_delivering("nothing", since=0)
    assert bench.value(DELIVERING) == 0
    bench.feed(worker_event("heartbeat"))
    bench.wait(LOOK)
    assert bench.value(DELIVERING) == 1
    bench.subscription.mark_disconnected("lost")
    assert bench.value(DELIVERING) is None


def test_restarts_are_counted() -> None:
    """A receiver that took the place of a stuck one shows."""
    bench = Bench()
    assert bench.value("celery_exporter_receiver_restarts_total") == 0
    bench.subscription.count_restart()
    assert bench.value("celery_exporter_receiver_restarts_total") == 1
