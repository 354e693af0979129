"""One id that several workers run: each start is an execution with its own outcome, times and place in progress."""

from itertools import permutations
from typing import Any

import pytest

from celery_metrics_exporter.tasks.attribution import WAIT_SECONDS
from tests.pipeline import T0, Bench, received, sent, task, worker_event

LABELS = {"task": "t", "queue": "q"}
QUEUE_WAIT = "celery_task_queue_wait_seconds"
RUNTIME = "celery_task_runtime_seconds"
FAILURE: dict[str, Any] = {"exception": "ValueError()", "traceback": None}
RETRY: dict[str, Any] = {"exception": "KeyError('x')", "traceback": None}


def begin(worker: str, at: float, uuid: str = "u", **more: Any) -> list[dict[str, Any]]:
    """A worker receives a task, and starts it half a second later."""
    return [received(uuid, at, worker=worker, **more), task("started", uuid, at + 0.5, worker=worker)]


def succeed(worker: str, at: float, uuid: str = "u") -> dict[str, Any]:
    """A worker's success, after a second."""
    return task("succeeded", uuid, at, worker=worker, runtime=1.0)


def fail(worker: str, at: float, uuid: str = "u") -> dict[str, Any]:
    """A worker's failure."""
    return task("failed", uuid, at, worker=worker, **FAILURE)


def settle(bench: Bench) -> Bench:
    """Wait until no further task-sent can tell the queue of what a further worker has."""
    bench.wait(WAIT_SECONDS)
    return bench


def in_progress(bench: Bench) -> float | None:
    """How many run, once that is settled."""
    return settle(bench).value("celery_task_in_progress", **LABELS)


def outcomes(bench: Bench, worker: str) -> dict[str, float]:
    """What celery_worker_tasks_total says of a worker, zeros left out."""
    found = {
        outcome: bench.value("celery_worker_tasks_total", worker=worker, outcome=outcome)
        for outcome in ("succeeded", "failed", "retried")
    }
    return {outcome: number for outcome, number in found.items() if number}


@pytest.mark.parametrize("order", list(permutations("012")))
@pytest.mark.parametrize("late_sent", [False, True])
def test_three_workers_run_one_task(order: tuple[str, ...], late_sent: bool) -> None:
    """Each has its outcome, in whatever order they end, whether or not the task-sent comes first."""
    bench = Bench()
    bench.time.elapsed = 100
    starts = [event for number in range(3) for event in begin(f"{number}@h", 1.0 + number)]
    bench.feed(*([] if late_sent else [sent()]), *starts, *([sent()] if late_sent else []))
    assert in_progress(bench) == 3
    for number, worker in enumerate(order):
        bench.feed((fail if worker == "1" else succeed)(f"{worker}@h", 10.0 + number))
        assert in_progress(bench) == 2 - number
    assert settle(bench).counts() == {"sent": 1, "received": 3, "started": 3, "succeeded": 2, "failed": 1}
    assert bench.value(QUEUE_WAIT + "_count", **LABELS) == 3
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 1.5 + 2.5 + 3.5
    assert bench.value(RUNTIME + "_count", **LABELS, outcome="succeeded") == 2
    assert bench.value(RUNTIME + "_sum", **LABELS, outcome="failed") == 10.0 + order.index("1") - 2.5
    assert outcomes(bench, "1@h") == {"failed": 1}
    assert outcomes(bench, "2@h") == {"succeeded": 1}


def test_the_oldest_of_several_executions() -> None:
    """Each has its own start."""
    bench = Bench()
    bench.time.elapsed = 100
    bench.feed(sent(), *begin("w0@h", 1.0), *begin("w1@h", 5.0))
    oldest = "celery_task_oldest_running_timestamp_seconds"
    assert settle(bench).value(oldest, **LABELS) == T0 + 1.5
    bench.feed(succeed("w0@h", 6.0))
    assert bench.value(oldest, **LABELS) == T0 + 5.5


