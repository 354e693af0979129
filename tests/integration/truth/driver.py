"""The client of the truth test: a process of its own that submits the workload, so task-sent comes from elsewhere.

Owns the order of submission and everything that must happen to a task from outside: revokes, terminations, releases.
It goes on as soon as the workers say that what it waits for has happened; it reads no event and no metric.

    python -m tests.integration.truth.driver [--without-fanout] [--without-processes] [--few] alpha=alpha@host ...
"""

import sys
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.integration.truth.acts import mark, runs_on
from tests.integration.truth.app import app
from tests.integration.truth.workload import (
    ALPHA,
    EVERYONE,
    PARCEL,
    QUEUES,
    Behaviour,
    Submission,
    other_queue,
    submissions,
)
from tests.waiting import wait_for

_PATIENCE_S = 60.0
_SCHEDULED_ETA_S = 10.0
_WAITING_EXPIRES_S = 5.0

# Each ends the process of the pool that runs it. Two at a time, because a worker may look for ended processes only
# every 5 s (celery.concurrency.asynpool, AsynPool.timers). The second may end as soon as it runs.
_FATAL_PAIRS = (
    (Behaviour.TERMINATED, Behaviour.TERMINATED),
    (Behaviour.KILLED, Behaviour.HARD_LIMIT),
    (Behaviour.LOST, Behaviour.LOST_REQUEUED),
)
_FATAL_SIGNALS: Mapping[Behaviour, str] = {Behaviour.TERMINATED: "SIGTERM", Behaviour.KILLED: "SIGKILL"}
_LED_BY_HAND = frozenset(
    (
        *(behaviour for pair in _FATAL_PAIRS for behaviour in pair),
        Behaviour.REPLACE_RELEASED,
        Behaviour.HELD,
        Behaviour.REVOKED_WAITING,
        Behaviour.EXPIRED_WAITING,
        Behaviour.REVOKED_SCHEDULED,
        Behaviour.SHADOWED,
        Behaviour.PUBLISHED_TWICE,
        Behaviour.BROADCAST,
    )
)

_OPTIONS: Mapping[Behaviour, Mapping[str, Any]] = {
    Behaviour.ETA: {"countdown": 0.7},
    Behaviour.SOFT_LIMIT: {"soft_time_limit": 0.3},
    Behaviour.SOFT_LIMIT_HANDLED: {"soft_time_limit": 0.3},
    Behaviour.HARD_LIMIT: {"time_limit": 0.5},
    Behaviour.EXPIRED_WAITING: {"expires": _WAITING_EXPIRES_S},
    Behaviour.REVOKED_SCHEDULED: {"countdown": _SCHEDULED_ETA_S},
    Behaviour.SHADOWED: {"shadow": PARCEL},
}


