"""The recorded workload, each part beside what it makes true; knows neither events nor files.

``play`` performs it on a stage, ``expected`` sums up its truth. The truth follows from what the tasks in
``workload.py`` do and from the sources of each Celery version, never from a recording.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.recordings.acts import ACTS
from tests.recordings.stage import Stage
from tests.recordings.truth import (
    NOTHING,
    REDELIVERED,
    RUN,
    SENT,
    SUCCEEDED,
    Label,
    Truth,
    failed,
    failed_unstarted,
    rejected,
    retried,
    revoked,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Equal tasks that need no choreography; ``until`` is the event that ends each, None a stored result."""

    task: str
    queue: str
    truth: Truth
    args: tuple[object, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    times: int = 1
    until: str | None = "task-succeeded"


def batches(version: str) -> Iterator[Batch]:
    """Everything that is published at once, so that workers have lists of events to send."""
    yield from _successes()
    yield from _failures()
    yield from _rejections(version)
    yield from _without_a_start()


def _successes() -> Iterator[Batch]:
    done = RUN + SUCCEEDED
    for queue, times in (("orders", 8), ("reports", 5), ("audit", 3)):
        yield Batch(task="recorded.add", queue=queue, args=(2, 3), times=times, truth=done)
    yield Batch(task="recorded.add", queue="audit", args=(1, 1), options={"countdown": 1}, truth=done)
    yield Batch(task="recorded.add", queue="reports", args=(1, 1), options={"expires": 3600}, truth=done)
    yield Batch(task="recorded.größe-数量-🚚", queue="emails", times=2, truth=done)
    yield Batch(task="recorded.forgotten", queue="emails", truth=done)
    yield Batch(task="recorded.progress", queue="reports", truth=done)
    # send_events=False silences the worker, not the publisher
    yield Batch(task="recorded.silent", queue="orders", truth=SENT, until=None)
    # Ignore ends a task without any event
    yield Batch(task="recorded.ignored", queue="emails", truth=RUN, until="task-started")
    for queue in ("orders", "reports"):
        yield Batch(task="recorded.flaky", queue=queue, truth=(RUN + retried("ConnectionError")) * 2 + done)


def _failures() -> Iterator[Batch]:
    for queue, kind in (
        ("orders", "ValueError"),
        ("reports", "KeyError"),
        ("orders", "OddError"),
        ("audit", "OddError"),
    ):
        yield _failing("recorded.fail", queue, RUN + failed(kind), kind)
    yield _failing(
        "recorded.stubborn", "emails", RUN + retried("TimeoutError") + RUN + failed("TimeoutError")
    )
    # retry() without an exception: the event says "None", its traceback ends in celery.exceptions.Retry
    hopeless = RUN + retried("Retry") + RUN + failed("MaxRetriesExceededError")
    for queue in ("orders", "audit"):
        yield _failing("recorded.hopeless", queue, hopeless)
    yield _failing("recorded.nap", "orders", RUN + failed("SoftTimeLimitExceeded"), 60, soft_time_limit=1)
    # 5.7 sends two task-failed (Request.on_timeout and Request.on_failure): the second one does not count
    yield _failing("recorded.nap", "emails", RUN + failed("TimeLimitExceeded"), 60, time_limit=1)


def _failing(task: str, queue: str, truth: Truth, *args: object, **options: object) -> Batch:
    return Batch(task=task, queue=queue, truth=truth, args=args, options=options, until="task-failed")


def _rejections(version: str) -> Iterator[Batch]:
    # Request.on_failure: since 5.7 a message rejected for good is a failure besides
    for_good = failed("Reject") if version == "5.7" else NOTHING
    yield Batch(
        task="recorded.discard",
        queue="orders",
        truth=RUN + for_good + rejected(requeue=False),
        until="task-rejected",
    )
    # Request.reject leaves an acknowledged message alone: up to 5.6 such a task ends without any event
    yield Batch(
        task="recorded.discard_early",
        queue="orders",
        truth=RUN + for_good,
        until="task-started" if for_good == NOTHING else "task-failed",
    )
    # published once, received and started twice
    truth = RUN + rejected(requeue=True) + REDELIVERED + SUCCEEDED
    yield Batch(task="recorded.put_back", queue="emails", truth=truth)


def _without_a_start() -> Iterator[Batch]:
    # worker/strategy.py asks Request.revoked before it sends task-received
    yield Batch(
        task="recorded.add",
        queue="emails",
        args=(1, 1),
        options={"expires": -60},
        truth=SENT + revoked("expired"),
        until="task-revoked",
    )
    # Consumer.on_unknown_task sends task-failed instead of task-received
    yield _failing("recorded.missing", "orders", SENT + failed_unstarted("NotRegistered"))


def play(stage: Stage, version: str) -> None:
    """Perform the workload; everything it does has ended, or ends in a warm shutdown, when this returns."""
    published = [
        (batch, stage.send(batch.task, batch.queue, *batch.args, times=batch.times, **batch.options))
        for batch in batches(version)
    ]
    for batch, task_ids in published:
        for task_id in task_ids:
            if batch.until is None:
                stage.wait_result(task_id)
            else:
                stage.wait_event(batch.until, task_id)
    for act in ACTS:
        act.play(stage)


def expected(version: str) -> Mapping[Label, Truth]:
    """What is true after ``play`` on this Celery version ("5.3" to "5.7"), by (task, queue)."""
    total: defaultdict[Label, Truth] = defaultdict(Truth)
    for batch in batches(version):
        total[batch.task, batch.queue] += batch.truth * batch.times
    for act in ACTS:
        for label, truth in act.truth.items():
            total[label] += truth
    return dict(total)
