"""What the survey sees: real bodies and facts in, an overview out."""

import json
import math

import pytest

from celery_metrics_exporter.collectors.task import (
    FAILED,
    LAST_FAILED,
    QUEUE_WAIT,
    RUNTIME_SUCCEEDED,
    STARTED,
)
from celery_metrics_exporter.config.config import EventQueue
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.status_page.gather_queues import QUEUES
from celery_metrics_exporter.status_page.gather_tasks import BUSIEST, RUNNING
from celery_metrics_exporter.status_page.gather_workers import WORKERS
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.snapshot_tables import NAMES, Top
from celery_metrics_exporter.tasks.attribution import WAIT_SECONDS
from tests.pipeline import SECRET, T0, Bench, received, sent, task, worker_event


def look(bench: Bench) -> Snapshot:
    """What is seen now."""
    return bench.survey.look()


def run(
    bench: Bench, uuid: str, at: float, *, name: str = "t", queue: str = "q", fails: bool = False
) -> None:
    """Feed a whole task that ends at ``at``."""
    end = (
        task("failed", uuid, at, exception="Boom('x')") if fails else task("succeeded", uuid, at, runtime=0.5)
    )
    bench.feed(
        sent(uuid, at - 3, name=name, queue=queue),
        [received(uuid, at - 2, name=name), task("started", uuid, at - 1), end],
    )


def test_nothing_yet() -> None:
    """Before anything happened all is empty, and what is not known is None."""
    seen = look(Bench())
    assert (seen.stream.total, seen.stream.rate, seen.stream.last, seen.stream.lag) == (0, None, None, None)
    assert (seen.queues.shown.total, seen.queues.waiting, seen.broker.up) == (0, None, None)
    assert (seen.workers.shown.total, seen.tasks.busiest.total, seen.tasks.window) == (0, 0, None)


def test_rate_of_events_is_of_the_last_seconds() -> None:
    """Events a second are those since the reading before the last one, and the course of minutes is kept."""
    bench = Bench()
    for second in range(30):
        bench.feed(*(worker_event("heartbeat", second + n / 10) for n in range(4)))
        bench.wait(1)
    stream = look(bench).stream
    assert stream.total == 120
    assert stream.rate == pytest.approx(4)
    assert stream.rates == pytest.approx((4.0,) * 6, abs=1)
    bench.wait(12)
    assert look(bench).stream.rate == 0


def test_course_of_rates_is_bounded() -> None:
    """However long it runs, the rates of the last five minutes are kept."""
    bench = Bench()
    for _ in range(400):
        bench.wait(5)
    assert len(look(bench).stream.rates) == 60


def test_lag_is_the_bound_for_most_events() -> None:
    """95 % of the events came within the lag that is told, by the bounds of its histogram."""
    bench = Bench()
    bench.time.elapsed = 1.0
    bench.feed(
        *(worker_event("heartbeat", 0.98) for _ in range(95)),
        *(worker_event("heartbeat", -99) for _ in range(5)),
    )
    assert look(bench).stream.lag == 0.025
    bench.feed(*(worker_event("heartbeat", -9999) for _ in range(50)))
    assert look(bench).stream.lag == math.inf


