"""Under which (task, queue) an attempt is counted: when that is decided, and by which source."""

import pytest

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.labels import SeriesLimit
from celery_metrics_exporter.tasks import attribution, naming
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.attribution import SENT_SILENCE_SECONDS, WAIT_SECONDS, Attribution
from celery_metrics_exporter.tasks.counts import Counts, LabelSets, Places
from celery_metrics_exporter.tasks.naming import Naming
from tests.pipeline import T0, FakeTime


class Consumed:
    """What workers consume; nothing is known of any other."""

    def __init__(self, **queues: tuple[str, ...]) -> None:
        self._queues = queues

    def only_queue(self, worker: str | None, /) -> str | None:
        """The queue of a worker that consumes one."""
        queues = self._queues.get(worker or "", ())
        return queues[0] if len(queues) == 1 else None

    def may_consume(self, worker: str | None, queue: str, /) -> bool:
        """Whether a worker is not known to consume other queues only."""
        return queue in self._queues.get(worker or "", (queue,))


class Rig:
    """An attribution on a clock that tests turn."""

    def __init__(self, consumed: Consumed | None = None, *, maximum: int = 100, **routes: str | None) -> None:
        self.time = FakeTime()
        self._now = BatchClock(self.time.clock())
        limit = SeriesLimit(maximum)
        self.label_sets = LabelSets(Places(2, 0, (), ()), limit, self._now, expected={})
        self.naming = Naming(consumers=consumed or Consumed(), routes=routes, limit=limit)
        self.attribution = Attribution(self.label_sets, self._now, self.naming, sent=0, limit=limit)

    def publish(
        self,
        name: str = "t",
        queue: str | None = "q",
        attempt: Attempt | None = None,
        *,
        by_exchange: bool = False,
    ) -> Attempt:
        """Count the task-sent of an attempt, a new one unless it is given."""
        attempt = attempt or Attempt(0.0)
        attempt.kind = (name, queue)
        attempt.sent = T0
        if by_exchange:
            self.attribution.published_by_exchange(attempt)
        self.attribution.published(attempt)
        return attempt

    def meet(self, name: str | None = "t", worker: str = "w", attempt: Attempt | None = None) -> Attempt:
        """Count a worker's event of an attempt, a new one unless it is given."""
        attempt = attempt or Attempt(0.0, (name, None))
        attempt.worker = worker
        self.attribution.counts_for_worker_event(attempt).totals[1] += 1
        return attempt

    def wait(self, seconds: float = WAIT_SECONDS) -> None:
        """Let time pass, and sweep."""
        self.time.elapsed += seconds
        self._now.read()
        self.attribution.sweep()

    def counted(self) -> dict[tuple[str, ...], int]:
        """What is counted by labels, as far as it is not 0."""
        return {each.labels: sum(each.totals) for each in self.label_sets.values() if any(each.totals)}


def queue_of(attempt: Attempt) -> str:
    """Where an attempt is counted."""
    assert attempt.counts is not None
    return attempt.counts.labels[1]


def test_a_task_sent_is_counted_with_the_first_event_of_a_worker() -> None:
    """Only then all is known of it; both are counted in the same step."""
    rig = Rig()
    attempt = rig.publish()
    assert rig.counted() == {}
    rig.meet(attempt=attempt)
    assert rig.counted() == {("t", "q"): 2}
    rig.wait()
    assert rig.counted() == {("t", "q"): 2}


def test_a_task_sent_waits_for_workers_no_longer_than_that() -> None:
    """It may stay in its queue for hours."""
    rig = Rig()
    attempt = rig.publish()
    rig.wait(WAIT_SECONDS - 0.1)
    assert rig.counted() == {}
    rig.wait(0.1)
    assert rig.counted() == {("t", "q"): 1}
    assert attempt.counts is rig.label_sets["t", "q"]
    rig.meet(attempt=attempt)
    assert rig.counted() == {("t", "q"): 2}