def test_one_life_after_the_other() -> None:
    """The second worker is heard of when the first has ended."""
    bench = Bench()
    bench.feed(sent(), *begin("w1@h", 2.0), succeed("w1@h", 3.5))
    bench.wait(30)
    bench.feed(*begin("w0@h", 1.0), fail("w0@h", 4.0))
    assert settle(bench).counts() == {"sent": 1, "received": 2, "started": 2, "succeeded": 1, "failed": 1}
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 1.5 + 2.5


@pytest.mark.parametrize(
    "kind", ["received", "started", "failed", "succeeded", "revoked", "rejected", "retried"]
)
def test_events_of_two_workers_at_the_same_moment(kind: str) -> None:
    """They are two events, however equal their timestamps; each of them again is none."""
    bench = Bench()
    bench.feed(sent(), received(worker="w0@h"), received(worker="w1@h"))
    if kind not in ("received", "started", "revoked"):
        bench.feed(task("started", at=1.5, worker="w0@h"), task("started", at=1.5, worker="w1@h"))
    both = [task(kind, at=1.0 if kind == "received" else 2.0, worker=w, name="t") for w in ("w0@h", "w1@h")]
    bench.feed(both, both)
    counted = settle(bench).samples(f"celery_task_{kind}_total")
    assert sum(counted.values()) == 2


def test_a_start_without_its_delivery() -> None:
    """What another worker runs is started here too, under the same labels."""
    bench = Bench()
    bench.feed(sent(), *begin("w0@h", 1.0), task("started", at=4.0, worker="w1@h"))
    assert in_progress(bench) == 2
    bench.feed(succeed("w1@h", 5.0), succeed("w0@h", 6.0))
    assert settle(bench).counts() == {"sent": 1, "received": 1, "started": 2, "succeeded": 2}
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 1.5 + 4.0


def test_an_outcome_of_which_nothing_else_came() -> None:
    """It is that of another execution, before or after that of the first."""
    bench = Bench()
    bench.feed(sent(), *begin("w0@h", 1.0), fail("w1@h", 3.0), succeed("w0@h", 4.0), fail("w2@h", 5.0))
    assert settle(bench).counts() == {"sent": 1, "received": 1, "started": 1, "succeeded": 1, "failed": 2}


def test_a_worker_runs_a_task_twice_at_a_time() -> None:
    """Its message came to the same worker again (``visibility_timeout``): two places in progress, two outcomes."""
    bench = Bench()
    bench.feed(sent(), *begin("w@h", 1.0), *begin("w@h", 3.0))
    assert in_progress(bench) == 2
    bench.feed(succeed("w@h", 5.0))
    assert in_progress(bench) == 1
    bench.feed(succeed("w@h", 6.0))
    assert in_progress(bench) == 0
    assert bench.counts() == {"sent": 1, "received": 2, "started": 2, "succeeded": 2}


def test_a_message_that_a_worker_holds_comes_again() -> None:
    """A worker that lost its connection drops what it holds: delivered twice, it runs once."""
    bench = Bench()
    bench.feed(sent(), received(at=1.0), received(at=5.0), task("started", at=6.0), succeed("w@h", 7.0))
    assert bench.counts() == {"sent": 1, "received": 2, "started": 1, "succeeded": 1}
    assert in_progress(bench) == 0
    bench.wait(1)
    bench.wait(61)
    assert bench.value("celery_exporter_in_flight_tasks") == 0


def test_a_double_failure_beside_another_execution() -> None:
    """Celery 5.7 tells a hard time limit twice; the other worker's outcome counts all the same."""
    bench = Bench()
    bench.feed(sent(), *begin("w0@h", 1.0), *begin("w1@h", 2.0))
    bench.feed(fail("w0@h", 3.0), fail("w0@h", 3.1))
    assert in_progress(bench) == 1
    bench.feed(fail("w1@h", 4.0), fail("w0@h", 4.1), fail("w1@h", 4.2))
    assert settle(bench).counts() == {"sent": 1, "received": 2, "started": 2, "failed": 2}
    assert outcomes(bench, "w0@h") == outcomes(bench, "w1@h") == {"failed": 1}


