"""Queues and the broker, from samples, events and answers to exposition."""

import pytest

from celery_metrics_exporter.facts import QueueFacts
from tests.pipeline import T0, Bench, received, sent, task, worker_event

OLDEST = "celery_queue_oldest_message_timestamp_seconds"


def test_nothing_is_said_before_the_first_sample() -> None:
    """Whether the broker is up is not known at first; without any sample for a while it is down."""
    bench = Bench()
    assert bench.samples("celery_queue", "celery_broker") == {}
    bench.wait(16)
    assert bench.samples("celery_queue", "celery_broker") == {"celery_broker_up": 0}


def test_a_sample_is_shown() -> None:
    """What the broker tells is shown, what it does not tell is left out."""
    bench = Bench()
    bench.sample(
        unacked=7,
        oldest_unacked=T0 - 9,
        redis=QueueFacts(exists=True, ready=3, heads=("a",), by_priority={0: 1, 3: 2}),
        rabbit=QueueFacts(exists=True, ready=0, unacked=4, consumers=2),
    )
    assert bench.samples("celery_queue", "celery_broker") == {
        'celery_queue_length{queue="redis"}': 3,
        f'{OLDEST}{{queue="redis"}}': T0,
        'celery_queue_length{queue="rabbit"}': 0,
        'celery_queue_unacked_messages{queue="rabbit"}': 4,
        'celery_queue_consumers{queue="rabbit"}': 2,
        'celery_queue_workers{queue="rabbit"}': 0,
        'celery_queue_workers{queue="redis"}': 0,
        'celery_queue_pool_size{queue="rabbit"}': 0,
        'celery_queue_pool_size{queue="redis"}': 0,
        "celery_broker_up": 1,
        "celery_broker_round_trip_seconds": 0.001,
        "celery_broker_unacked_messages": 7,
        "celery_broker_oldest_unacked_timestamp_seconds": T0 - 9,
    }


def test_lengths_by_priority() -> None:
    """They are shown on demand, in a family of their own: sums over celery_queue_length stay right."""
    bench = Bench(queue_priorities=True)
    bench.sample(q=QueueFacts(exists=True, ready=3, by_priority={0: 1, 3: 2, 6: 0, 9: 0}))
    assert bench.value("celery_queue_length", queue="q") == 3
    assert bench.samples("celery_queue_priority_length") == {
        'celery_queue_priority_length{priority="0",queue="q"}': 1,
        'celery_queue_priority_length{priority="3",queue="q"}': 2,
        'celery_queue_priority_length{priority="6",queue="q"}': 0,
        'celery_queue_priority_length{priority="9",queue="q"}': 0,
    }


def test_a_failure_shows_at_once_and_the_last_sample_stays_while_it_is_fresh() -> None:
    """The broker is down from the first failure on; its last numbers go when they are three intervals old."""
    bench = Bench(sample_interval=5.0)
    bench.sample(q=3)
    bench.wait(5)
    bench.pipeline.sampling_failed("TimeoutError: timed out")
    assert bench.value("celery_broker_up") == 0
    assert bench.value("celery_queue_length", queue="q") == 3
    bench.wait(11)
    assert bench.samples("celery_queue_length", "celery_queue_oldest", "celery_broker") == {
        "celery_broker_up": 0
    }
    assert "celery_queue_length" not in bench.text()
    bench.sample(q=4)
    assert bench.value("celery_broker_up") == 1
    assert bench.value("celery_queue_length", queue="q") == 4


def test_a_sampler_that_hangs_shows_too() -> None:
    """Without any word from the sampler the broker counts as down once the last sample is stale."""
    bench = Bench(sample_interval=5.0)
    bench.sample(q=3)
    bench.wait(16)
    assert bench.samples("celery_queue_length", "celery_broker") == {"celery_broker_up": 0}


def test_a_queue_that_the_broker_does_not_have() -> None:
    """While it is known, by --queue or from a task-sent, it is shown at 0; else not at all."""
    bench = Bench(queues=("configured",))
    missing = QueueFacts(exists=False, ready=0)
    bench.feed(sent(queue="used"))
    bench.sample(configured=missing, used=missing, celery=missing)
    assert bench.samples("celery_queue_length") == {
        'celery_queue_length{queue="configured"}': 0,
        'celery_queue_length{queue="used"}': 0,
    }


def test_a_queue_that_is_deleted_and_created_again() -> None:
    """It is 0 while it is away, and itself again afterwards, with a new head."""
    bench = Bench()
    bench.sample(q=5)
    bench.wait(5)
    bench.sample(q=QueueFacts(exists=False, ready=0, consumers=0))
    assert bench.value("celery_queue_length", queue="q") == 0
    assert bench.value(OLDEST, queue="q") is None
    bench.wait(5)
    bench.sample(q=2)
    assert bench.value("celery_queue_length", queue="q") == 2
    assert bench.value(OLDEST, queue="q") == T0 + 10