class Client:
    """Publishes submissions and talks to the workers; `workers` maps a queue to the nodename that consumes it."""

    def __init__(self, workers: Mapping[str, str], plan: Sequence[Submission]) -> None:
        self._workers = workers
        self._plan: dict[Behaviour, list[Submission]] = defaultdict(list)
        for submission in plan:
            self._plan[submission.behaviour].append(submission)
        self._bulk = [submission for submission in plan if submission.behaviour not in _LED_BY_HAND]

    def run(self) -> None:
        """Submit everything; return when the last task is published."""
        self._revoke(self._plan[Behaviour.REVOKED_UNSEEN])
        self._revoke_scheduled()
        self._publish_shadowed()
        self._run_twice()
        if self._plan[Behaviour.BROADCAST]:
            self._broadcast()
        with ThreadPoolExecutor(max_workers=1) as beside:
            published = beside.submit(self._publish_bulk, frozenset(QUEUES) - {ALPHA})
            if self._plan[Behaviour.HELD]:
                self._occupy_the_prefork_worker()
            self._replace()
            for first, second in _FATAL_PAIRS:
                if self._plan[first]:
                    self._lose_the_pool(self._plan[first].pop(), self._plan[second].pop())
            forgotten = [self._plan[behaviour] for pair in _FATAL_PAIRS for behaviour in pair]
            if any(forgotten):
                raise RuntimeError(f"_FATAL_PAIRS has no place for {forgotten}")
            published.result()
        self._publish_bulk({ALPHA})

    def _publish_bulk(self, queues: Collection[str]) -> None:
        for submission in self._bulk:
            if submission.queue in queues:
                self._publish(submission)

    def _publish(self, submission: Submission, queue: str | None = None) -> None:
        if submission.behaviour is Behaviour.EXPIRED_UNSEEN:
            self._publish_expired(submission)
            return
        app.send_task(
            submission.task,
            (submission.behaviour,),
            task_id=_task_id(submission),
            queue=queue or submission.queue,
            **_OPTIONS.get(submission.behaviour, {}),
        )

    def _publish_expired(self, submission: Submission) -> None:
        # send_task would turn the date into a message TTL of 0, and RabbitMQ would drop the message before any
        # worker sees it (celery.app.base, Celery.send_task: options["expiration"]). The date alone reaches a worker.
        message = app.amqp.create_task_message(
            submission.uuid,
            submission.task,
            (submission.behaviour,),
            expires=datetime.now(UTC) - timedelta(minutes=1),
            create_sent_event=True,
        )
        with app.producer_or_acquire() as producer:
            app.amqp.send_task_message(producer, submission.task, message, queue=submission.queue)

    def _revoke_scheduled(self) -> None:
        planned = self._plan[Behaviour.REVOKED_SCHEDULED]
        due = time.monotonic() + _SCHEDULED_ETA_S
        for submission in planned:
            self._publish(submission)
        for submission in planned:
            self._wait_until_it_is_scheduled(submission)
        self._revoke(planned)
        _require_before(due, "revoking the scheduled tasks")

    def _publish_shadowed(self) -> None:
        # While no task waits in a queue for long: a task-sent is counted under its own name after 2 s.
        for submission in self._plan[Behaviour.SHADOWED]:
            self._publish(submission)

    def _run_twice(self) -> None:
        for submission in self._plan[Behaviour.PUBLISHED_TWICE]:
            mark(submission.uuid, "first-queue").write_text(submission.queue)
            for queue in (submission.queue, other_queue(submission.queue)):
                self._publish(submission, queue)
                self._wait_until_it_runs(submission, queue)
            _release(submission)

    def _broadcast(self) -> None:
        # Celery does not declare a Broadcast queue when it publishes, and kombu takes an exchange that
        # was not declared for a direct one on Redis (kombu/transport/virtual/base.py, Channel.typeof).
        with app.producer_or_acquire() as producer:
            app.amqp.queues[EVERYONE].exchange.maybe_bind(producer.channel).declare()
        for submission in self._plan[Behaviour.BROADCAST]:
            self._publish(submission)
            for queue in QUEUES:
                self._wait_until_it_runs(submission, queue)
            _release(submission)

    def _occupy_the_prefork_worker(self) -> None:
        held = self._plan[Behaviour.HELD]
        revoked = self._plan[Behaviour.REVOKED_WAITING]
        expiring = self._plan[Behaviour.EXPIRED_WAITING]
        for submission in held:
            self._publish(submission)
        for submission in held:
            self._wait_until_it_runs(submission)
        expiry = time.monotonic() + _WAITING_EXPIRES_S
        for submission in (*revoked, *expiring):
            self._publish(submission)
        last_expiry = time.monotonic() + _WAITING_EXPIRES_S
        for submission in (*revoked, *expiring):
            self._wait_for_state(submission, "reserved")
        _require_before(expiry, "seeing the worker hold the expiring tasks")
        self._revoke(revoked)
        wait_for(lambda: time.monotonic() > last_expiry, timeout=_PATIENCE_S, what="the tasks to expire")
        for submission in held:
            _release(submission)

    def _replace(self) -> None:
        for submission in self._plan[Behaviour.REPLACE_RELEASED]:
            self._publish(submission)
            self._wait_for_state(submission, "active")
            _release(submission)

    def _lose_the_pool(self, first: Submission, second: Submission) -> None:
        self._publish(first)
        self._wait_for_state(first, "active")
        self._publish(second)
        pids = [self._wait_until_it_runs(submission) for submission in (first, second)]
        for submission in (first, second):
            if submission.behaviour in _FATAL_SIGNALS:
                self._wait_for_state(submission, "active")
                self._revoke([submission], terminate=True, signal=_FATAL_SIGNALS[submission.behaviour])
            else:
                _release(submission)
        for pid in pids:
            self._wait_for_the_pool_to_replace(pid)

    def _revoke(self, planned: Sequence[Submission], **options: object) -> None:
        uuids: dict[str, list[str]] = defaultdict(list)
        for submission in planned:
            uuids[self._workers[submission.queue]].append(submission.uuid)
        for worker, of_worker in uuids.items():
            replies = app.control.revoke(
                of_worker, destination=[worker], reply=True, limit=1, timeout=_PATIENCE_S, **options
            )
            if not replies:
                raise RuntimeError(f"{worker} did not confirm the revoke of {len(of_worker)} tasks")

    def _wait_until_it_runs(self, submission: Submission, queue: str | None = None) -> int:
        runs = runs_on(submission.uuid, queue or submission.queue)
        wait_for(runs.exists, timeout=_PATIENCE_S, what=f"{submission} to run: no {runs.name}")
        return int(runs.read_text())

    def _wait_for_state(self, submission: Submission, state: str) -> None:
        worker = self._workers[submission.queue]

        def reached() -> bool:
            reply = self._ask(worker).query_task(submission.uuid) or {}
            found = reply.get(worker, {}).get(submission.uuid)
            return found is not None and found[0] == state

        wait_for(reached, timeout=_PATIENCE_S, what=f"{submission} to be {state}")

    def _wait_until_it_is_scheduled(self, submission: Submission) -> None:
        worker = self._workers[submission.queue]

        def scheduled() -> bool:
            waiting = (self._ask(worker).scheduled() or {}).get(worker, ())
            return any(entry["request"]["id"] == submission.uuid for entry in waiting)

        wait_for(scheduled, timeout=_PATIENCE_S, what=f"{submission} to be scheduled")

    def _wait_for_the_pool_to_replace(self, pid: int) -> None:
        worker = self._workers[ALPHA]

        def replaced() -> bool:
            pool = (self._ask(worker).stats() or {}).get(worker, {}).get("pool", {})
            processes = pool.get("processes", ())
            return pid not in processes and len(processes) == pool.get("max-concurrency")

        wait_for(replaced, timeout=_PATIENCE_S, what=f"{worker} to replace its pool process {pid}")

    def _ask(self, worker: str) -> Any:
        return app.control.inspect(destination=[worker], limit=1, timeout=_PATIENCE_S)


def _task_id(submission: Submission) -> Any:
    # py-amqp writes the id as the message's correlation id, which must be text there.
    takes_objects = app.connection_for_write().transport.driver_type == "redis"
    if submission.behaviour is Behaviour.UUID_OBJECT and takes_objects:
        return UUID(submission.uuid)
    return submission.uuid


def _release(submission: Submission) -> None:
    mark(submission.uuid, "released").touch()


def _require_before(deadline: float, what: str) -> None:
    if time.monotonic() >= deadline:
        raise RuntimeError(f"this machine is too slow for the workload: {what} took longer than planned")


if __name__ == "__main__":
    options = {option: f"--without-{option}" not in sys.argv for option in ("fanout", "processes")}
    options["few"] = "--few" in sys.argv
    workers = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    Client(workers, submissions(**options)).run()