def test_one_worker_retries_while_another_runs() -> None:
    """The retry is published and runs, and the other execution of the first attempt ends on its own."""
    bench = Bench()
    again: dict[str, Any] = {"retries": 1, "parent_id": "u"}
    bench.feed(sent(), *begin("w0@h", 1.0), *begin("w1@h", 2.0))
    bench.feed(sent(at=3.0, **again), task("retried", at=3.1, worker="w0@h", **RETRY))
    bench.feed(*begin("w1@h", 4.0, **again))
    assert in_progress(bench) == 2
    bench.feed(succeed("w1@h", 6.0))
    assert in_progress(bench) == 1
    bench.feed(succeed("w1@h", 7.0))
    assert in_progress(bench) == 0
    assert settle(bench).counts() == {"sent": 2, "received": 3, "started": 3, "retried": 1, "succeeded": 2}


@pytest.mark.parametrize("worker", ["w0@h", "w1@h"])
@pytest.mark.parametrize("state", ["waits", "runs", "ended"])
def test_an_id_is_published_again(worker: str, state: str) -> None:
    """Each publication has its own wait, on the same worker or another."""
    bench = Bench()
    first = [sent(), *begin("w0@h", 10.0), succeed("w0@h", 13.0)]
    here = {"waits": 1, "runs": 3, "ended": 4}[state]
    bench.feed(*first[:here], sent(at=5.0), *first[here:3])
    bench.feed(*begin(worker, 11.0))
    assert in_progress(bench) == (1 if state == "ended" else 2)
    bench.feed(*first[max(3, here) :], succeed(worker, 14.0))
    assert bench.counts() == {"sent": 2, "received": 2, "started": 2, "succeeded": 2}
    assert in_progress(bench) == 0
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 10.5 + 6.5


def test_an_id_is_published_again_and_delivered_before_its_task_sent() -> None:
    """What looked like a redelivery has the queue wait of its own publication, and no third task is awaited."""
    bench = Bench()
    bench.feed(sent(), *begin("w0@h", 10.0), received(at=20.0, worker="w1@h"), sent(at=20.1))
    bench.feed(task("started", at=21.1, worker="w1@h"), succeed("w0@h", 22.0), succeed("w1@h", 22.0))
    assert bench.counts() == {"sent": 2, "received": 2, "started": 2, "succeeded": 2}
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == pytest.approx(10.5 + 1.0)
    bench.wait(1)
    bench.wait(61)
    assert bench.value("celery_exporter_in_flight_tasks") == 0


@pytest.mark.parametrize("workers", [50, 300])
def test_a_broadcast(workers: int) -> None:
    """Every worker runs it, and nothing of it stays in progress or in the table."""
    bench = Bench()
    bench.feed(sent(), [event for n in range(workers) for event in begin(f"w{n}@h", 1.0)])
    assert in_progress(bench) == workers
    bench.feed(
        [succeed(f"w{n}@h", 3.0) for n in range(workers)], [succeed(f"w{n}@h", 3.0) for n in range(workers)]
    )
    assert in_progress(bench) == 0
    number = float(workers)
    assert settle(bench).counts() == {"sent": 1, "received": number, "started": number, "succeeded": number}
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 1.5 * workers
    bench.wait(1)
    bench.wait(61)
    assert bench.value("celery_exporter_in_flight_tasks") == 0


def test_one_of_two_executions_is_replaced() -> None:
    """The other one goes on; whichever was taken for the replaced one, the outcome counts."""
    for other in ("w0@h", "w1@h"):
        bench = Bench()
        again = {"name": "t2", "parent_id": "u"}
        bench.feed(sent(), *begin("w0@h", 1.0), *begin("w1@h", 2.0))
        bench.feed(sent(at=3.0, queue="q2", **again), *begin("w2@h", 4.0, **again))
        assert in_progress(bench) == 1
        bench.feed(succeed(other, 6.0))
        assert in_progress(bench) == 0
        bench.feed(succeed("w2@h", 6.0))
        assert settle(bench).counts() == {"sent": 1, "received": 2, "started": 2, "succeeded": 1}
        assert bench.counts("t2", "q2") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}