def test_several_task_sent_of_an_attempt_that_no_worker_has() -> None:
    """Published again under its id, at once or later, it counts each time, and under the latest queue from then on."""
    rig = Rig()
    attempt = rig.publish()
    rig.publish(attempt=attempt)
    rig.publish(attempt=attempt)
    assert rig.counted() == {}
    rig.wait()
    assert rig.counted() == {("t", "q"): 3}
    rig.publish("t", "p", attempt)
    assert rig.counted() == {("t", "q"): 3, ("t", "p"): 1}


def test_the_same_of_one_that_a_worker_gets() -> None:
    """All of them are counted with the worker's event."""
    rig = Rig()
    attempt = rig.publish()
    rig.publish(attempt=attempt)
    rig.meet(attempt=attempt)
    assert rig.counted() == {("t", "q"): 3}


def test_a_further_worker_of_a_publication_counts_no_further_task_sent() -> None:
    """An attempt that takes its task-sent over from another one waits for one that may be its own."""
    rig = Rig()
    rig.meet(attempt=Attempt(0.0, ("t", "q"), sent=T0))
    assert rig.counted() == {}
    rig.wait()
    assert rig.counted() == {("t", "q"): 1}


def test_a_further_worker_has_what_was_published_to_another_queue() -> None:
    """What it has told until then is counted there, too."""
    rig = Rig()
    attempt = rig.meet(attempt=Attempt(0.0, ("t", "q"), sent=T0))
    rig.meet(attempt=attempt)
    rig.publish("t", "p", attempt)
    assert rig.counted() == {("t", "p"): 3}


def test_the_name_that_workers_report_counts() -> None:
    """A task that was sent as one name and is reported as another one, its shadow, has the latter throughout."""
    rig = Rig()
    attempt = rig.publish("real")
    attempt.kind = ("shadow", "q")
    rig.attribution.renamed("real", "shadow")
    rig.meet(attempt=attempt)
    assert rig.counted() == {("shadow", "q"): 2}


def test_a_name_that_is_always_reported_as_another_one() -> None:
    """What waits in its queue for long is counted under that name, until workers report it as several."""
    rig = Rig()
    rig.attribution.renamed("real", "shadow")
    rig.attribution.renamed("real", "shadow")
    rig.publish("real")
    rig.publish("other")
    rig.wait()
    assert rig.counted() == {("shadow", "q"): 1, ("other", "q"): 1}
    rig.attribution.renamed("real", "second")
    rig.publish("real")
    rig.wait()
    assert rig.counted() == {("shadow", "q"): 1, ("other", "q"): 1, ("real", "q"): 1}


def test_a_name_that_is_reported_itself_too() -> None:
    """Some of its tasks have a shadow, others not: then nobody can tell."""
    rig = Rig()
    rig.attribution.renamed("real", "shadow")
    attempt = rig.publish("real")
    attempt.received = T0
    rig.meet(attempt=attempt)
    rig.publish("real")
    rig.wait()
    assert rig.counted() == {("real", "q"): 3}


def test_a_task_that_is_renamed_after_its_wait() -> None:
    """Its task-sent stays under the name that it was sent as; what follows has the name that workers report."""
    rig = Rig()
    attempt = rig.publish("real")
    rig.wait()
    attempt.kind = ("shadow", "q")
    rig.meet(attempt=attempt)
    assert rig.counted() == {("real", "q"): 1, ("shadow", "q"): 1}


@pytest.mark.parametrize(
    ("consumed", "queue"),
    [
        (("celery",), "celery"),
        (("celery", "other"), "celery"),
        (("other",), "other"),
        (("other", "third"), "unknown"),
        (None, "celery"),
    ],
)
def test_a_publication_by_exchange_is_where_its_worker_can_have_it_from(
    consumed: tuple[str, ...] | None, queue: str
) -> None:
    """The client may name the default queue for it; the worker that has it is known to consume what it consumes."""
    rig = Rig(Consumed(w=consumed) if consumed else None)
    early = rig.publish("t", "celery", by_exchange=True)
    late = rig.publish("u", "celery", by_exchange=True)
    rig.meet(attempt=early)
    rig.wait()
    rig.meet(attempt=late)
    assert queue_of(early) == queue_of(late) == queue
    assert sum(rig.label_sets["t", queue].totals) == 2


