"""Which workers are known, up, offline or lost."""

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.facts import WorkerFacts
from celery_metrics_exporter.labels import OTHER, SeriesLimit
from celery_metrics_exporter.workers.capacity import Consumption
from celery_metrics_exporter.workers.roster import OFFLINE_RETENTION_SECONDS, Roster
from celery_metrics_exporter.workers.worker import Presence
from tests.pipeline import T0, Bench, FakeTime, received, sent, task, worker_event


def up(bench: Bench, worker: str = "w@h") -> float | None:
    """celery_worker_up of a worker."""
    return bench.value("celery_worker_up", worker=worker)


def test_a_silent_worker_is_lost() -> None:
    """A worker without any event is down after the timeout, counted as lost, and shown for the retention."""
    bench = Bench()
    bench.feed(worker_event("online"))
    bench.wait(59)
    assert up(bench) == 1
    bench.wait(2)
    assert (up(bench), bench.value("celery_worker_lost_total")) == (0, 1)
    bench.wait(3590)
    assert up(bench) == 0
    bench.wait(20)
    assert (up(bench), bench.value("celery_worker_lost_total")) == (None, 1)


def test_any_event_is_a_sign_of_life() -> None:
    """A solo worker sends no heartbeats while it runs a task; its task events count as well, and custom ones."""
    bench = Bench()
    bench.feed(worker_event("online"))
    for _ in range(5):
        bench.wait(40)
        bench.feed(task("started", at=bench.time.elapsed))
        bench.wait(40)
        bench.feed({"type": "custom", "hostname": "w@h", "timestamp": 1.0})
    assert (up(bench), bench.value("celery_worker_lost_total")) == (1, 0)


def test_clients_are_no_workers() -> None:
    """Neither task-sent nor a custom event makes a worker of its sender."""
    bench = Bench()
    bench.feed(sent(), {"type": "custom", "hostname": "gen1@client", "timestamp": 1.0})
    assert bench.samples("celery_worker") == {"celery_worker_lost_total": 0}


def test_a_graceful_worker_disappears_soon() -> None:
    """After worker-offline a worker is down at once, gone after two minutes, and never lost."""
    bench = Bench()
    bench.feed(worker_event("online"), worker_event("offline"))
    assert up(bench) == 0
    bench.wait(119)
    assert up(bench) == 0
    bench.wait(2)
    assert (up(bench), bench.value("celery_worker_lost_total")) == (None, 0)


def test_a_draining_worker_still_counts() -> None:
    """Task events after worker-offline count, and do not bring the worker back, however late they are."""
    bench = Bench()
    bench.feed(worker_event("online"), sent(), received(), task("started"), worker_event("offline", 3.0))
    bench.wait(300)
    bench.feed(task("succeeded", at=300.0, runtime=298.0))
    bench.wait(70)
    assert bench.counts()["succeeded"] == 1
    assert (up(bench), bench.value("celery_worker_lost_total")) == (None, 0)


def test_a_worker_that_is_killed_while_it_drains_runs_nothing_for_ever() -> None:
    """What a worker did not end long after its worker-offline is not in progress any more; it may yet end."""
    bench = Bench(worker_retention=600.0)
    bench.feed(worker_event("online"), sent(), received(), task("started"), worker_event("offline", 3.0))
    bench.wait(599)
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 1
    bench.wait(2)
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0
    bench.feed(task("succeeded", at=900.0, runtime=898.0))
    assert bench.counts()["succeeded"] == 1
    assert bench.value("celery_worker_lost_total") == 0


def test_a_worker_comes_back() -> None:
    """After a loss or a goodbye, a new heartbeat brings the worker back."""
    bench = Bench()
    bench.feed(worker_event("online"))
    bench.wait(100)
    assert up(bench) == 0
    bench.feed(worker_event("online", pid=8))
    assert up(bench) == 1
    bench.feed(worker_event("offline"), worker_event("online", pid=9))
    assert up(bench) == 1


def test_our_own_deafness_kills_nobody() -> None:
    """While there is no subscription, and for the timeout after it, no worker is declared lost."""
    bench = Bench()
    bench.feed(worker_event("online"))
    bench.wait(30)
    bench.subscription.mark_disconnected("broker restarts")
    bench.wait(3600)
    assert (up(bench), bench.value("celery_worker_lost_total")) == (1, 0)
    bench.subscription.mark_connected()
    bench.wait(59)
    assert (up(bench), bench.value("celery_worker_lost_total")) == (1, 0)
    bench.wait(2)
    assert (up(bench), bench.value("celery_worker_lost_total")) == (0, 1)


def test_a_standby_knows_no_workers() -> None:
    """Who becomes a standby leaves workers, what they run and their answers to the exporter that hears them."""
    bench = Bench()
    bench.feed(worker_event("online"), sent(), received(), task("started"))
    bench.wait(5)
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 1
    bench.subscription.mark_disconnected("reset")
    bench.subscription.mark_connected(standby=True)
    bench.wait(1)
    assert bench.samples("celery_worker_up") == {}
    assert bench.value("celery_task_in_progress", task="t", queue="q") == 0
    bench.answer(pool_size=1, prefetch_limit=4)
    bench.wait(1)
    assert bench.samples("celery_worker_up") == {}
    assert bench.value("celery_worker_lost_total") == 0
    bench.subscription.mark_connected()
    bench.feed(worker_event("heartbeat"))
    bench.wait(1)
    assert up(bench) == 1


