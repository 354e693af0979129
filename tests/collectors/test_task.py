"""What becomes of the events of a task, rule by rule."""

from typing import Any

import pytest

from celery_metrics_exporter.collectors import TaskCollector
from celery_metrics_exporter.tasks.attribution import WAIT_SECONDS
from tests.pipeline import T0, Bench, received, sent, task, worker_event

RUNTIME = "celery_task_runtime_seconds"
QUEUE_WAIT = "celery_task_queue_wait_seconds"
PREFETCH_WAIT = "celery_task_prefetch_wait_seconds"


def life(uuid: str = "u", **more: Any) -> list[dict[str, Any]]:
    """A plain successful life: sent at 0, received at 1, started at 2, succeeded after half a second."""
    return [
        sent(uuid, **more),
        received(uuid, **more),
        task("started", uuid),
        task("succeeded", uuid, 2.5, runtime=0.5),
    ]


def test_a_plain_life() -> None:
    """Each event is counted once, waits and run time are measured."""
    bench = Bench()
    bench.time.elapsed = 10
    bench.feed(*life())
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    labels = {"task": "t", "queue": "q"}
    assert bench.value(QUEUE_WAIT + "_sum", **labels) == 2.0
    assert bench.value(PREFETCH_WAIT + "_sum", **labels) == 1.0
    assert bench.value(RUNTIME + "_sum", **labels, outcome="succeeded") == 0.5
    assert bench.value("celery_task_last_succeeded_timestamp_seconds", **labels) == T0 + 2.5
    assert bench.value("celery_task_in_progress", **labels) == 0


def test_a_batch_is_handled_like_single_events() -> None:
    """A task.multi list counts like its events one by one."""
    one, batch = Bench(), Bench()
    one.feed(*life())
    batch.feed(life())
    assert one.samples("celery_task") == batch.samples("celery_task")


def test_everything_starts_at_zero() -> None:
    """With the first event of a (task, queue) all its counters exist, except those of exceptions."""
    bench = Bench()
    bench.feed(sent())
    bench.wait(WAIT_SECONDS)
    counters = {family.name for family in TaskCollector.families if family.kind == "counter"}
    found = {name: value for name, value in bench.samples("celery_task").items() if "_total{" in name}
    assert {name.partition("{")[0] for name in found} == counters - {"celery_task_exceptions_total"}
    assert len(found) == len(counters) - 1 + 1 + 2  # two values of requeue, three reasons
    assert bench.counts() == {"sent": sum(found.values())} == {"sent": 1}


def test_running_tasks_are_shown() -> None:
    """Between start and end a task is in progress, and the oldest start is shown."""
    bench = Bench()
    bench.time.elapsed = 10
    for number in range(3):
        bench.feed(sent(f"u{number}"), task("started", f"u{number}", 5.0 + number))
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 3
    assert bench.value("celery_task_oldest_running_timestamp_seconds", task="t", queue="q") == T0 + 5
    bench.feed(task("failed", "u0", 9.0, exception="ValueError()", traceback=None))
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 2
    assert bench.value("celery_task_oldest_running_timestamp_seconds", task="t", queue="q") == T0 + 6
    bench.feed(task("succeeded", "u1", 9.0), task("succeeded", "u2", 9.0))
    assert bench.value("celery_task_oldest_running_timestamp_seconds", task="t", queue="q") is None


@pytest.mark.parametrize("place", range(4))
def test_a_late_task_sent_changes_nothing(place: int) -> None:
    """Wherever task-sent comes in a task's life, within the wait, the result is the same."""
    first, *others = life()
    events = [*others[:place], first, *others[place:]]
    bench, expected = Bench(), Bench()
    bench.feed(*events)
    expected.feed(*life())
    assert bench.samples("celery_task") == expected.samples("celery_task")


def test_increments_wait_for_the_task_sent() -> None:
    """Without its task-sent nothing of the task is shown for two seconds, then what can be known."""
    bench = Bench()
    bench.feed(*life("other"))
    bench.feed(*life("u", name="new")[1:])
    assert bench.counts("new") == bench.counts("new", "unknown") == {}
    bench.wait(1.9)
    assert bench.counts("new", "unknown") == {}
    bench.wait(0.2)
    assert bench.counts("new", "unknown") == {"received": 1, "started": 1, "succeeded": 1}


def test_nothing_waits_when_task_sent_is_off() -> None:
    """Once a wait was in vain and no task-sent came at all, increments are shown at once."""
    bench = Bench()
    bench.feed(*life("first")[1:])
    bench.wait(2.1)
    bench.feed(*life("second")[1:])
    assert bench.counts("t", "unknown") == {"received": 2, "started": 2, "succeeded": 2}


