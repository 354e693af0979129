"""What events and answers of workers become in metrics."""

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
        'celery_worker_name_shared{worker="w@h"}': 0,
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


def test_a_remote_clock_does_not_matter() -> None:
    """Liveness goes by our own clock; the difference is shown."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", -7200.0))
    assert up(bench) == 1
    assert bench.value("celery_worker_clock_offset_seconds", worker="w@h") == -7200


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


def test_odd_names_in_answers() -> None:
    """A name that can be no label is cleaned; the answer is that of the worker of the events, with its other queues."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", worker="w\t@h"))
    bench.answer("w\t@h", queues=("fine", "odd\n", "odd\r", "\ud800", "x" * 300), pool_size=4)
    odd = "\N{REPLACEMENT CHARACTER}"
    name = f"w{odd}@h"
    assert bench.samples(*CAPACITY) == {
        f'celery_worker_pool_size{{worker="{name}"}}': 4,
        **{
            f'celery_worker_queue_info{{queue="{queue}",worker="{name}"}}': 1
            for queue in ("fine", f"odd{odd}", odd, "x" * 200)
        },
    }
    assert bench.samples("celery_worker_up") == {f'celery_worker_up{{worker="{name}"}}': 1}


def test_queues_of_workers_are_capped() -> None:
    """Workers that tell of thousands of queues make no more series than one family may have; more of them are known."""
    bench = Bench(max_series=50)
    for number in range(5):
        bench.answer(f"w{number}@h", queues=("shared", *(f"q{number}-{n}" for n in range(29))))
    assert len(bench.samples("celery_worker_queue_info")) == 50
    overflowed = "celery_exporter_series_overflowed_total"
    assert bench.value(overflowed, family="celery_worker_queue_info") == 100
    roster = bench.pipeline.sources.roster
    assert roster.all_told_queues()
    assert roster.consumption()["shared"].workers == 5
    assert not any(roster.may_consume(f"w{number}@h", "nowhere") for number in range(5))
    bench.answer("w0@h", queues=("shared",))
    bench.answer("w4@h", queues=("late",))
    assert len(bench.samples("celery_worker_queue_info")) == 22
    assert roster.only_queue("w4@h") == "late"
    bench.wait(601)
    bench.answer("w5@h", queues=tuple(map(str, range(60))))
    assert len(bench.samples("celery_worker_queue_info")) == 50


def test_queues_that_are_known_are_capped() -> None:
    """A worker of whose queues some are not known may have tasks of any, and has no only queue."""
    bench = Bench(max_series=6)
    for number in range(6):
        bench.answer(f"w{number}@h", queues=tuple(f"q{number}-{n}" for n in range(11)))
    roster = bench.pipeline.sources.roster
    assert not roster.all_told_queues()
    assert [roster.may_consume(f"w{number}@h", "nowhere") for number in range(6)] == [*[False] * 5, True]
