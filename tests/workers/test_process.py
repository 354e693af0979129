"""The processes behind one pid: restarts in containers, where every worker has pid 1, and workers that share a name."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.pipeline import Bench, received, task, worker_event

PROCESSED = "celery_worker_processed_tasks_total"
MISSED = "celery_worker_missed_tasks_total"


class Twin:
    """A worker process, with a heartbeat every 2 s."""

    def __init__(self, bench: Bench, *, pid: int = 1, processed: int = 0) -> None:
        self.bench = bench
        self.pid = pid
        self.processed = processed
        self.active = 0

    def online(self) -> None:
        """Say that it is up."""
        self._send("online")

    def work(self, number: int, *, seen: bool) -> None:
        """Start tasks, of which the events come or do not."""
        at = self.bench.time.elapsed
        self.processed += number
        if seen:
            uuids = [f"{id(self)}-{self.processed - n}" for n in range(number)]
            self.bench.feed([task("started", uuid, at, pid=self.pid) for uuid in uuids])

    def beat(self, times: int = 1) -> None:
        """Send heartbeats, with pauses before them."""
        for _ in range(times):
            self.bench.wait(2)
            self.beat_now()

    def beat_now(self) -> None:
        """Send a heartbeat."""
        self._send("heartbeat")

    def offline(self) -> None:
        """Say that it stops."""
        self._send("offline")

    def _send(self, kind: str) -> None:
        fields: dict[str, Any] = {"pid": self.pid, "processed": self.processed, "active": self.active}
        self.bench.feed(worker_event(kind, self.bench.time.elapsed, **fields))


def value(bench: Bench, name: str) -> float | None:
    """A number of the worker."""
    return bench.value(name, worker="w@h")


def shared(bench: Bench) -> float | None:
    """celery_worker_name_shared."""
    return value(bench, "celery_worker_name_shared")


@pytest.mark.parametrize("farewell", [True, False], ids=["warm", "killed"])
@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("works", [(20, 10), (10, 20), (20, 20), (5, 6, 7), (7, 6, 5), (30, 1, 29)], ids=str)
def test_restarts_under_one_pid(works: tuple[int, ...], *, seen: bool, farewell: bool) -> None:
    """Each life counts from 0, whether it does more than the one before or less: nothing is lost or counted twice."""
    bench = Bench()
    for number in works:
        process = Twin(bench)
        process.online()
        process.beat()
        process.work(number, seen=seen)
        process.beat(4)
        if farewell:
            process.offline()
    process = Twin(bench)
    process.online()
    process.beat(2)
    assert value(bench, PROCESSED) == sum(works)
    assert value(bench, MISSED) == (0 if seen else sum(works))
    assert shared(bench) == 0


def test_a_restart_of_which_no_worker_online_came() -> None:
    """A count that falls below those of the latest heartbeats begins a new life as well."""
    bench = Bench()
    old = Twin(bench)
    old.beat()
    old.work(20, seen=False)
    old.beat(3)
    new = Twin(bench, processed=10)
    new.beat(3)
    assert (value(bench, PROCESSED), value(bench, MISSED), shared(bench)) == (30, 30, 0)


def test_work_between_the_last_heartbeat_and_the_end() -> None:
    """A worker-offline counts like a heartbeat; one that comes back after it goes on counting."""
    bench = Bench()
    process = Twin(bench)
    process.online()
    process.work(3, seen=True)
    process.offline()
    assert value(bench, PROCESSED) == 3
    process.online()
    process.work(1, seen=True)
    process.beat()
    assert (value(bench, PROCESSED), shared(bench)) == (4, 0)


def test_what_ran_in_the_old_life_is_over() -> None:
    """A worker that was killed and started again under its pid runs nothing of what it ran before."""
    bench = Bench()
    process = Twin(bench)
    process.online()
    process.work(1, seen=False)
    bench.feed(received(at=1, pid=1), task("started", at=1.5, pid=1))
    process.active = 1
    process.beat()
    assert sum(bench.samples("celery_task_in_progress").values()) == 1
    Twin(bench).online()
    assert sum(bench.samples("celery_task_in_progress").values()) == 0


def test_killed_between_two_heartbeats() -> None:
    """Starts that no heartbeat counted any more hide no later loss, and what ran is over."""
    bench = Bench()
    process = Twin(bench)
    process.online()
    process.beat(2)
    bench.feed(
        [received(str(n), 5, pid=1) for n in range(3)], [task("started", str(n), 5, pid=1) for n in range(3)]
    )
    bench.wait(3)
    assert sum(bench.samples("celery_task_in_progress").values()) == 3
    process = Twin(bench)
    process.online()
    assert sum(bench.samples("celery_task_in_progress").values()) == 0
    process.work(5, seen=False)
    process.beat(4)
    assert (value(bench, PROCESSED), value(bench, MISSED), shared(bench)) == (5, 5, 0)


def test_an_idle_worker_ends_nothing_of_its_twin() -> None:
    """While two workers share a name, a task runs until it ends, or until both are idle."""
    bench = Bench()
    busy, idle = Twin(bench, pid=1), Twin(bench, pid=2)
    for twin in (busy, idle, busy, idle):
        bench.wait(1)
        twin.beat_now()
    bench.feed(received(at=4, pid=1), task("started", at=4, pid=1))
    busy.active = 1
    for twin in (busy, idle) * 5:
        bench.wait(1)
        twin.beat_now()
    assert sum(bench.samples("celery_task_in_progress").values()) == 1
    busy.active = 0
    for twin in (busy, idle) * 3:
        bench.wait(1)
        twin.beat_now()
    assert sum(bench.samples("celery_task_in_progress").values()) == 0


@pytest.mark.parametrize(
    "pids", [(1, 1), (1, 2), (1, 1, 1), (1, 2, 3, 4, 5, 6, 7), (1,) * 7, (1, 1, 2, 2)], ids=str
)
@pytest.mark.parametrize("seed", range(8))
def test_workers_that_share_a_name(pids: tuple[int, ...], seed: int) -> None:
    """In whatever order their heartbeats come and their counts cross, all their work is counted once."""
    chance = random.Random(seed)
    bench = Bench()
    twins = [Twin(bench, pid=pid, processed=chance.choice((0, 0, 5, 100, 1000))) for pid in pids]
    for turn in range(12):
        for twin in chance.sample(twins, len(twins)):
            bench.wait(2 / len(twins))
            twin.beat_now()
        if turn < 8:
            for twin in twins:
                twin.work(chance.choice((0, 0, 1, 3, 40)), seen=turn % 2 == 0)
    done = [twin.processed for twin in twins]
    counted = value(bench, PROCESSED) or 0
    if len({(twin.pid, twin.processed) for twin in twins}) == len(twins):
        assert counted == sum(done)
    assert sum(set(done)) <= counted <= sum(done)  # those with one count look like one
    assert shared(bench) == 1
    idle = value(bench, PROCESSED)
    for twin in twins * 5:
        twin.beat()
    assert value(bench, PROCESSED) == idle


@pytest.mark.parametrize("number", [2, 5, 10])
@pytest.mark.parametrize("seed", range(10))
def test_workers_that_share_a_name_missed_nothing(number: int, seed: int) -> None:
    """Workers that were there before the exporter, each with a count of its own, are no proof of a loss."""
    chance = random.Random(seed)
    bench = Bench()
    twins = [Twin(bench, processed=chance.randrange(2000)) for _ in range(number)]
    for _ in range(10):
        for twin in twins:
            bench.wait(2 / number)
            twin.beat_now()
        for twin in twins:
            twin.work(chance.randrange(4), seen=True)
    assert value(bench, MISSED) == 0
    assert value(bench, PROCESSED) == pytest.approx(sum(twin.processed for twin in twins), abs=4 * number)


@pytest.mark.parametrize("number", [3, 4, 6])
def test_workers_in_the_order_of_their_counts_missed_nothing(number: int) -> None:
    """The first heartbeats of several workers can look like one whose work nobody saw; the first count may be 0."""
    bench = Bench()
    twins = [Twin(bench, processed=1000 * each) for each in range(number)]
    for _ in range(3):
        for twin in twins:
            bench.wait(2 / number)
            twin.beat_now()
    assert value(bench, MISSED) == 0


@pytest.mark.parametrize("pid", [1, 2])
def test_one_that_joins(pid: int) -> None:
    """A worker that starts under the name of another, which has worked: neither is counted twice."""
    bench = Bench()
    old, new = Twin(bench), Twin(bench, pid=pid)
    old.online()
    old.work(20, seen=False)
    old.beat(3)
    new.online()
    for turn in range(10):
        for twin in (old, new):
            bench.wait(1)
            twin.beat_now()
            twin.work(turn % 3, seen=False)
    for twin in (old, new):
        twin.beat_now()
    assert value(bench, PROCESSED) == old.processed + new.processed
    assert shared(bench) == 1


def test_the_exporter_was_deaf() -> None:
    """After a time without a subscription the workers of one name are still the same."""
    bench = Bench()
    twins = [Twin(bench, processed=50), Twin(bench, processed=70)]
    _in_turn(twins, 4)
    bench.subscription.mark_disconnected("gone")
    bench.wait(1000)
    bench.subscription.mark_connected()
    _in_turn(twins, 4)
    assert value(bench, PROCESSED) == 120


def test_a_name_is_shared_no_more() -> None:
    """Once one of the two is gone, the finding ends, and the other is one worker that may restart."""
    bench = Bench()
    twins = [Twin(bench, processed=5), Twin(bench, processed=9)]
    _in_turn(twins, 4)
    assert shared(bench) == 1
    twins[0].beat(70)
    assert shared(bench) == 0
    new = Twin(bench)
    new.online()
    new.work(8, seen=True)
    new.beat(4)
    assert (value(bench, PROCESSED), shared(bench)) == (5 + 9 + 8, 0)


@pytest.mark.parametrize("away", [1, 25])
@pytest.mark.parametrize("gone", [0, 1])
@pytest.mark.parametrize("pids", [(1, 1), (1, 2)], ids=str)
def test_a_worker_that_stops_shares_no_name(pids: tuple[int, int], gone: int, away: int) -> None:
    """The finding ends with its worker-offline; it comes back with another worker of the name, or the same one."""
    bench = Bench()
    twins = [Twin(bench, pid=pid, processed=5 + 4 * number) for number, pid in enumerate(pids)]
    _in_turn(twins, 4)
    assert shared(bench) == 1
    twins[gone].offline()
    for _ in range(away):
        twins[1 - gone].beat()
        assert shared(bench) == 0
    twins[gone].online()
    _in_turn(twins, 2)
    assert (shared(bench), value(bench, PROCESSED)) == (1, 14)


@pytest.mark.parametrize("gone", [0, 1])
@pytest.mark.parametrize("pids", [(1, 1), (1, 2)], ids=str)
def test_a_killed_worker_shares_no_name(pids: tuple[int, int], gone: int) -> None:
    """The finding ends a minute after the last heartbeat of the one that was killed."""
    bench = Bench()
    twins = [Twin(bench, pid=pid, processed=5 + 4 * number) for number, pid in enumerate(pids)]
    _in_turn(twins, 4)
    twins[1 - gone].beat(28)
    assert shared(bench) == 1
    twins[1 - gone].beat(4)
    assert shared(bench) == 0


def test_of_three_workers_two_share_a_name() -> None:
    """One that stops does not hide that two others live."""
    bench = Bench()
    twins = [Twin(bench, pid=pid, processed=pid) for pid in (1, 2, 3)]
    _in_turn(twins, 4)
    for twin, rest in ((twins[2], twins[:2]), (twins[0], twins[1:2])):
        twin.offline()
        _in_turn(rest, 4)
        assert shared(bench) == len(rest) - 1


@pytest.mark.parametrize("pids", [(1, 1), (1, 2), (1, 2, 3, 4, 5, 6)], ids=str)
def test_questions_keep_their_pace(pids: tuple[int, ...]) -> None:
    """Workers of one name are asked a few times, however often their heartbeats take turns."""
    bench = Bench()
    twins = [Twin(bench, pid=pid, processed=number) for number, pid in enumerate(pids)]
    _in_turn(twins, 60)
    inspections = bench.asked_for_inspection
    assert inspections <= len(pids)
    asked = bench.asked_for_events
    assert asked <= 20
    bench.answer(events_enabled=True)
    _in_turn(twins, 60)
    assert bench.asked_for_inspection == inspections
    assert bench.asked_for_events - asked <= 60 * len(pids) // 60 + 1


def test_the_log_tells_of_a_shared_name_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each worker, or each minute, and the page names it."""
    bench = Bench()
    _in_turn([Twin(bench, processed=5), Twin(bench, processed=9)], 100)
    lines = [record for record in caplog.records if "share one name" in record.message]
    assert len(lines) == 1
    assert bench.survey.look().workers.namesakes.rows == ("w@h",)


def test_two_answers_to_one_question() -> None:
    """Idle workers of one name and pid look alike in their heartbeats; both answer."""
    bench = Bench()
    bench.feed(worker_event("heartbeat"))
    bench.answer(pool_size=4)
    assert shared(bench) == 0
    bench.answer(pool_size=4, answered_twice=True)
    assert shared(bench) == 1
    for _ in range(4):
        bench.wait(20)
        bench.feed(worker_event("heartbeat", bench.time.elapsed))
    assert shared(bench) == 0


def _in_turn(twins: Iterable[Twin], times: int) -> None:
    for _ in range(times):
        for twin in twins:
            twin.bench.wait(1)
            twin.beat_now()
