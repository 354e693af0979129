"""The state of the subscription, in time, on the exporter's pages and in its metrics."""

import threading

from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.web.health import ExporterStatus
from tests.pipeline import SECRET, Bench, FakeTime

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


def test_ready_without_events_says_whether_queues_are_read() -> None:
    """Not ready before the first sample and after a failed one, with the reason; ready after one that succeeded."""
    bench = Bench(events=False, connected=False)
    status = ExporterStatus(bench.subscription, (), bench.survey.look, reading=bench.survey.reading)
    assert status.ready() == (False, "not reading queues: connecting")
    bench.pipeline.sampling_failed(f"no keys {SECRET}")
    assert status.ready() == (False, "not reading queues: no keys ***")
    bench.sample(q=1)
    assert status.ready() == (True, "reading queues, without events")
    bench.wait(3600)
    assert status.ready() == (False, "not reading queues: no fresh sample")


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


def test_a_standby_is_ready_and_misses_nothing() -> None:
    """On standby no time counts as without events, before and after the takeover, which asks the workers anew."""
    asked: list[bool] = []
    time = FakeTime()
    subscription = StreamState(time.clock(), on_connected=lambda: asked.append(subscription.read().standby))
    status = ExporterStatus(subscription, (), Bench().survey.look)
    time.elapsed = 5
    subscription.mark_connected(standby=True)
    assert status.ready() == (
        True,
        "standby: another exporter receives the events, this one takes over when it is gone",
    )
    time.elapsed = 3600
    subscription.mark_connected(standby=True)
    subscription.mark_connected()
    subscription.mark_connected()
    assert status.ready() == (True, "receiving events")
    time.elapsed = 3610
    state = subscription.read()
    assert (state.standby, state.connections, state.disconnected_seconds, state.lasting) == (False, 1, 5, 10)
    assert asked == [True, False]
    assert subscription.listening_since == 1000.0 + 3600  # what workers have by then is asked for


def test_a_standby_that_is_lost_is_lost() -> None:
    """A standby without a connection is none any more, and its time without one counts."""
    bench = Bench(connected=False)
    bench.subscription.mark_connected(standby=True)
    assert bench.value(PREFIX + "standby") == 1
    bench.subscription.mark_disconnected("gone")
    bench.time.elapsed += 7
    assert bench.value(PREFIX + "standby") == 0
    assert bench.value(PREFIX + "disconnected_seconds_total") == 7


def test_silence_does_not_grow_on_standby() -> None:
    """Another exporter gets the events of workers: those that we knew are not silent, before and after the takeover."""
    time = FakeTime()
    subscription = StreamState(time.clock())
    subscription.mark_connected()
    heard = time.clock().monotonic()
    subscription.mark_disconnected("gone")
    subscription.mark_connected(standby=True)
    time.elapsed = 1000
    assert subscription.silence(heard) == 0
    subscription.mark_connected()
    time.elapsed = 1007
    assert subscription.silence(heard) == 7