def test_a_task_that_replaces_itself() -> None:
    """The same name again, published by the task: its first run has ended."""
    bench = Bench()
    bench.feed(sent(), *begin("w@h", 1.0), sent(at=2.0, parent_id="u"), *begin("w@h", 3.0, parent_id="u"))
    assert in_progress(bench) == 1
    bench.feed(succeed("w@h", 5.0))
    assert in_progress(bench) == 0
    assert bench.counts() == {"sent": 2, "received": 2, "started": 2, "succeeded": 1}


def test_all_that_hold_a_task_tell_of_its_revocation() -> None:
    """Each worker that had it says so; the second task-revoked of one worker (Celery up to 5.0) is none."""
    bench = Bench()
    bench.feed(sent(), *(received(at=1.0, worker=f"w{n}@h") for n in range(2)))
    bench.feed(*(task("revoked", at=2.0 + n, worker=f"w{n % 2}@h") for n in range(4)))
    assert settle(bench).counts() == {"sent": 1, "received": 2, "revoked": 2}


@pytest.mark.parametrize("pid", [7, 8])
def test_a_killed_worker_comes_back(pid: int) -> None:
    """Its execution leaves in-progress with the new process, even one with the same pid, as in containers."""
    bench = Bench()
    bench.feed(worker_event("online", worker="w0@h"), sent(), *begin("w0@h", 1.0))
    bench.feed(*begin("w1@h", 3.0))
    assert in_progress(bench) == 2
    bench.feed(worker_event("online", 5.0, worker="w0@h", pid=pid))
    assert in_progress(bench) == 1
    bench.feed(*begin("w0@h", 6.0), succeed("w0@h", 8.0), succeed("w1@h", 8.0))
    assert settle(bench).counts() == {"sent": 1, "received": 3, "started": 3, "succeeded": 2}
    bench.wait(1)
    bench.wait(61)
    assert bench.value("celery_exporter_in_flight_tasks") == 0


def test_a_worker_that_reconnects_goes_on_running() -> None:
    """It sends worker-online with the number of tasks that it runs."""
    bench = Bench()
    bench.feed(
        worker_event("online"), sent(), *begin("w@h", 1.0), worker_event("online", 5.0, active=1, processed=1)
    )
    assert in_progress(bench) == 1


@pytest.mark.parametrize("end", ["lost", "restarted", "reconnected", "offline"])
def test_what_a_worker_held_when_it_went(end: str) -> None:
    """It keeps a task that ended elsewhere from being forgotten only while it can still start it."""
    bench = Bench()
    bench.feed(worker_event("online", worker="w0@h"), sent(), received(worker="w0@h"))
    bench.feed(*begin("w1@h", 3.0), succeed("w1@h", 5.0))
    for _ in range(3):
        bench.wait(50)
        bench.feed(worker_event("heartbeat", worker="w0@h"))
    assert bench.value("celery_exporter_in_flight_tasks") == 1
    if end == "offline":
        bench.feed(worker_event("offline", 150.0, worker="w0@h"))
    elif end != "lost":
        bench.feed(worker_event("online", 150.0, worker="w0@h", pid=7 if end == "reconnected" else 8))
    for _ in range(3):
        bench.wait(61)
    assert bench.value("celery_exporter_in_flight_tasks") == 0
    assert bench.value("celery_exporter_in_flight_evicted_total", reason="expired") == 0


def test_an_eta_task_that_several_workers_hold() -> None:
    """Redis delivers it again and again (``visibility_timeout``); each start counts, days after the first ended."""
    bench = Bench(worker_timeout=1e9)
    eta = "2023-11-16T22:13:20+00:00"
    for n in range(3):
        bench.feed(worker_event("online", worker=f"w{n}@h"))
    bench.feed(sent(eta=eta), *(received(at=1.0 + 3600 * n, worker=f"w{n}@h", eta=eta) for n in range(3)))
    for _ in range(48):
        bench.wait(3600)
    due = 48 * 3600.0
    bench.feed(task("started", at=due + 1, worker="w0@h"), succeed("w0@h", due + 2))
    for _ in range(30):
        bench.wait(3600)
    bench.feed(task("started", at=due + 3, worker="w1@h"), succeed("w1@h", due + 4))
    assert bench.counts() == {"sent": 1, "received": 3, "started": 2, "succeeded": 2}
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 1 + 3