def test_the_only_queue_of_a_task_is_assumed() -> None:
    """Without task-sent, a task is taken to be on the one queue that it is known to use."""
    bench = Bench()
    bench.feed(*life("first"))
    bench.feed(*life("second")[1:])
    bench.wait(2.1)
    assert bench.counts() == {"sent": 1, "received": 2, "started": 2, "succeeded": 2}
    bench.feed(sent("third", queue="other"), *life("fourth")[1:])
    bench.wait(2.1)
    assert bench.counts("t", "unknown") == {"received": 1, "started": 1, "succeeded": 1}


def test_a_task_sent_after_the_wait_still_tells() -> None:
    """After the fallback, task-sent still yields its count, the queue wait, and the labels of what follows."""
    bench = Bench()
    bench.feed(received(), task("started"))
    bench.wait(3)
    assert bench.value("celery_task_in_progress", task="t", queue="unknown") == 1
    bench.feed(sent())
    assert bench.value("celery_task_in_progress", task="t", queue="unknown") == 0
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 1
    bench.feed(task("succeeded", at=3.0, runtime=1.0))
    assert bench.counts() == {"sent": 1, "succeeded": 1}
    assert bench.value(QUEUE_WAIT + "_sum", task="t", queue="q") == 2.0


def test_a_task_sent_after_the_end_opens_no_ghost() -> None:
    """A finished task stays known for a while, so that its task-sent does not look like a new task."""
    bench = Bench()
    bench.feed(*life()[1:])
    bench.wait(10)
    bench.feed(sent())
    assert bench.counts() == {"sent": 1}
    bench.wait(120)
    assert bench.value("celery_exporter_in_flight_tasks") == 0


def test_first_seen_in_the_middle() -> None:
    """Events of a task whose beginning we missed count under what is known."""
    bench = Bench()
    bench.feed(task("succeeded", runtime=1.0))
    bench.wait(3)
    assert bench.counts("unknown", "unknown") == {"succeeded": 1}
    assert bench.value(RUNTIME + "_count", task="unknown", queue="unknown", outcome="succeeded") == 1


def test_eta_is_when_it_is_due() -> None:
    """The queue wait of a task with an eta begins at the eta, the prefetch wait too."""
    bench = Bench()
    eta = "2023-11-14T22:13:30+00:00"  # T0 + 10
    bench.feed(sent(eta=eta), received(at=1.0, eta=eta), task("started", at=13.0))
    assert bench.value(QUEUE_WAIT + "_sum", task="t", queue="q") == 3.0
    assert bench.value(PREFETCH_WAIT + "_sum", task="t", queue="q") == 3.0


def test_an_eta_in_local_time_is_the_same_moment() -> None:
    """An eta with another offset than UTC is the moment that it says."""
    bench = Bench()
    bench.feed(sent(eta="2023-11-15T03:43:30+05:30"), task("started", at=13.0))
    assert bench.value(QUEUE_WAIT + "_sum", task="t", queue="q") == 3.0


def test_clocks_that_disagree_never_make_a_wait_negative() -> None:
    """A start before the publication, by another machine's clock, is a wait of 0."""
    bench = Bench()
    bench.feed(sent(at=50.0), received(at=49.0), task("started", at=48.0))
    assert bench.value(QUEUE_WAIT + "_sum", task="t", queue="q") == 0.0
    assert bench.value(PREFETCH_WAIT + "_sum", task="t", queue="q") == 0.0


def test_a_start_told_before_its_delivery() -> None:
    """Some transports mix up events of one moment; the prefetch wait is measured all the same, once."""
    bench, expected = Bench(), Bench()
    first, delivered, *others = life()
    bench.feed(first, others[0], delivered, *others[1:], delivered)
    expected.feed(*life())
    assert bench.samples("celery_task") == expected.samples("celery_task")


RETRY: dict[str, Any] = {"exception": "KeyError('x')", "traceback": None}


def test_each_retry_has_its_own_wait() -> None:
    """The attempts of a retried task share a uuid; each is counted with its own waits."""
    bench = Bench()
    bench.feed(
        *life()[:3],
        sent(at=3.0, retries=1),
        task("retried", at=3.5, **RETRY),
        received(at=4.0, retries=1),
        task("started", at=5.0),
        task("succeeded", at=6.0, runtime=1.0),
    )
    assert bench.counts() == {"sent": 2, "received": 2, "started": 2, "retried": 1, "succeeded": 1}
    assert bench.value(QUEUE_WAIT + "_sum", task="t", queue="q") == 4.0
    assert bench.value(RUNTIME + "_sum", task="t", queue="q", outcome="retried") == 1.5
    exception = {"task": "t", "queue": "q", "exception": "KeyError", "outcome": "retried"}
    assert bench.value("celery_task_exceptions_total", **exception) == 1