def test_a_publication_to_a_queue_stands() -> None:
    """Whatever the worker has answered: it may consume more queues since."""
    rig = Rig(Consumed(w=("other",)))
    attempt = rig.publish("t", "celery")
    rig.meet(attempt=attempt)
    assert queue_of(attempt) == "celery"


def test_what_a_worker_tells_first_waits_for_the_task_sent() -> None:
    """Until then it is counted apart; the task-sent moves all of it to its (task, queue), and what follows too."""
    rig = Rig()
    attempt = rig.meet()
    rig.meet(attempt=attempt)
    assert rig.counted() == {}
    rig.publish(attempt=attempt)
    assert rig.counted() == {("t", "q"): 3}
    rig.wait()
    assert rig.counted() == {("t", "q"): 3}


def test_a_wait_ends_in_time() -> None:
    """Not before, and what is counted after it is counted at once."""
    rig = Rig()
    attempt = rig.meet()
    rig.wait(WAIT_SECONDS - 0.1)
    assert rig.counted() == {}
    rig.wait(0.1)
    assert rig.counted() == {("t", "unknown"): 1}
    rig.meet(attempt=attempt)
    assert rig.counted() == {("t", "unknown"): 2}


def test_a_late_task_sent_corrects_what_follows() -> None:
    """What was counted after the wait stays where it is: a counter never falls."""
    rig = Rig()
    attempt = rig.meet()
    rig.wait()
    rig.publish(attempt=attempt)
    assert rig.counted() == {("t", "unknown"): 1, ("t", "q"): 1}
    rig.meet(attempt=attempt)
    assert rig.counted() == {("t", "unknown"): 1, ("t", "q"): 2}


def test_a_name_that_becomes_known_corrects_what_follows() -> None:
    """An attempt that was counted without a name, because its task-received came late: it waits no second time."""
    rig = Rig()
    rig.publish("other")
    attempt = rig.meet(None)
    rig.wait()
    attempt.kind = ("t", None)
    rig.meet(attempt=attempt)
    assert rig.counted() == {("other", "q"): 1, ("unknown", "unknown"): 1, ("t", "unknown"): 1}


def test_counts_are_good_while_an_event_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """To make room for one more that waits never settles that one: its handler still counts in what it got."""
    monkeypatch.setattr(attribution, "MAX_WAITING", 1)
    rig = Rig()
    for number in range(3):
        attempt = Attempt(0.0, (f"t{number}", None))
        counts = rig.attribution.counts_for_worker_event(attempt)
        assert attempt.counts is counts
        counts.totals[0] += 1
    rig.wait()
    assert rig.counted() == {(f"t{number}", "unknown"): 1 for number in range(3)}