def test_lag_forgets() -> None:
    """Lags of more than five minutes ago count no more."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", -99))
    for _ in range(70):
        bench.wait(5)
    assert look(bench).stream.lag is None
    bench.feed(worker_event("heartbeat", bench.time.elapsed - 0.004))
    assert look(bench).stream.lag == 0.005


def test_tasks_by_rate_and_by_failures() -> None:
    """The busiest task is the one with the most starts lately, the most failing the one with the most failures."""
    bench = Bench()
    for n in range(6):
        run(bench, f"a{n}", 3.0, name="often")
    for n in range(2):
        run(bench, f"b{n}", 3.0, name="fails", fails=True)
    bench.wait(10)
    tasks = look(bench).tasks
    assert [(row.counts.labels[0], row.rate) for row in tasks.busiest.rows] == [
        ("often", 0.6),
        ("fails", 0.2),
    ]
    (failing,) = tasks.failing.rows
    assert (failing.counts.labels[0], failing.recent_failures, failing.recent_ends) == ("fails", 2, 2)
    assert failing.counts.exceptions == {("Boom", "failed"): 2}
    assert failing.counts.latest[LAST_FAILED] == T0  # its clock was ahead of ours
    assert (tasks.recent_failures, tasks.recent_ends, tasks.started, tasks.sent) == (2, 8, 8, 8)
    histograms = tasks.busiest.rows[0].counts.histograms
    runtime, wait = histograms[RUNTIME_SUCCEEDED], histograms[QUEUE_WAIT]
    assert runtime is not None
    assert wait is not None
    assert (runtime.mean(), wait.mean()) == (0.5, 2.0)


def test_rates_of_tasks_forget() -> None:
    """A task that started nothing for a minute and failed nothing for ten has neither rate nor recent failures."""
    bench = Bench()
    run(bench, "u", 3.0, fails=True)
    for _ in range(25):
        bench.wait(30)
    (row,) = look(bench).tasks.busiest.rows
    assert (row.rate, row.counts.totals[STARTED]) == (0, 1)
    assert (row.recent_failures, row.counts.totals[FAILED]) == (0, 1)


def test_tasks_that_run() -> None:
    """What runs is told with its worker, the longest first, and counted with its task."""
    bench = Bench()
    for n in range(RUNNING + 5):
        bench.feed(sent(f"u{n}"), [received(f"u{n}"), task("started", f"u{n}", at=20 - n)])
    running = look(bench).tasks.running
    assert (running.total, len(running.rows), running.more) == (RUNNING + 5, RUNNING, 5)
    assert [row.started for row in running.rows] == [T0 + n for n in range(20 - RUNNING - 4, 20 - 4)]
    assert {(row.task, row.queue, row.worker) for row in running.rows} == {("t", "q", "w@h")}
    assert look(bench).tasks.busiest.rows[0].running == RUNNING + 5


def test_task_without_its_task_sent() -> None:
    """A task that runs and was never told of by a task-sent is named, but not one whose task-sent came."""
    bench = Bench()
    run(bench, "u", 3.0, name="told")
    for n in range(NAMES + 2):
        bench.feed([received(f"x{n}", 1, name=f"secret{n}"), task("started", f"x{n}", 2)])
    bench.wait(3)
    unsent = look(bench).tasks.unsent
    assert (unsent.rows, unsent.total) == (tuple(f"secret{n}" for n in range(NAMES)), NAMES + 2)


def test_task_with_some_task_sent_only() -> None:
    """A task that several publish, some without task-sent, is named; one among hundred that lacks it is not enough."""
    bench = Bench()
    for n in range(100):
        run(bench, f"a{n}", 3.0, name="mixed")
        run(bench, f"b{n}", 3.0, name="fine")
    for n in range(3):
        bench.feed([received(f"x{n}", 1, name="mixed"), task("started", f"x{n}", 2)])
    bench.feed([received("y", 1, name="fine"), task("started", "y", 2)])
    bench.wait(3)
    assert look(bench).tasks.unsent == Top(("mixed",), 1)


def test_task_that_no_worker_knows() -> None:
    """A task that fails as not registered is named, until that is long ago."""
    bench = Bench()
    bench.feed(sent("u", name="typo"), task("failed", "u", exception="NotRegistered('typo')"))
    assert look(bench).tasks.unregistered == Top(("typo",), 1)
    for _ in range(25):
        bench.wait(30)
    assert look(bench).tasks.unregistered.total == 0


def test_workers_of_one_name() -> None:
    """Heartbeats of two processes in turn are two workers; one that starts anew is not, however often."""
    bench = Bench()
    for at, pid in enumerate((1, 2, 1, 3, 1, 2)):
        bench.time.elapsed = at
        bench.feed(worker_event("online", at, pid=pid), worker_event("heartbeat", at, pid=pid))
    assert look(bench).workers.namesakes.total == 0
    for at, pid in enumerate((10, 11, 12, 13, 14, 15, 10), start=10):
        bench.time.elapsed = at
        bench.feed(worker_event("heartbeat", at, pid=pid))
    assert look(bench).workers.namesakes == Top(("w@h",), 1)
    for _ in range(7):
        bench.wait(20)
        bench.feed(worker_event("heartbeat", bench.time.elapsed, pid=10))
    assert look(bench).workers.namesakes.total == 0


def test_worker_that_was_switched_on() -> None:
    """A worker that sent no task events until it was asked is named; one that did, and one that starts anew, is not."""
    bench = Bench()
    bench.feed(worker_event("online"), worker_event("online", worker="always@h"))
    bench.answer("w@h", events_enabled=True, events_were_on=False)
    bench.answer("w@h", events_enabled=True, events_were_on=True)
    bench.answer("always@h", events_enabled=True, events_were_on=True)
    assert look(bench).workers.switched_on == Top(("w@h",), 1)
    bench.feed(worker_event("online", 1, pid=8))
    assert look(bench).workers.switched_on.total == 0


def test_worker_that_only_answers() -> None:
    """A worker of which no event comes is named until one does."""
    bench = Bench()
    bench.answer("w@h", queues=("q",))
    assert look(bench).workers.unheard == Top(("w@h",), 1)
    bench.feed([received("u")])
    assert look(bench).workers.unheard.total == 0


def test_worker_of_an_old_version() -> None:
    """A worker of Celery 4.2 is named, neither one of 4.4 nor one of no version that could be read."""
    bench = Bench()
    for name, version in (("old@h", "4.2.1"), ("fine@h", "4.4.0"), ("odd@h", "next")):
        bench.feed(worker_event("heartbeat", worker=name, sw_ver=version))
    assert look(bench).workers.outdated == Top(("old@h",), 1)


@pytest.mark.parametrize(
    ("skews", "reason"),
    [
        ((0.0, 4.9), None),
        ((30.0, 31.0), "clock"),
        ((30.0,), None),
        ((-30.0,), "late"),
        ((-30.0, 90.0), None),
        ((-3600.0, 0.0), "zone"),
        ((-3600.0, 19_800.0), "zone"),
        ((-3600.0, -90.0), "late"),
    ],
)
def test_why_clocks_differ(skews: tuple[float, ...], reason: str | None) -> None:
    """All alike: our own clock; whole half hours: time zones; all behind: perhaps events come late."""
    bench = Bench()
    for n, skew in enumerate(skews):
        bench.feed(worker_event("heartbeat", skew, worker=f"w{n}@h"))
    assert look(bench).workers.skew == reason


def test_workers_by_what_is_wrong_with_them() -> None:
    """Lost workers come first, then those that send no task events or have another clock, those that left last."""
    bench = Bench()
    bench.feed(worker_event("online", worker="lost@h"))
    bench.wait(61)
    at = bench.time.elapsed
    for name, shift in (("up@h", 0), ("silent@h", 0), ("skewed@h", 100), ("gone@h", 0)):
        bench.feed(worker_event("online", at + shift, worker=name))
    bench.answer("up@h", pool_size=4, queues=tuple("abcdef"))
    bench.answer("silent@h", events_enabled=False)
    bench.feed(worker_event("offline", at, worker="gone@h"))
    workers = look(bench).workers
    assert [(row.worker.name, row.state) for row in workers.shown.rows] == [
        ("lost@h", "lost"),
        ("silent@h", "up"),
        ("skewed@h", "up"),
        ("up@h", "up"),
        ("gone@h", "offline"),
    ]
    assert (workers.up, workers.offline, workers.lost.rows) == (3, 1, ("lost@h",))
    assert (workers.silent.rows, workers.skewed.rows) == (("silent@h",), (("skewed@h", 100.0),))
    up = workers.shown.rows[3].worker
    assert (up.capacity.pool_size, up.capacity.queues, up.version) == (4, tuple("abcdef"), "5.7.0")


def test_worker_that_does_not_answer() -> None:
    """A worker that has sent heartbeats for a while and told no queues is named, unless nobody asks."""
    bench = Bench()
    bench.feed(worker_event("online"))
    assert look(bench).workers.untold.total == 0
    bench.feed(worker_event("heartbeat", 2), worker_event("heartbeat", 4))
    assert look(bench).workers.untold.rows == ("w@h",)
    bench.answer(queues=("q",))
    assert look(bench).workers.untold.total == 0
    silent = Bench(inspect_workers=False)
    silent.feed(*(worker_event("heartbeat", at) for at in (0, 2, 4)))
    assert silent.survey.look().workers.untold.total == 0


def test_queues_by_what_is_wrong_with_them() -> None:
    """A queue that nobody consumes comes first, then the long ones; what a sample does not tell is None."""
    bench = Bench(queues=("absent",))
    bench.feed(worker_event("online"))
    bench.answer(queues=("short", "long"), pool_size=2)
    bench.sample(
        short=QueueFacts(exists=True, ready=1, heads=("x",)),
        long=QueueFacts(exists=True, ready=5000),
        others=QueueFacts(exists=True, ready=2, consumers=3),
        abandoned=3,
        unacked=7,
    )
    seen = look(bench)
    assert seen.queues.absent.total == 0
    rows = {row.name: row for row in seen.queues.shown.rows}
    assert list(rows) == ["abandoned", "long", "others", "short", "absent"]
    assert (seen.queues.waiting, seen.broker.unacked, seen.broker.up) == (5006, 7, True)
    assert (rows["short"].workers, rows["short"].slots, rows["short"].oldest) == (1, 2, T0)
    assert (seen.queues.abandoned.rows, seen.queues.ageless.rows) == (("abandoned",), ("others",))
    assert rows["absent"].length is None


def test_queue_that_is_named_and_not_there() -> None:
    """A queue of --queue that the broker does not have is named, those of the broker itself are not."""
    bench = Bench(queues=("misspelt", "there"))
    bench.sample(misspelt=QueueFacts(exists=False, ready=0), there=0, other=QueueFacts(exists=False, ready=0))
    assert look(bench).queues.absent == Top(("misspelt",), 1)


def test_queues_that_must_not_be_looked_at() -> None:
    """Only known ones are named; how many messages wait is told of the others, and not known without any other."""
    bench = Bench(queues=("secret",))
    bench.pipeline.sampled(BrokerFacts({}, 0.001, forbidden=("secret", "celery")))
    assert (look(bench).queues.forbidden, look(bench).queues.waiting) == (Top(("secret",), 1), None)
    other = {"open": QueueFacts(exists=True, ready=3)}
    bench.pipeline.sampled(BrokerFacts(other, 0.001, forbidden=("secret",)))
    assert (look(bench).queues.forbidden, look(bench).queues.waiting) == (Top(("secret",), 1), 3)
    bench.sample(secret=2)
    assert (look(bench).queues.forbidden.total, look(bench).queues.waiting) == (0, 2)


def test_who_consumes_a_queue() -> None:
    """The broker's own count stands above what workers say; where it counts none, these tell."""
    bench = Bench()
    bench.feed(worker_event("online"))
    bench.answer(queues=("told",))
    bench.sample(told=QueueFacts(exists=True, ready=3, consumers=0), untold=QueueFacts(exists=True, ready=3))
    assert look(bench).queues.abandoned == Top(("told", "untold"), 2)
    bench.sample(told=QueueFacts(exists=True, ready=3), untold=QueueFacts(exists=True, ready=3, consumers=1))
    assert look(bench).queues.abandoned.total == 0