def test_a_retry_to_another_queue() -> None:
    """A retry that goes to another queue is counted there, the first attempt stays where it was."""
    bench = Bench()
    bench.feed(*life()[:3], sent(at=3.0, retries=1, queue="slow"), task("retried", at=3.5, **RETRY))
    bench.feed(received(at=4.0, retries=1), task("started", at=5.0), task("succeeded", at=6.0, runtime=1.0))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "retried": 1}
    assert bench.counts(queue="slow") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}


def test_attempts_overlap_on_two_workers() -> None:
    """The next attempt may start elsewhere before the first worker tells of the retry."""
    bench = Bench()
    bench.feed(
        *life()[:3],
        sent(at=3.0, retries=1),
        received(at=3.1, retries=1, worker="x@h"),
        task("started", at=3.2, worker="x@h"),
        task("succeeded", at=3.3, worker="x@h", runtime=0.1),
        task("retried", at=3.0, **RETRY),
    )
    assert bench.counts() == {"sent": 2, "received": 2, "started": 2, "retried": 1, "succeeded": 1}
    assert bench.value(RUNTIME + "_sum", task="t", queue="q", outcome="retried") == 1.0
    assert bench.value("celery_worker_tasks_total", worker="w@h", outcome="retried") == 1
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0


def test_replace_goes_on_under_a_new_name() -> None:
    """Task.replace: the same uuid under another name and queue; the replaced task ends without outcome."""
    bench = Bench()
    bench.feed(*life()[:3], sent(at=3.0, name="t2", queue="q2"))
    bench.feed(received(at=4.0, name="t2"), task("started", at=5.0), task("succeeded", at=6.0, runtime=1.0))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1}
    assert bench.counts("t2", "q2") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0


def test_a_replacement_seen_before_what_it_replaces() -> None:
    """Whichever of the two is heard of first, what ran later is the replacement."""
    bench = Bench()
    again = {"name": "t2", "parent_id": "u"}
    bench.feed(
        sent(at=3.0, queue="q2", **again),
        sent(),
        received(at=1.0),
        task("started", at=2.0),
        received(at=4.0, worker="x@h", **again),
        task("started", at=5.0, worker="x@h"),
        task("succeeded", at=6.0, worker="x@h", runtime=1.0),
    )
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1}
    assert bench.counts("t2", "q2") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0


def test_a_replacement_delivered_before_what_it_replaces() -> None:
    """Two workers' events may come in the wrong order; the labels are right all the same."""
    bench = Bench()
    again = {"name": "t2", "parent_id": "u"}
    bench.feed(
        sent(),
        received(at=4.0, worker="x@h", **again),
        sent(at=3.0, queue="q2", **again),
        received(at=1.0),
        task("started", at=2.0),
        task("started", at=5.0, worker="x@h"),
        task("succeeded", at=6.0, worker="x@h", runtime=1.0),
    )
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1}
    assert bench.counts("t2", "q2") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}


def test_redelivery_repeats_received() -> None:
    """A message delivered again is received and started again, and has one more outcome."""
    bench = Bench()
    bench.feed(*life()[:3], task("rejected", at=3.0, requeue=True))
    bench.feed(received(at=4.0), task("started", at=5.0), task("succeeded", at=6.0, runtime=1.0))
    expected = {"sent": 1, "received": 2, "started": 2, "rejected true": 1, "succeeded": 1}
    assert bench.counts() == expected
    assert bench.value(QUEUE_WAIT + "_count", task="t", queue="q") == 2


def test_one_hard_time_limit_is_one_failure() -> None:
    """Celery 5.7 sends two task-failed for a hard time limit; one is counted, also for the worker."""
    bench = Bench()
    failure = {
        "exception": "ExceptionWithTraceback()",
        "traceback": "billiard.exceptions.TimeLimitExceeded: 1",
    }
    bench.feed(*life()[:3], task("failed", at=3.0, **failure), task("failed", at=3.1, **failure))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "failed": 1}
    assert bench.value("celery_worker_tasks_total", worker="w@h", outcome="failed") == 1
    exception = {"task": "t", "queue": "q", "exception": "TimeLimitExceeded", "outcome": "failed"}
    assert bench.value("celery_task_exceptions_total", **exception) == 1


