"""The arithmetic on a worker's heartbeats."""

import pytest

from celery_metrics_exporter.workers.worker import (
    ASK_SECONDS,
    FIRST_ASK_SECONDS,
    MAX_PROCESSES,
    OFFSET_JUMP,
    OFFSET_WEIGHT,
    Worker,
)
from tests.pipeline import Bench, task, worker_event


def beat(bench: Bench, processed: int, *starts: str, pid: int = 7) -> None:
    """Let a worker start tasks that we see, then send a heartbeat."""
    bench.wait(2)
    at = bench.time.elapsed
    bench.feed(*(task("started", uuid, at, pid=pid) for uuid in starts))
    bench.feed(worker_event("heartbeat", at, processed=processed, pid=pid))


def missed(bench: Bench) -> float | None:
    """celery_worker_missed_tasks_total."""
    return bench.value("celery_worker_missed_tasks_total", worker="w@h")


def test_missed_tasks_need_two_heartbeats() -> None:
    """A start that a heartbeat tells of and no event did is missed once the next heartbeat agrees."""
    bench = Bench()
    bench.feed(worker_event("online"))
    beat(bench, 2, "a", "b")
    beat(bench, 5, "c", "d")
    assert missed(bench) == 0
    beat(bench, 5)
    assert missed(bench) == 0
    beat(bench, 6, "e")
    assert missed(bench) == 1
    for _ in range(5):
        beat(bench, 6)
    assert missed(bench) == 1


def test_a_trailing_batch_is_not_missed() -> None:
    """A heartbeat overtakes the buffered events before it; that is no loss."""
    bench = Bench()
    bench.feed(worker_event("online"))
    for number in range(1, 20):
        bench.wait(2)
        at = bench.time.elapsed
        bench.feed(worker_event("heartbeat", at, processed=number * 3))
        bench.feed([task("started", f"{number}-{i}", at - 0.1) for i in range(3)])
    assert missed(bench) == 0


def test_steady_losses_are_seen_on_a_busy_worker() -> None:
    """Work that never pauses hides no loss: each heartbeat is held against the starts up to its own time."""
    bench = Bench()
    bench.feed(worker_event("online"))
    for number in range(1, 20):
        bench.wait(2)
        at = bench.time.elapsed
        bench.feed(worker_event("heartbeat", at, processed=number * 3))
        bench.feed([task("started", f"{number}-{i}", at - 0.1) for i in range(2)])
    assert missed(bench) == 17


def test_tasks_before_our_time_are_not_missed() -> None:
    """What a worker did before the exporter heard of it is not held against anybody."""
    bench = Bench()
    beat(bench, 1000)
    beat(bench, 1002, "a", "b")
    beat(bench, 1002)
    assert missed(bench) == 0
    assert bench.value("celery_worker_processed_tasks_total", worker="w@h") == 1002


def test_processed_survives_a_restart() -> None:
    """A new process counts from 0 again; the counter goes on, and nothing is missed."""
    bench = Bench()
    beat(bench, 10)
    beat(bench, 12, "a", "b")
    bench.feed(worker_event("online", pid=8))
    beat(bench, 3, "c", "d", "e", pid=8)
    beat(bench, 3, pid=8)
    assert bench.value("celery_worker_processed_tasks_total", worker="w@h") == 15
    assert missed(bench) == 0


def test_task_events_that_are_off_are_found() -> None:
    """Heartbeats that tell of work without task events turn the gauge to 0, and events are asked for."""
    bench = Bench()
    beat(bench, 0)
    bench.answer(events_enabled=True)
    bench.wait(60)
    asked = bench.asked_for_events
    beat(bench, 1)
    beat(bench, 1)
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 0
    assert bench.asked_for_events == asked
    bench.wait(FIRST_ASK_SECONDS)
    assert bench.asked_for_events == asked + 1
    beat(bench, 2, "a")
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 1


def test_an_answer_tells_that_task_events_are_on() -> None:
    """The answer to enable_events shows before any task does; heartbeats without task events overrule it."""
    bench = Bench()
    beat(bench, 0)
    bench.answer(events_enabled=True)
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 1
    beat(bench, 1)
    beat(bench, 1)
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 0