def test_workers_are_capped() -> None:
    """Worker names beyond the cap share one series."""
    bench = Bench(max_series=3)
    for number in range(10):
        bench.feed(worker_event("online", worker=f"w{number}@h"))
    assert len(bench.samples("celery_worker_up")) == 4
    assert bench.value("celery_exporter_series_overflowed_total", family="celery_worker") > 0  # type: ignore[operator]


def test_an_answer_is_a_sign_of_life() -> None:
    """A worker without heartbeats and tasks is known by its answers, and up while they come."""
    bench = Bench()
    for _ in range(10):
        bench.answer(pool_size=1, prefetch_limit=4)
        bench.wait(30)
    assert up(bench) == 1


class Rig:
    """A roster on a clock that tests turn: workers are lost after 60 s, and shown for 600 s then."""

    def __init__(self, maximum: int = 100) -> None:
        self.time = FakeTime()
        clock = self.time.clock()
        self.now = BatchClock(clock)
        subscription = StreamState(clock)
        subscription.mark_connected()
        self.limit = SeriesLimit(maximum)
        self.roster = Roster(subscription, clock, self.now, timeout=60.0, retention=600.0, limit=self.limit)

    def wait(self, seconds: float) -> tuple[list[str], list[str]]:
        """Let time pass; who was lost and who forgotten."""
        self.time.elapsed += seconds
        self.now.read()
        return self.roster.expire()

    def shown(self) -> list[str]:
        """The names of those that are shown."""
        return [worker.name for worker in self.roster.shown()]


def test_a_worker_is_found_by_what_its_label_shows() -> None:
    """Names that are the same label are one worker; a look makes none."""
    rig = Rig()
    assert "w@h" not in rig.roster
    assert rig.roster.touch("w\n@h") is rig.roster.touch("w\r@h")
    assert rig.shown() == ["w\N{REPLACEMENT CHARACTER}@h"]


def test_workers_beyond_the_limit_share_a_record() -> None:
    """Each sign of life of theirs is counted as an overflow; known ones stay."""
    rig = Rig(2)
    known = rig.roster.touch("a@h")
    rig.roster.touch("b@h")
    assert rig.roster.touch("c@h") is rig.roster.touch("d@h")
    assert rig.roster.touch("a@h") is known
    assert rig.shown() == ["a@h", "b@h", OTHER]
    assert rig.limit.overflows == {"celery_worker": 2}


def test_each_loss_is_told_once() -> None:
    """Then the worker is shown for a while, and forgotten."""
    rig = Rig()
    rig.roster.touch("w@h")
    assert rig.wait(60) == ([], [])
    assert rig.wait(1) == (["w@h"], [])
    assert rig.wait(1) == ([], [])
    assert rig.shown() == ["w@h"]
    assert rig.wait(600) == ([], ["w@h"])
    assert rig.shown() == []


def test_a_sign_of_life_ends_a_loss_but_no_goodbye() -> None:
    """A worker that is offline may still tell of its last tasks."""
    rig = Rig()
    worker = rig.roster.touch("w@h")
    rig.wait(61)
    assert rig.roster.touch("w@h").presence is Presence.UP
    assert (worker.heard, worker.last_seen) == (rig.now.monotonic, T0 + 61)
    worker.presence = Presence.OFFLINE
    assert rig.roster.touch("w@h").presence is Presence.OFFLINE
    assert not rig.roster.is_alive(worker)


def test_a_worker_that_went_offline_is_remembered_longer_than_shown() -> None:
    """Its last tasks may yet end."""
    rig = Rig()
    worker = rig.roster.touch("w@h")
    worker.presence, worker.since = Presence.OFFLINE, worker.heard
    rig.wait(OFFLINE_RETENTION_SECONDS)
    assert rig.shown() == ["w@h"]
    rig.wait(1)
    assert (rig.shown(), "w@h" in rig.roster) == ([], True)
    assert rig.wait(600) == ([], ["w@h"])


def test_what_workers_consume() -> None:
    """As far as they told: those that did not may consume anything, and those that are gone nothing."""
    rig = Rig()
    rig.roster.apply_inspection(WorkerFacts("one@h", pool_size=4, queues=("a",)))
    rig.roster.apply_inspection(WorkerFacts("two@h", pool_size=2, queues=("a", "b")))
    assert rig.roster.all_told_queues()
    rig.roster.touch("silent@h")
    assert not rig.roster.all_told_queues()
    names = ("one@h", "two@h", "silent@h", "nobody@h", None)
    assert [rig.roster.only_queue(name) for name in names] == ["a", None, None, None, None]
    assert [rig.roster.may_consume(name, "b") for name in names] == [False, True, True, True, True]
    assert rig.roster.consumption() == {"a": Consumption(2, 6), "b": Consumption(1, 2)}
    rig.wait(61)
    assert rig.roster.consumption() == {}


def test_workers_that_send_no_task_events() -> None:
    """One that is known to send none is enough; an answer overrules what heartbeats seemed to tell."""
    rig = Rig()
    worker = rig.roster.touch("w@h")
    assert rig.roster.all_send_events()
    rig.roster.apply_inspection(WorkerFacts("w@h", events_enabled=False))
    assert not rig.roster.all_send_events()
    worker.unreported_work = True
    rig.roster.apply_inspection(WorkerFacts("w@h", events_enabled=True))
    assert rig.roster.all_send_events()
    assert not worker.unreported_work
    worker.events_enabled = False
    rig.wait(61)
    assert rig.roster.all_send_events()
