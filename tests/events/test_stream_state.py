"""The state of the subscription, in time, on the exporter's pages and in its metrics."""

import threading

from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.web.health import ExporterStatus
from tests.pipeline import Bench, FakeTime

PREFIX = "celery_exporter_receiver_"


def test_deaf_time_is_counted() -> None:
    """Seconds without a subscription add up, from the start of the process on, also while they last."""
    bench = Bench(connected=False)
    bench.time.elapsed = 5
    values = bench.samples(PREFIX)
    assert values[PREFIX + "connected"] == 0
    assert values[PREFIX + "disconnected_seconds_total"] == 5
    bench.subscription.mark_connected()
    bench.time.elapsed = 100
    bench.subscription.mark_disconnected("gone")
    bench.time.elapsed = 107
    values = bench.samples(PREFIX)
    assert values[PREFIX + "disconnected_seconds_total"] == 12
    assert values[PREFIX + "reconnects_total"] == 0
    bench.subscription.mark_connected()
    values = bench.samples(PREFIX)
    assert values[PREFIX + "connected"] == 1
    assert values[PREFIX + "reconnects_total"] == 1


def test_a_link_that_is_found_dead_late() -> None:
    """Seconds count from the last time it was heard, though never twice."""
    bench = Bench()
    bench.time.elapsed = 20
    bench.subscription.mark_disconnected("silent", since=bench.time.clock().monotonic() - 15)
    bench.subscription.mark_connected()
    assert bench.samples(PREFIX)[PREFIX + "disconnected_seconds_total"] == 15
    bench.time.elapsed = 22
    bench.subscription.mark_disconnected("silent", since=bench.time.clock().monotonic() - 15)
    assert bench.samples(PREFIX)[PREFIX + "disconnected_seconds_total"] == 17


def test_errors_are_redacted() -> None:
    """The last error, which /-/ready shows, is free of secrets."""
    subscription = StreamState(FakeTime().clock(), redact=lambda text: text.replace("hunter2", "***"))
    subscription.mark_disconnected("cannot reach redis://:hunter2@host")
    assert subscription.read().last_error == "cannot reach redis://:***@host"


def test_ready_says_whether_events_flow() -> None:
    """Not ready before the subscription stands, with the reason; ready while it does."""
    subscription = StreamState(FakeTime().clock())
    status = ExporterStatus(subscription, (), Bench().survey.look)
    assert status.ready() == (False, "not receiving events: connecting")
    subscription.mark_disconnected("connection refused")
    assert status.ready() == (False, "not receiving events: connection refused")
    subscription.mark_connected()
    assert status.ready() == (True, "receiving events")


def test_healthy_is_about_the_process_alone() -> None:
    """Without a broker the process is healthy; with a dead thread of its own it is not."""
    subscription = StreamState(FakeTime().clock())
    thread = threading.Thread(target=lambda: None, name="receiver")
    status = ExporterStatus(subscription, (thread,), Bench().survey.look)
    assert status.healthy() == (True, "healthy")
    thread.start()
    thread.join()
    assert status.healthy() == (False, "dead: receiver")


def test_who_waits_for_a_subscription_is_told() -> None:
    """Of each subscription that stands, once, when that can be seen already."""
    told: list[bool] = []
    subscription = StreamState(
        FakeTime().clock(), on_connected=lambda: told.append(subscription.read().connected)
    )
    subscription.mark_connected()
    subscription.mark_connected()
    subscription.mark_disconnected("gone")
    assert told == [True]
    subscription.mark_connected()
    assert told == [True, True]