def test_starts_up_to_a_heartbeat_are_those_that_it_counts() -> None:
    """By their timestamps, whenever they come."""
    worker = Worker("w@h", 0.0, 0.0)
    worker.beat(7, 0, 10.0)
    worker.start(7, 10.0)
    worker.start(7, 10.1)
    record = worker.pids[7]
    assert (record.starts, record.newer_starts) == (1, 1)


def test_processes_of_a_worker() -> None:
    """A worker that restarts for ever is one worker, of which the latest processes are known."""
    worker = Worker("w@h", 0.0, 0.0, lambda since: worker.heard - since)
    for pid in range(1, 200):
        worker.heard = 10.0 * pid
        worker.beat(pid, 1, float(pid))
    assert list(worker.pids) == list(range(200 - MAX_PROCESSES, 200))
    assert worker.processed == 199


def test_more_processes_than_are_followed() -> None:
    """What those beyond the limit do is not counted, and that of the others no more than once."""
    worker = Worker("w@h", 0.0, 0.0, lambda since: worker.heard - since)
    for _ in range(10):
        for pid in range(MAX_PROCESSES + 8):
            worker.heard += 0.1
            worker.beat(pid, 3, worker.heard)
    assert worker.processed == 3 * MAX_PROCESSES


def test_asked_until_the_answer_comes() -> None:
    """A new process is asked after a moment, and again in growing pauses, until it answers."""
    bench = Bench()
    bench.feed(worker_event("online"))

    def asked(seconds: float) -> int:
        before = bench.asked_for_events
        for _ in range(round(seconds / 0.25)):
            bench.wait(0.25)
            if bench.time.elapsed % 2 == 0:
                bench.feed(worker_event("heartbeat", bench.time.elapsed))
        return bench.asked_for_events - before

    assert bench.asked_for_events == 0
    assert (asked(0.5), asked(3.5)) == (1, 2)
    assert 1 <= asked(3 * ASK_SECONDS[1]) <= 8
    assert asked(600) <= 11
    bench.answer(events_enabled=True)
    assert asked(100) == 0
    bench.feed(worker_event("online", bench.time.elapsed, pid=8))
    assert asked(0.5) == 1


def test_task_events_are_an_answer() -> None:
    """A worker whose task events come is asked no more, and shown as one that sends them."""
    bench = Bench()
    beat(bench, 0)
    beat(bench, 1, "a")
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 1
    asked = bench.asked_for_events
    for _ in range(50):
        beat(bench, 1)
    assert bench.asked_for_events == asked


@pytest.mark.parametrize("processed", [0, 5])
def test_a_worker_that_connects_again_is_asked_again(processed: int) -> None:
    """An idle container may have been replaced by one of the same pid: then its task events are not known to be on."""
    bench = Bench()
    bench.feed(worker_event("online"))
    beat(bench, processed, *map(str, range(processed)))
    bench.answer(events_enabled=True)
    asked = bench.asked_for_events
    bench.feed(worker_event("online", bench.time.elapsed, processed=processed))
    enabled = bench.value("celery_worker_task_events_enabled", worker="w@h")
    assert enabled == (1 if processed else None)
    bench.wait(FIRST_ASK_SECONDS)
    assert bench.asked_for_events == asked + 1


def test_an_offset_is_smoothed_until_the_clock_is_set() -> None:
    """A little more or less changes it a little, an hour at once."""
    worker = Worker("w@h", 0.0, 0.0)
    for offset, expected in (
        (10.0, 10.0),
        (20.0, 10.0 + 10.0 * OFFSET_WEIGHT),
        (20.0 + OFFSET_JUMP, 20.0 + OFFSET_JUMP),
    ):
        worker.measure_offset(1000.0 + offset, 1000.0)
        assert worker.offset == pytest.approx(expected)


def test_work_without_task_events_needs_two_heartbeats() -> None:
    """Events trail the heartbeat that counts the work; what was done before the first one tells nothing."""
    worker = Worker("w@h", 0.0, 0.0)
    found = []
    for processed, seen in ((9, 0), (10, 0), (10, 0), (10, 1), (11, 0), (11, 1)):
        worker.task_events += seen
        worker.beat(7, processed, 1.0)
        found.append(worker.events_enabled)
    assert found == [None, None, False, True, True, True]
