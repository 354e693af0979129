"""Workers as their events show them."""

from tests.pipeline import T0, Bench, received, sent, task, worker_event


def up(bench: Bench, worker: str = "w@h") -> float | None:
    """celery_worker_up of a worker."""
    return bench.value("celery_worker_up", worker=worker)


def test_a_heartbeat_is_shown() -> None:
    """What a heartbeat says stands in the worker's metrics."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", active=3, processed=40))
    values = bench.samples("celery_worker")
    assert values == {
        'celery_worker_up{worker="w@h"}': 1,
        'celery_worker_last_seen_timestamp_seconds{worker="w@h"}': T0,
        'celery_worker_info{software="py-celery",system="Linux",version="5.7.0",worker="w@h"}': 1,
        'celery_worker_active_tasks{worker="w@h"}': 3,
        'celery_worker_processed_tasks_total{worker="w@h"}': 40,
        'celery_worker_tasks_total{outcome="failed",worker="w@h"}': 0,
        'celery_worker_tasks_total{outcome="retried",worker="w@h"}': 0,
        'celery_worker_tasks_total{outcome="succeeded",worker="w@h"}': 0,
        'celery_worker_missed_tasks_total{worker="w@h"}': 0,
        'celery_worker_load1{worker="w@h"}': 0.1,
        'celery_worker_load5{worker="w@h"}': 0.2,
        'celery_worker_load15{worker="w@h"}': 0.3,
        'celery_worker_clock_offset_seconds{worker="w@h"}': 0,
        'celery_worker_heartbeat_interval_seconds{worker="w@h"}': 2,
        "celery_worker_lost_total": 0,
    }


def test_the_answer_to_a_remote_heartbeat() -> None:
    """Its other freq and its missing fields disturb nothing that a real heartbeat told."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", active=3, processed=40))
    before = bench.samples("celery_worker")
    bench.feed(
        {
            "type": "worker-heartbeat",
            "hostname": "w@h",
            "pid": 7,
            "timestamp": T0,
            "freq": 5,
            "sw_ver": "5.7.0",
        }
    )
    after = bench.samples(
        "celery_worker_heartbeat", "celery_worker_active", "celery_worker_proc", "celery_worker_up"
    )
    assert after.items() <= before.items()


def test_workers_on_one_host_stay_apart() -> None:
    """The label is the full nodename."""
    bench = Bench()
    bench.feed(worker_event("online", worker="a@h"), worker_event("online", worker="b@h"))
    assert (up(bench, "a@h"), up(bench, "b@h")) == (1, 1)


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


def test_a_remote_clock_does_not_matter() -> None:
    """Liveness goes by our own clock; the difference is shown."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", -7200.0))
    assert up(bench) == 1
    assert bench.value("celery_worker_clock_offset_seconds", worker="w@h") == -7200


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
    asked = bench.asked_for_events
    assert asked == 1
    beat(bench, 1)
    beat(bench, 1)
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 0
    assert bench.asked_for_events > asked
    beat(bench, 2, "a")
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 1


def test_outcomes_by_worker() -> None:
    """Succeeded, failed and retried are counted for the worker that reported them."""
    bench = Bench()
    for number, kind in enumerate(["succeeded", "succeeded", "failed", "retried"]):
        uuid = f"u{number}"
        bench.feed(sent(uuid), received(uuid), task("started", uuid), task(kind, uuid, 3.0))
    outcomes = [
        bench.value("celery_worker_tasks_total", worker="w@h", outcome=kind)
        for kind in ("succeeded", "failed", "retried")
    ]
    assert outcomes == [2, 1, 1]


def test_workers_are_capped() -> None:
    """Worker names beyond the cap share one series."""
    bench = Bench(max_series=3)
    for number in range(10):
        bench.feed(worker_event("online", worker=f"w{number}@h"))
    assert len(bench.samples("celery_worker_up")) == 4
    assert bench.value("celery_exporter_series_overflowed_total", family="celery_worker") > 0  # type: ignore[operator]


def test_hostile_worker_names() -> None:
    """A nodename is sanitised like any label value."""
    bench = Bench()
    bench.feed(worker_event("online", worker="w\n@h"))
    assert up(bench, "w\N{REPLACEMENT CHARACTER}@h") == 1


CAPACITY = ("celery_worker_pool_size", "celery_worker_prefetch_limit", "celery_worker_queue_info")


def test_what_a_worker_answers_is_shown() -> None:
    """Pool size, prefetch limit and queues come from answers, which may come one by one."""
    bench = Bench(queue_exclude=("secret*",))
    bench.feed(worker_event("heartbeat"))
    assert bench.samples(*CAPACITY) == {}
    bench.answer(pool_size=4, prefetch_limit=0)
    bench.answer(queues=("fast", "slow", "secrets", "celeryev.x"))
    assert bench.samples(*CAPACITY) == {
        'celery_worker_pool_size{worker="w@h"}': 4,
        'celery_worker_prefetch_limit{worker="w@h"}': 0,
        'celery_worker_queue_info{queue="fast",worker="w@h"}': 1,
        'celery_worker_queue_info{queue="slow",worker="w@h"}': 1,
    }


def test_a_worker_that_does_not_answer_keeps_its_facts_for_a_while() -> None:
    """A worker that is alive and busy keeps what it answered last, for ten minutes."""
    bench = Bench()
    bench.feed(worker_event("heartbeat"))
    bench.answer(pool_size=4, prefetch_limit=8, queues=("q",))
    for second in range(30, 601, 30):
        bench.wait(30)
        bench.feed(worker_event("heartbeat", second))
    assert len(bench.samples(*CAPACITY)) == 3
    bench.wait(1)
    assert bench.samples(*CAPACITY) == {}


def test_a_worker_that_is_gone_has_no_capacity() -> None:
    """Neither a lost worker nor one that said goodbye can run anything."""
    bench = Bench()
    for worker in ("lost@h", "gone@h"):
        bench.feed(worker_event("heartbeat", worker=worker))
        bench.answer(worker, pool_size=4, prefetch_limit=8, queues=("q",))
    bench.feed(worker_event("offline", worker="gone@h"))
    bench.wait(61)
    assert up(bench, "lost@h") == up(bench, "gone@h") == 0
    assert bench.samples(*CAPACITY) == {}


def test_a_new_process_has_answered_nothing() -> None:
    """What an old process answered does not hold for a new one of the same name, which is asked anew."""
    bench = Bench()
    bench.feed(worker_event("online", pid=1))
    bench.answer(pool_size=4, prefetch_limit=8, queues=("q",), events_enabled=True)
    asked = bench.asked_for_inspection
    bench.feed(worker_event("online", 1.0, pid=1))
    assert len(bench.samples(*CAPACITY)) == 3
    assert bench.asked_for_inspection == asked
    bench.feed(worker_event("online", 2.0, pid=2))
    assert bench.samples(*CAPACITY) == {}
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") is None
    assert bench.asked_for_inspection > asked


def test_an_answer_is_a_sign_of_life() -> None:
    """A worker without heartbeats and tasks is known by its answers, and up while they come."""
    bench = Bench()
    for _ in range(10):
        bench.answer(pool_size=1, prefetch_limit=4)
        bench.wait(30)
    assert up(bench) == 1


def test_an_answer_tells_that_task_events_are_on() -> None:
    """The answer to enable_events shows before any task does; heartbeats without task events overrule it."""
    bench = Bench()
    beat(bench, 0)
    bench.answer(events_enabled=True)
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 1
    beat(bench, 1)
    beat(bench, 1)
    assert bench.value("celery_worker_task_events_enabled", worker="w@h") == 0