@pytest.mark.parametrize("first", ["a", "b"])
def test_an_id_published_to_two_queues(first: str) -> None:
    """Each publication is the one that a worker of its queue receives, whichever receives first."""
    bench = Bench()
    bench.time.elapsed = 100
    for queue in "ab":
        bench.answer(f"{queue}@h", queues=(queue,))
    second = "b" if first == "a" else "a"
    bench.feed(sent(queue="a"), sent(at=0.1, queue="b"))
    bench.feed(*begin(f"{first}@h", 1.0), *begin(f"{second}@h", 1.0))
    bench.feed(fail("a@h", 10.0), succeed("b@h", 10.0))
    began = {"sent": 1, "received": 1, "started": 1}
    assert bench.counts(queue="a") == {**began, "failed": 1}
    assert bench.counts(queue="b") == {**began, "succeeded": 1}


def test_an_id_published_again_while_it_runs() -> None:
    """What a worker of another queue receives is another publication, though its task-sent comes late."""
    bench = Bench()
    bench.time.elapsed = 100
    for queue in "ab":
        bench.answer(f"{queue}@h", queues=(queue,))
    bench.feed(sent(queue="a"), *begin("a@h", 1.0), *begin("b@h", 5.0), sent(at=5.2, queue="b"))
    bench.feed(fail("a@h", 10.0), succeed("b@h", 10.0))
    began = {"sent": 1, "received": 1, "started": 1}
    assert bench.counts(queue="a") == {**began, "failed": 1}
    assert bench.counts(queue="b") == {**began, "succeeded": 1}


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_id_published_again_while_no_queues_are_known(after: int) -> None:
    """What looks like a redelivery is counted where its own task-sent says, whichever event that comes after."""
    bench = Bench()
    bench.time.elapsed = 100
    second = [*begin("b@h", 5.0), succeed("b@h", 10.0)]
    second.insert(after, sent(at=5.2, queue="b"))
    bench.feed(sent(queue="a"), *begin("a@h", 1.0), *second, fail("a@h", 10.0))
    began = {"sent": 1, "received": 1, "started": 1}
    assert bench.counts(queue="a") == {**began, "failed": 1}
    assert bench.counts(queue="b") == {**began, "succeeded": 1}


@pytest.mark.parametrize("first", ["a", "b"])
def test_two_tasks_under_one_id_on_one_worker(first: str) -> None:
    """Neither replaces the other, whichever ends first: each has its outcome."""
    bench = Bench()
    bench.time.elapsed = 100
    for number, name in enumerate("ab"):
        at = float(number)
        bench.feed(sent(at=at, name=name), received(at=at + 0.1, name=name), task("started", at=at + 0.2))
    ends = {"a": fail("w@h", 10.0), "b": succeed("w@h", 11.0)}
    bench.feed(ends.pop(first), *ends.values())
    assert outcomes(bench, "w@h") == {"succeeded": 1, "failed": 1}
    assert sum(bench.value("celery_task_in_progress", task=name, queue="q") or 0 for name in "ab") == 0


def test_a_start_that_comes_after_its_outcome() -> None:
    """It is counted, and nothing runs."""
    bench = Bench()
    bench.feed(sent(), received(at=1.0), succeed("w@h", 3.0), task("started", at=2.0))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    assert in_progress(bench) == 0
    assert bench.value(QUEUE_WAIT + "_sum", **LABELS) == 2.0


def test_two_receipts_before_two_starts() -> None:
    """Each start ends the prefetch wait of one receipt."""
    bench = Bench()
    receipts, starts = (
        [received(at=1.0), received(at=2.0)],
        [task("started", at=4.0), task("started", at=5.0)],
    )
    bench.feed(sent(), *receipts, *starts)
    assert bench.value("celery_task_prefetch_wait_seconds_count", **LABELS) == 2
    assert bench.value("celery_task_prefetch_wait_seconds_sum", **LABELS) == 4.0 + 5.0 - 1.0 - 2.0
