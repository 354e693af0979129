"""How long the answers of workers are valid, and what they say of queues."""

from celery_metrics_exporter.facts import WorkerFacts
from celery_metrics_exporter.workers.capacity import ANSWER_TTL_SECONDS, Capacity, Consumption, consumption
from tests.pipeline import Bench, worker_event


def up(bench: Bench, worker: str = "w@h") -> float | None:
    """celery_worker_up of a worker."""
    return bench.value("celery_worker_up", worker=worker)


CAPACITY = ("celery_worker_pool_size", "celery_worker_prefetch_limit", "celery_worker_queue_info")


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


def test_answers_come_and_expire_one_by_one() -> None:
    """One that does not speak of something leaves it as it was, for as long as it is valid."""
    capacity = Capacity()
    capacity.apply(WorkerFacts("w@h", queues=("a", "b", "a")), 100.0, room=9, series=9)
    capacity.apply(WorkerFacts("w@h", pool_size=4, prefetch_limit=0), 200.0, room=9, series=9)
    capacity.apply(WorkerFacts("w@h", events_enabled=True), 300.0, room=9, series=9)
    capacity.expire(100.0 + ANSWER_TTL_SECONDS)
    assert (capacity.pool_size, capacity.prefetch_limit, capacity.queues) == (4, 0, ("a", "b"))
    capacity.expire(200.0 + ANSWER_TTL_SECONDS)
    assert (capacity.pool_size, capacity.prefetch_limit, capacity.queues) == (4, 0, None)
    capacity.expire(201.0 + ANSWER_TTL_SECONDS)
    assert (capacity.pool_size, capacity.prefetch_limit) == (None, None)


def test_who_consumes_a_queue() -> None:
    """A worker counts in each of its queues; one that did not tell its size leaves the sum unknown."""
    workers = [
        Capacity(pool_size=4, queues=("a", "b")),
        Capacity(pool_size=2, queues=("b",)),
        Capacity(queues=("c",)),
        Capacity(pool_size=8, queues=("c",)),
        Capacity(pool_size=9),
    ]
    assert consumption(workers) == {
        "a": Consumption(1, 4),
        "b": Consumption(2, 6),
        "c": Consumption(2, None),
    }


BCAST = "bcast.0f8fad5b-d9cb-469f-a165-70867728950"


def test_queues_of_one_worker_each_share_a_label() -> None:
    """Those of Broadcast and worker_direct: a series for each label, and the worker still has one queue."""
    bench = Bench()
    for worker in ("a@h", "b@h"):
        bench.feed(worker_event("heartbeat", worker=worker))
        bench.answer(worker, queues=("q", f"{BCAST}{worker[0]}", f"{worker}.dq2"))
    assert bench.samples("celery_worker_queue_info", "celery_queue_workers") == {
        **{
            f'celery_worker_queue_info{{queue="{queue}",worker="{worker}"}}': 1
            for queue in ("q", "bcast.*", "*.dq2")
            for worker in ("a@h", "b@h")
        },
        **{f'celery_queue_workers{{queue="{queue}"}}': 2 for queue in ("q", "bcast.*", "*.dq2")},
    }
    assert bench.pipeline.wanted() == (
        "q",
        "celery",
        *(f"{BCAST}a", "a@h.dq2", f"{BCAST}b", "b@h.dq2"),
    )


def test_the_only_queue_of_a_worker() -> None:
    """Queues of its own do not count beside others; one of them alone does."""
    capacity = Capacity()
    for queues, only in (
        (("q",), "q"),
        (("q", f"{BCAST}a", "w@h.dq2"), "q"),
        (("q", "r"), None),
        ((f"{BCAST}a",), "bcast.*"),
        ((f"{BCAST}a", f"{BCAST}b"), "bcast.*"),
        ((f"{BCAST}a", "w@h.dq2"), None),
        ((), None),
    ):
        capacity.apply(WorkerFacts("w@h", queues=queues), 0.0, room=10, series=10)
        assert capacity.only_queue == only