def test_all_sources_name_queues() -> None:
    """Configuration, task-sent, workers' answers and the broker."""
    bench = Bench(queues=("configured",))
    bench.feed(sent(queue="sent"))
    bench.answer(queues=("consumed",))
    bench.sample(bound=1)
    assert set(bench.pipeline.wanted()) == {"configured", "sent", "consumed", "bound", "celery"}


def test_the_age_of_the_head_by_its_id() -> None:
    """Where heads are seen, the age is that of the task-sent of the head, else of the sample that first showed it."""
    bench = Bench()
    bench.feed(sent("first", 0.5), sent("second", 1.5))
    bench.wait(10)
    both = QueueFacts(exists=True, ready=2, heads=("first",))
    bench.sample(q=both, other=QueueFacts(exists=True, ready=1, heads=("unheard",)))
    assert bench.value(OLDEST, queue="q") == T0 + 0.5
    assert bench.value(OLDEST, queue="other") == T0 + 10
    bench.wait(10)
    bench.sample(
        q=QueueFacts(exists=True, ready=1, heads=("second",)),
        other=QueueFacts(exists=True, ready=1, heads=("unheard",)),
    )
    assert bench.value(OLDEST, queue="q") == T0 + 1.5
    assert bench.value(OLDEST, queue="other") == T0 + 10


def test_the_age_of_the_head_by_counting() -> None:
    """Where no head is seen, arrivals and departures are counted."""
    bench = Bench()
    bench.feed(*(sent(f"u{number}", number) for number in range(4)))
    bench.wait(5)
    bench.sample(q=4)
    assert bench.value(OLDEST, queue="q") == T0
    bench.feed(*(sent(f"v{number}", 6.0 + number) for number in range(3)))
    bench.wait(5)
    bench.sample(q=QueueFacts(exists=True, ready=7, consumers=0))
    assert bench.value(OLDEST, queue="q") == T0
    bench.feed(worker_event("heartbeat", 11.0), *(received(f"u{number}", 11.0) for number in range(4)))
    bench.answer(queues=("q",))
    bench.wait(5)
    bench.sample(q=QueueFacts(exists=True, ready=3, consumers=1))
    assert bench.value(OLDEST, queue="q") == T0 + 6


@pytest.mark.parametrize("why", ["deaf", "events off", "unattributed", "not ours"])
def test_no_age_by_counting_when_departures_may_have_been_missed(why: str) -> None:
    """An age that only grows because we do not hear of departures would be a lie."""
    bench = Bench()
    bench.feed(worker_event("heartbeat"))
    if why != "not ours":
        bench.answer(queues=("q", "other"))
    consumed = QueueFacts(exists=True, ready=4, consumers=1)
    for _ in range(2):
        bench.sample(q=consumed)
        bench.wait(5)
    if why == "deaf":
        bench.subscription.mark_disconnected("cut")
        bench.wait(1)
        bench.subscription.mark_connected()
    elif why == "events off":
        bench.answer(events_enabled=False)
    elif why == "unattributed":
        bench.feed(received("x", name="new"))
        bench.wait(3)
    bench.sample(q=consumed)
    assert bench.value(OLDEST, queue="q") is None
    bench.sample(q=QueueFacts(exists=True, ready=4, consumers=0))
    assert bench.value(OLDEST, queue="q") is not None


def test_who_consumes_a_queue() -> None:
    """Workers and their pools are summed by queue; one with several queues counts in each."""
    bench = Bench(queues=("a", "b", "c"))
    for worker, size, queues in (("x@h", 4, ("a",)), ("y@h", 2, ("a", "b"))):
        bench.feed(worker_event("heartbeat", worker=worker))
        bench.answer(worker, pool_size=size, prefetch_limit=8)
        bench.answer(worker, queues=queues)
    assert bench.samples("celery_queue_workers", "celery_queue_pool_size") == {
        'celery_queue_workers{queue="a"}': 2,
        'celery_queue_workers{queue="b"}': 1,
        'celery_queue_workers{queue="c"}': 0,
        'celery_queue_pool_size{queue="a"}': 6,
        'celery_queue_pool_size{queue="b"}': 2,
        'celery_queue_pool_size{queue="c"}': 0,
    }
    bench.feed(worker_event("offline", worker="x@h"))
    assert bench.value("celery_queue_workers", queue="a") == 1