def test_broker_that_cannot_be_read() -> None:
    """The reason is told, free of secrets, until it can be read again."""
    bench = Bench()
    bench.control_error = f"refused for {SECRET}"
    bench.pipeline.sampling_failed(f"TimeoutError: {SECRET}")
    broker = look(bench).broker
    assert (broker.up, broker.error, broker.control_error) == (False, "TimeoutError: ***", "refused for ***")
    bench.sample(q=0)
    assert (look(bench).broker.up, look(bench).broker.error) == (True, None)


def test_subscription_keeps_the_last_error() -> None:
    """After a reconnect it is still told why there was one, and how long ago."""
    bench = Bench()
    bench.wait(10)
    bench.subscription.mark_disconnected("reset by peer")
    bench.wait(5)
    state = look(bench).subscription
    assert (state.connected, state.last_error, state.lasting, state.disconnected_seconds) == (
        False,
        "reset by peer",
        5,
        5,
    )
    bench.subscription.mark_connected()
    bench.wait(3)
    state = look(bench).subscription
    assert (state.connected, state.last_error, state.lasting, state.reconnects) == (True, None, 3, 1)
    assert (state.past_error, state.past_error_age) == ("reset by peer", 8)


def test_losses_are_told() -> None:
    """Dropped, retimed and evicted events and folded label sets are all seen."""
    bench = Bench(max_in_flight=1, max_series=1)
    bench.pipeline.dispatcher.feed(b"\xff")
    bench.feed(worker_event("heartbeat", 1e9), sent("a", name="a"), sent("b", name="b"))
    bench.wait(WAIT_SECONDS)
    seen = look(bench)
    assert seen.stream.dropped == (("undecodable", 1),)
    assert (seen.stream.total, seen.stream.heard) == (3, 4)
    assert seen.stream.retimed == 1
    assert seen.stream.evicted == 1
    assert dict(seen.stream.overflowed)["celery_task"] >= 1