def test_an_event_delivered_twice_counts_once() -> None:
    """The very same event again (same uuid, type and time) changes nothing."""
    bench, expected = Bench(), Bench()
    bench.feed(*(event for event in life() for _ in range(2)), *life())
    expected.feed(*life())
    assert bench.samples("celery_task") == expected.samples("celery_task")


def test_reject_of_celery_5_7() -> None:
    """Reject(requeue=False) fails and is rejected: two events, two counters."""
    bench = Bench()
    bench.feed(*life()[:3], task("failed", at=3.0, exception="Reject()", traceback=None))
    bench.feed(task("rejected", at=3.1, requeue=False))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "failed": 1, "rejected false": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"terminated": False, "expired": False}, "revoked"),
        ({"terminated": True, "expired": False, "signum": "SIGTERM"}, "terminated"),
        ({"terminated": False, "expired": True}, "expired"),
        ({}, "revoked"),
    ],
)
def test_revoked_by_reason(fields: dict[str, Any], reason: str) -> None:
    """Revoked before the start, terminated and expired are told apart; up to 5.0 it came twice."""
    bench = Bench()
    bench.feed(sent(), task("revoked", at=3.0, **fields), task("revoked", at=3.1, **fields))
    assert bench.counts() == {"sent": 1, reason: 1}


def test_cancelled_and_delivered_again() -> None:
    """A task cancelled with its worker's connection does not run any more, and goes on after redelivery."""
    bench = Bench()
    bench.feed(*life()[:3], task("cancelled", at=3.0))
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0
    bench.feed(received(at=4.0), task("started", at=5.0), task("succeeded", at=6.0, runtime=1.0))
    assert bench.counts() == {"sent": 1, "received": 2, "started": 2, "cancelled": 1, "succeeded": 1}


def test_null_runtime() -> None:
    """A success without a runtime counts, and observes nothing."""
    bench = Bench()
    bench.feed(*life()[:3], task("succeeded", at=3.0, runtime=None))
    assert bench.counts()["succeeded"] == 1
    assert bench.value(RUNTIME + "_count", task="t", queue="q", outcome="succeeded") == 0


@pytest.mark.parametrize("name", [None, "", "None"])
def test_missing_names(name: str | None) -> None:
    """A task without a name is unknown; the label is never made of a null."""
    bench = Bench()
    bench.feed(sent(name=name))  # type: ignore[arg-type]  # null as a broken client sends it
    bench.wait(WAIT_SECONDS)
    expected = "None" if name == "None" else "unknown"
    assert bench.counts(expected) == {"sent": 1}


def test_an_unregistered_task_takes_its_name_from_task_sent() -> None:
    """A worker that does not know a task fails it without any other event."""
    bench = Bench()
    bench.feed(task("failed", exception="NotRegistered('t')", traceback=None), sent())
    assert bench.counts() == {"sent": 1, "failed": 1}


def test_an_unregistered_task_without_task_sent_takes_its_name_from_its_exception() -> None:
    """A NotRegistered that a task itself raised has a traceback, and says nothing of that task."""
    bench = Bench()
    bench.feed(
        task("failed", "a", exception="NotRegistered('shop.pay')", traceback=None),
        task("failed", "b", exception="NotRegistered('shop.pay')", traceback="Traceback ..."),
        task("failed", "c", exception="NotRegistered('\\'')", traceback=None),
    )
    bench.wait(WAIT_SECONDS)
    assert bench.counts("shop.pay", "unknown") == {"failed": 1}
    assert bench.counts("unknown", "unknown") == {"failed": 2}


def test_a_task_that_ends_without_an_event_stops_running() -> None:
    """After two heartbeats without active tasks nothing runs on the worker: Ignore has no event of its own."""
    bench = Bench()
    bench.feed(*life()[:3], worker_event("heartbeat", 4.0, active=1))
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 1
    bench.feed(worker_event("heartbeat", 6.0), worker_event("heartbeat", 8.0))
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0


def test_nothing_runs_on_a_lost_worker() -> None:
    """What ran on a worker that fell silent is in progress no more, and its late outcome still counts."""
    bench = Bench()
    bench.feed(worker_event("online"), *life()[:3])
    bench.wait(61)
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0
    bench.feed(task("succeeded", at=100.0, runtime=98.0))
    assert bench.counts()["succeeded"] == 1