def test_attempts_that_wait_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of them waits no longer."""
    monkeypatch.setattr(attribution, "MAX_WAITING", 5)
    rig = Rig()
    for number in range(9):
        rig.meet(f"t{number}")
    assert rig.counted() == {(f"t{number}", "unknown"): 1 for number in range(5)}
    rig.wait(0.1)
    for number in range(9, 11):
        rig.publish(f"t{number}")
    assert len(rig.counted()) == 9
    rig.wait()
    assert len(rig.counted()) == 11


def test_nothing_waits_once_task_sent_is_known_to_be_off() -> None:
    """One vain wait shows it, if no task-sent came for a while; the next task-sent ends that."""
    rig = Rig()
    rig.meet("first")
    rig.wait()
    rig.meet("second")
    assert ("second", "unknown") in rig.counted()
    rig.publish("third", attempt=rig.meet("third"))
    rig.meet("fourth")
    assert ("fourth", "unknown") not in rig.counted()


@pytest.mark.parametrize(
    ("silence", "waits"), [(SENT_SILENCE_SECONDS, True), (SENT_SILENCE_SECONDS + 1, False)]
)
def test_task_sent_may_pause(silence: float, waits: bool) -> None:
    """Not every task has one: a vain wait shows nothing while others come."""
    rig = Rig()
    rig.publish("first")
    rig.wait(silence - WAIT_SECONDS)
    rig.meet("second")
    rig.wait()
    rig.meet("third")
    assert (("third", "unknown") in rig.counted()) is not waits


def test_a_wait_that_was_not_in_vain_shows_nothing() -> None:
    """Attempts whose task-sent came leave the queue of those that wait without a word."""
    rig = Rig()
    attempt = rig.meet()
    rig.publish(attempt=attempt)
    rig.wait(SENT_SILENCE_SECONDS + 1)
    rig.meet("second")
    assert ("second", "unknown") not in rig.counted()


def test_the_queue_by_its_best_source() -> None:
    """Take away the best source, and the next one tells: own queue, worker, older attempt, habit, route, nothing."""
    rig = Rig(Consumed(one=("only",), two=("a", "b", "older", "usual", "route")), t="route", u="route")
    rig.publish("t", "usual")
    older = Attempt(0.0, ("t", "older"))

    def settled(name: str, worker: str, queue: str | None = None, older: Attempt | None = None) -> str:
        attempt = Attempt(0.0, (name, queue), worker=worker)
        attempt.older = older
        rig.meet(worker=worker, attempt=attempt)
        rig.wait()
        return queue_of(attempt)

    assert settled("x", "one", "own", older) == "own"
    assert settled("t", "one", older=older) == "only"
    assert settled("t", "two", older=older) == "older"
    assert settled("t", "two") == "usual"
    assert settled("u", "two", older=older) == "route"  # an older attempt of another name tells nothing
    assert settled("v", "two") == "unknown"


def test_a_task_on_several_queues_has_no_usual_one() -> None:
    """Then the route is silent too: the task is known to go other ways."""
    rig = Rig(t="q")
    rig.publish("t", "q")
    rig.publish("t", "p")
    attempt = rig.meet("t")
    rig.wait()
    assert queue_of(attempt) == "unknown"
    assert rig.naming.routed == 0


def test_a_route_that_the_worker_contradicts() -> None:
    """A worker that is known to consume other queues only has the task from one of them."""
    rig = Rig(Consumed(w=("a", "b")), t="q", u="a", v=None)
    attempts = [rig.meet(name) for name in "tuv"]
    rig.wait()
    assert [queue_of(attempt) for attempt in attempts] == ["unknown", "a", "unknown"]
    assert rig.naming.routed == 1


def test_habits_that_the_worker_contradicts() -> None:
    """It has the task neither from the usual queue nor from that of an earlier attempt, if it consumes neither."""
    rig = Rig(Consumed(w=("a", "b")), t="a")
    rig.publish("t", "usual")
    rig.publish("u", "a")
    attempts = [Attempt(0.0, (name, None), worker="w") for name in ("t", "t", "u")]
    for attempt in attempts[1:]:
        attempt.older = Attempt(0.0, (attempt.name, "older"))
    for attempt in attempts:
        rig.meet(attempt=attempt)
    rig.wait()
    assert [queue_of(attempt) for attempt in attempts] == ["unknown", "unknown", "a"]
    elsewhere = rig.meet("t", worker="untold")
    rig.wait()
    assert queue_of(elsewhere) == "usual"


def test_usual_queues_of_a_limited_number_of_tasks() -> None:
    """Beyond the limit a task has none; those that are known can still be found to use several."""
    rig = Rig(maximum=2)
    for name in ("a", "b", "c"):
        rig.publish(name)
    rig.publish("b", "p")
    rig.wait()
    assert rig.naming._queue_of["a"] == "q"
    assert rig.naming._queue_of["b"] is naming._SEVERAL
    assert "c" not in rig.naming._queue_of


def test_the_task_sent_of_a_nameless_task() -> None:
    """Without a name or a queue it settles the attempt all the same, and teaches nothing."""
    rig = Rig()
    attempt = rig.meet(None)
    rig.publish("", None, attempt=attempt)
    rig.publish("t", None)
    rig.wait()
    assert rig.counted() == {("unknown", "unknown"): 2, ("t", "unknown"): 1}
    assert rig.naming._queue_of == {}


def test_counts_of_a_forgotten_attempt_are_settled() -> None:
    """The table may evict an attempt while it waits; what it counted is not lost."""
    rig = Rig()
    counts: Counts | None = rig.meet().counts
    assert counts is not None
    rig.wait()
    assert rig.counted() == {("t", "unknown"): 1}