def test_no_zero_while_a_worker_has_not_told() -> None:
    """A worker that does not answer may consume any queue: that nobody does cannot be said."""
    bench = Bench(queues=("a", "b"))
    bench.feed(worker_event("heartbeat", worker="x@h"), worker_event("heartbeat", worker="silent@h"))
    bench.answer("x@h", queues=("a",))
    assert bench.samples("celery_queue_workers", "celery_queue_pool_size") == {
        'celery_queue_workers{queue="a"}': 1
    }


def test_the_number_of_queues_is_bounded() -> None:
    """A client that invents queues costs a bounded number of series, and the rest is counted."""
    bench = Bench(max_series=3)
    bench.sample(**{f"q{number}": 1 for number in range(5)})
    assert len(bench.samples("celery_queue_length")) == 3
    assert bench.value("celery_exporter_series_overflowed_total", family="celery_queue") == 2


def test_a_workers_only_queue_labels_its_tasks() -> None:
    """Without task-sent, a worker that consumes one queue tells where its tasks come from; one of several does not."""
    bench = Bench()
    for worker, queues in (("x@h", ("mail",)), ("y@h", ("mail", "other"))):
        bench.feed(worker_event("heartbeat", worker=worker))
        bench.answer(worker, queues=queues)
        bench.feed(received(worker, worker=worker), task("started", worker, worker=worker))
    bench.wait(3)
    assert bench.counts(queue="mail") == {"received": 1, "started": 1}
    assert bench.counts(queue="unknown") == {"received": 1, "started": 1}


def test_queues_that_share_a_label_are_one() -> None:
    """Their lengths and consumers are added up, the oldest message is the oldest of all."""
    bench = Bench(queue_priorities=True)
    own = [f"bcast.{number}f8fad5b-d9cb-469f-a165-70867728950e" for number in range(3)]
    bench.feed(sent("a", -5, queue=own[0]))
    bench.sample(
        **{  # type: ignore[arg-type]  # no name of it is that of another argument
            own[0]: QueueFacts(exists=True, ready=2, consumers=1, heads=("a",), by_priority={0: 2}),
            own[1]: QueueFacts(exists=True, ready=1, consumers=1, heads=("b",), by_priority={0: 0, 3: 1}),
            own[2]: QueueFacts(exists=False, ready=0, consumers=0, heads=(), by_priority={}),
            "q": QueueFacts(exists=True, ready=4, unacked=1),
        }
    )
    found = bench.samples("celery_queue_length", "celery_queue_consumers", "celery_queue_priority", OLDEST)
    assert found == {
        'celery_queue_length{queue="bcast.*"}': 3,
        'celery_queue_length{queue="q"}': 4,
        'celery_queue_consumers{queue="bcast.*"}': 2,
        'celery_queue_priority_length{priority="0",queue="bcast.*"}': 2,
        'celery_queue_priority_length{priority="3",queue="bcast.*"}': 1,
        f'{OLDEST}{{queue="bcast.*"}}': T0 - 5,
    }


def test_what_is_not_known_of_one_is_not_known_of_all() -> None:
    """A sum without a part would be wrong."""
    bench = Bench()
    bench.sample(
        **{  # type: ignore[arg-type]  # no name of it is that of another argument
            "a@h.dq2": QueueFacts(exists=True, ready=2, unacked=1, consumers=1),
            "b@h.dq2": QueueFacts(exists=True, ready=1, unacked=3),
        }
    )
    assert bench.samples("celery_queue_length", "celery_queue_consumers", "celery_queue_unacked") == {
        'celery_queue_length{queue="*.dq2"}': 3,
        'celery_queue_unacked_messages{queue="*.dq2"}': 4,
    }


def test_without_events() -> None:
    """What the broker tells is shown; that no worker is known is no number of workers, and no age is made up."""
    bench = Bench(events=False, connected=False)
    bench.sample(sqs=QueueFacts(exists=True, ready=3, unacked=2, delayed=1))
    bench.wait(5)
    bench.sample(sqs=QueueFacts(exists=True, ready=3, unacked=2, delayed=1))
    assert bench.samples("celery_queue", "celery_broker") == {
        'celery_queue_length{queue="sqs"}': 3,
        'celery_queue_unacked_messages{queue="sqs"}': 2,
        'celery_queue_delayed_messages{queue="sqs"}': 1,
        "celery_broker_up": 1,
        "celery_broker_round_trip_seconds": 0.001,
    }
    of_events = ("celery_task", "celery_worker", "celery_exporter_receiver", "celery_exporter_event")
    assert bench.samples(*of_events, "celery_exporter_in_flight", "celery_exporter_last_event") == {}
    assert bench.value("celery_exporter_collector_success", collector="queue") == 1


def test_a_broker_that_nobody_reads() -> None:
    """Whether it is up is never said."""
    bench = Bench()
    bench.pipeline.sources.queues.expect_no_sample()
    bench.wait(3600)
    assert bench.samples("celery_broker") == {}