def test_hostile_labels_are_tamed() -> None:
    """Names that would break or bloat a scrape are sanitised, and share their series."""
    bench = Bench()
    bench.feed(sent("a", name="bad\nname", queue="q\x00"), sent("b", name="x" * 100_000))
    bench.wait(WAIT_SECONDS)
    assert bench.counts("bad\N{REPLACEMENT CHARACTER}name", "q\N{REPLACEMENT CHARACTER}") == {"sent": 1}
    assert bench.counts("x" * 200) == {"sent": 1}
    assert len(bench.text()) < 60_000


def test_series_are_capped() -> None:
    """Label sets beyond --max-series are folded into other, and counted."""
    bench = Bench(max_series=3)
    for number in range(10):
        bench.feed(sent(f"u{number}", name=f"t{number}"))
    bench.wait(WAIT_SECONDS)
    assert bench.counts("t2") == {"sent": 1}
    assert bench.counts("t3") == {}
    assert bench.counts("other", "other") == {"sent": 7}
    assert bench.value("celery_exporter_series_overflowed_total", family="celery_task") == 7


def test_exception_classes_are_capped() -> None:
    """Exception classes made at run time cannot grow the memory."""
    bench = Bench(max_series=3)
    for number in range(10):
        bench.feed(sent(f"u{number}"), task("failed", f"u{number}", exception=f"Error{number}()"))
    folded = {"task": "t", "queue": "q", "exception": "other", "outcome": "failed"}
    assert bench.value("celery_task_exceptions_total", **folded) == 7
    assert bench.value("celery_exporter_series_overflowed_total", family="celery_task_exceptions_total") == 7


def test_the_table_is_bounded() -> None:
    """Beyond --max-in-flight the oldest task is forgotten, and counted; its end still counts."""
    bench = Bench(max_in_flight=5)
    for number in range(8):
        bench.feed(sent(f"u{number}"), task("started", f"u{number}"))
    assert bench.value("celery_exporter_in_flight_tasks") == 5
    assert bench.value("celery_exporter_in_flight_evicted_total", reason="capacity") == 3
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 5


def test_tasks_that_never_end_expire() -> None:
    """A task that ends without an event is forgotten after a day; one that runs that long is not."""
    bench = Bench(worker_timeout=200_000.0)
    bench.feed(
        *life("ignored")[:3], worker_event("online", at=3.0), *life("runs")[:2], task("started", "runs", 4.0)
    )
    bench.wait(25 * 3600)
    assert bench.value("celery_exporter_in_flight_evicted_total", reason="expired") == 1
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 1


def test_clients_with_queues_of_their_own_share_a_label() -> None:
    """Each process publishes to a Broadcast queue under another name: these fill no limit and are one (task, queue)."""
    bench = Bench(max_series=20)
    for number in range(300):
        bench.feed(sent(f"u{number}", queue=f"bcast.{number:08x}-d9cb-469f-a165-70867728950e"))
        bench.feed(sent(f"d{number}", queue=f"w{number}@h.dq2"))
    bench.wait(WAIT_SECONDS)
    bench.feed(*life("plain", name="ordinary"))
    assert bench.counts(queue="bcast.*") == {"sent": 300}
    assert bench.counts(queue="*.dq2") == {"sent": 300}
    assert bench.counts("ordinary") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    assert bench.pipeline.wanted() == ("q", "celery")


def test_a_task_whose_eta_is_days_ahead() -> None:
    """Held by its worker all the time, it keeps name, queue and waits; so does its retry, days later."""
    bench = Bench(worker_timeout=1e9)
    eta, again = "2023-11-17T22:13:20+00:00", "2023-11-20T22:13:20+00:00"
    days = 24 * 3600.0
    bench.feed(worker_event("online"), sent(eta=eta), received(eta=eta))
    for _ in range(72):
        bench.wait(3600)
    retry: dict[str, Any] = {"retries": 1, "parent_id": "u", "eta": again}
    bench.feed(task("started", at=3 * days + 1), sent(at=3 * days + 2, **retry))
    bench.feed(task("retried", at=3 * days + 2, **RETRY))
    for _ in range(72):
        bench.wait(3600)
    bench.feed(received(at=6 * days, **retry), task("started", at=6 * days + 3))
    bench.feed(task("succeeded", at=6 * days + 4, runtime=1.0))
    assert bench.counts() == {"sent": 2, "received": 2, "started": 2, "retried": 1, "succeeded": 1}
    for wait in (QUEUE_WAIT, PREFETCH_WAIT):
        assert bench.value(wait + "_sum", task="t", queue="q") == 1.0 + 3.0
    assert bench.value("celery_exporter_in_flight_evicted_total", reason="expired") == 0
