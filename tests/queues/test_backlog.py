"""Since when the message at the head of a queue waits."""

import random
from collections import deque
from collections.abc import Callable

from celery_metrics_exporter.queues.backlog import MAX_BATCHES, Backlog, HeadTimes, Movement


def sent(**times: float) -> Callable[[str], float | None]:
    """Timestamps of task-sent events by id."""

    def sent_at(head: str) -> float | None:
        return times.get(head)

    return sent_at


def test_the_head_counts_from_its_task_sent() -> None:
    """A head whose task-sent is known waits since then, also when that comes late."""
    heads = HeadTimes()
    assert heads.sample(["a"], sent(a=90.0), 100.0) == 90
    assert heads.sample(["b"], sent(), 101.0) == 101
    assert heads.sample(["b"], sent(b=95.0), 102.0) == 95


def test_the_head_counts_from_the_sample_that_first_showed_it() -> None:
    """Without task-sent the same head keeps its time, another one has its own, and one that came back is new."""
    heads = HeadTimes()
    assert heads.sample(["a"], sent(), 100.0) == 100
    assert heads.sample(["a"], sent(), 105.0) == 100
    assert heads.sample(["b"], sent(), 110.0) == 110
    assert heads.sample([], sent(), 115.0) is None
    assert heads.sample(["a"], sent(), 120.0) == 120


def test_the_oldest_of_all_priorities_counts() -> None:
    """A message of low priority that starves behind others is the oldest one."""
    heads = HeadTimes()
    heads.sample(["low"], sent(), 100.0)
    assert heads.sample(["high", "low"], sent(high=150.0), 160.0) == 100


def test_a_task_sent_that_is_forgotten_leaves_its_time() -> None:
    """The table of tasks is bounded; what a head was known by stays."""
    heads = HeadTimes()
    heads.sample(["a"], sent(a=90.0), 100.0)
    assert heads.sample(["a"], sent(), 200.0) == 90


def test_a_clock_that_is_ahead_makes_nothing_wait_since_the_future() -> None:
    """The publisher's clock may be ahead of ours."""
    assert HeadTimes().sample(["a"], sent(a=500.0), 100.0) == 100


def move(received: int | None = 0, first_sent: float | None = None) -> Movement:
    """What events told."""
    return Movement(received, first_sent)


def test_a_backlog_that_nobody_takes_counts_from_its_first_message() -> None:
    """Later arrivals change nothing."""
    backlog = Backlog()
    assert backlog.sample(500, move(first_sent=90.0), 100.0) == 90
    assert backlog.sample(700, move(first_sent=101.0), 105.0) == 90
    assert backlog.sample(700, move(), 110.0) == 90


def test_a_task_sent_that_trails_its_message_tells_the_time() -> None:
    """The client publishes the message first: a sample between the two shows a message of unknown age."""
    backlog = Backlog()
    assert backlog.sample(1, move(), 100.0) == 100
    assert backlog.sample(9, move(first_sent=99.9), 105.0) == 99.9


def test_a_backlog_is_taken_from_its_old_end() -> None:
    """When the messages of the first batch have gone, the second is the oldest."""
    backlog = Backlog()
    backlog.sample(10, move(first_sent=90.0), 100.0)
    backlog.sample(30, move(first_sent=101.0), 105.0)
    assert backlog.sample(25, move(received=5), 110.0) == 90
    assert backlog.sample(25, move(received=5, first_sent=111.0), 115.0) == 101
    assert backlog.sample(5, move(received=20), 120.0) == 111
    assert backlog.sample(0, move(received=5), 125.0) is None


def test_messages_that_vanish_without_an_event_were_the_oldest() -> None:
    """A purge or messages that expire are no arrivals."""
    backlog = Backlog()
    backlog.sample(10, move(), 100.0)
    backlog.sample(20, move(), 105.0)
    assert backlog.sample(10, move(), 110.0) == 105


def test_a_queue_that_moved_through_has_new_messages_only() -> None:
    """More left than there was: the head has come since, after as many as have come and gone."""
    backlog = Backlog()
    backlog.sample(10, move(), 100.0)
    since = backlog.sample(10, move(received=1000, first_sent=100.0), 105.0)
    assert since is not None
    assert 104.9 < since < 105
    assert backlog.sample(10, move(received=1000), 110.0) == 110


def test_a_movement_that_nobody_knows_gives_no_age() -> None:
    """When departures may have been missed the age is left out, and counted anew from then on."""
    backlog = Backlog()
    backlog.sample(10, move(), 100.0)
    assert backlog.sample(10, move(received=None), 105.0) is None
    assert backlog.sample(10, move(), 110.0) == 105


def test_it_is_bounded() -> None:
    """A queue that grows for ever without anybody taking from it costs no more than so many batches."""
    backlog = Backlog()
    for number in range(3 * MAX_BATCHES):
        assert backlog.sample(number + 1, move(), 100.0 + number) == 100
    assert backlog.sample(1, move(received=3 * MAX_BATCHES - 1), 10_000.0) is not None


def test_it_agrees_with_a_real_queue() -> None:
    """Held against a queue of which everything is known, the age is right to one interval."""
    chance = random.Random(5)
    interval = 5.0
    for _ in range(100):
        queue: deque[float] = deque()
        backlog = Backlog()
        busy = chance.random()
        for number in range(60):
            began = 1000.0 + number * interval
            moments = sorted(began + chance.random() * interval for _ in range(chance.randrange(40)))
            first_sent, received = None, 0
            for moment in moments:
                if queue and chance.random() < busy:
                    queue.popleft()
                    received += 1
                else:
                    queue.append(moment)
                    first_sent = first_sent or moment
            since = backlog.sample(len(queue), Movement(received, first_sent), began + interval)
            assert (since is None) == (not queue)
            assert since is None or abs(since - queue[0]) <= interval
