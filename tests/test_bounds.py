"""Whatever is sent, what is kept has a limit, and finding room stays cheap."""

import threading
import tracemalloc
from itertools import count
from typing import Any

import pytest

from celery_metrics_exporter.tasks import attribution
from celery_metrics_exporter.tasks.attempt import MAX_PAST
from celery_metrics_exporter.tasks.matching import MAX_CHAIN, MAX_EXECUTIONS
from tests.pipeline import Bench, received, sent, task, worker_event


def attempts(bench: Bench) -> dict[str, Any]:
    """The attempts by uuid, newest first."""
    tasks = bench.pipeline._tasks
    return {uuid: list(head.chain()) for uuid, head in tasks._inflight._heads.items()}


@pytest.mark.parametrize("kind", ["received", "started", "rejected", "cancelled", "retried", "succeeded"])
def test_one_uuid_again_and_again(kind: str) -> None:
    """A message that comes back for days is counted each time and stays small."""
    bench, at = Bench(), count()
    bench.feed(received())
    for _ in range(50):
        bench.feed([task(kind, at=next(at) * 0.01 + 2, name="t", requeue=True) for _ in range(20)])
    bench.wait(3)
    chain = attempts(bench)["u"]
    assert len(chain) <= MAX_CHAIN
    assert all(len(attempt.past) <= MAX_PAST and len(attempt.unpaired) <= MAX_PAST for attempt in chain)
    if kind in ("received", "started", "cancelled", "retried"):
        counted = sum(bench.samples(f"celery_task_{kind}_total").values())
        assert counted == 1000 + (kind == "received")


def test_one_uuid_with_any_attempts() -> None:
    """Attempts of one uuid are limited whichever events open them, and what is forgotten does not run for ever."""
    bench, at = Bench(), count(1)
    for turn in range(60):
        for kind in ("started", "retried", "received", "started", "failed"):
            bench.feed(
                task(
                    kind,
                    at=next(at),
                    name=f"t{turn % 3}",
                    retries=turn,
                    parent_id="u",
                    worker=f"w{turn % 5}@h",
                )
            )
        bench.feed(sent(at=next(at), retries=turn, parent_id="u" if turn % 2 else None))
    bench.wait(3)
    chain = attempts(bench)["u"]
    assert len(chain) <= 6 * MAX_CHAIN  # for each of the workers, and for what is only published
    running = set(bench.pipeline._tasks._running.snapshot())
    assert running <= set(chain)


def test_a_redelivered_message_takes_no_time() -> None:
    """Thousands of starts of one task in one message are no reason to stand still, nor are thousands of workers."""
    bench = Bench()
    bench.feed([task("started", at=n / 1000) for n in range(20_000)])
    assert len(attempts(bench)["u"]) == MAX_CHAIN
    bench.feed([task("started", at=n / 1000, worker=f"w{n}@h") for n in range(3 * MAX_EXECUTIONS)])
    assert len(attempts(bench)["u"]) == MAX_EXECUTIONS
    assert len(bench.pipeline.sources.tasks.running()) == MAX_EXECUTIONS


def test_a_task_that_many_workers_had_is_freed_in_any_thread() -> None:
    """The stack of a thread may be small (128 kB with musl)."""
    bench = Bench(max_in_flight=1)
    bench.feed([task("started", at=n / 1000, worker=f"w{n}@h") for n in range(MAX_EXECUTIONS)])
    before = threading.stack_size(128 * 1024)
    thread = threading.Thread(target=bench.feed, args=(sent("another"),))
    thread.start()
    threading.stack_size(before)
    thread.join()
    assert list(attempts(bench)) == ["another"]


def test_attempts_that_wait_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit all of them are counted at once, without a loss."""
    monkeypatch.setattr(attribution, "MAX_WAITING", 5)
    bench = Bench()
    bench.feed(*(received(f"v{n}") for n in range(9)))
    assert bench.counts(queue="unknown") == {"received": 5}
    bench.wait(3)
    assert bench.counts(queue="unknown") == {"received": 9}


def test_names_of_any_number_and_length() -> None:
    """A hundred thousand tasks, queues, workers, exceptions and ids of the greatest length take what was reserved."""
    limit, length = 50, 499
    bench = Bench(max_series=limit, max_in_flight=1000)
    tracemalloc.start()
    for n in range(3000):
        long = f"{n:0>{length}}"
        bench.feed(
            sent(long, name="t" + long, queue="q" + long),
            task(
                "failed",
                long,
                exception=f"E{n}()",
                traceback="x" * 10_000,
                worker="w" + long,
                name="t" + long,
            ),
            worker_event("heartbeat", worker="w" + long, sw_ver=long, sw_ident=long, sw_sys=long),
        )
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    samples = bench.samples()
    for name in ("task_failed_total", "worker_up", "task_exceptions_total"):
        assert sum(sample.startswith(f"celery_{name}{{") for sample in samples) <= limit + 1
    assert kept < 20_000_000


def test_what_is_forgotten_is_freed() -> None:
    """Attempts are left out of garbage collection: nothing of them may stay when the table forgets them."""
    bench = Bench(max_in_flight=500)

    def live(turn: int) -> None:
        for n in range(1000):
            uuid = f"{turn}-{n}"
            bench.feed(received(uuid), task("started", uuid))  # held, and evicted while it runs
            if n % 2:
                bench.feed(task("retried", uuid), sent(uuid, retries=1), task("started", uuid, at=3))
            if n % 3:
                bench.feed(task("succeeded", uuid, at=4))
        bench.wait(61)

    tracemalloc.start()
    live(0)
    before = tracemalloc.get_traced_memory()[0]
    for turn in range(1, 6):
        live(turn)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after < 1.5 * before