def test_setup_is_that_of_the_configuration() -> None:
    """What was switched off stands in the overview."""
    bench = Bench(remote_control=False, enable_events=False, event_queue=EventQueue(routing_key="task.#"))
    config = look(bench).config
    assert (config.remote_control, config.enable_events, config.event_queue.routing_key) == (
        False,
        False,
        "task.#",
    )


def test_ten_thousand_of_everything_are_a_few_rows() -> None:
    """However many tasks, queues and workers there are, an overview holds a bounded number, and says how many more."""
    bench = Bench()
    for n in range(10_000):
        bench.feed([worker_event("online", worker=f"w{n}@h"), sent(f"u{n}", name=f"t{n}", queue=f"q{n}")])
    for n in range(10_000):
        bench.pipeline.dispatcher.feed(
            json.dumps(
                [
                    received(f"u{n}", name=f"t{n}", worker=f"w{n}@h"),
                    task("started", f"u{n}", worker=f"w{n}@h"),
                ]
            ).encode()
        )
    bench.sample(**{f"q{n}": 1 for n in range(10_000)})
    seen = look(bench)
    assert (len(seen.workers.shown.rows), seen.workers.shown.total) == (WORKERS, 10_000)
    assert (len(seen.queues.shown.rows), seen.queues.shown.total) == (QUEUES, 10_000)
    assert (len(seen.tasks.busiest.rows), seen.tasks.busiest.total) == (BUSIEST, 10_000)
    assert (len(seen.tasks.running.rows), seen.tasks.running.total) == (RUNNING, 10_000)
