"""Whenever the exporter starts, and however answers and events cross, it counts the events that it received, once."""

from collections import Counter
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from celery_metrics_exporter.tasks.matching import MAX_CHAIN
from tests.held import Moment, held, named_apart
from tests.lives import Life, Told, arrivals, expected_counts, lives, tell
from tests.pipeline import T0, Bench
from tests.test_properties import SCRAPED, counted, total

#: Two of the three questions have something to tell here; nothing has an eta.
ASKED = ("reserved", "active")


class Asking:
    """Asks one worker after the other while events arrive; each answer is as old as hypothesis wants."""

    def __init__(self, data: st.DataObject, told: list[Told], start: float) -> None:
        self.bench = Bench()
        self._data = data
        self._told = told
        self._latest = start  # time of what has happened for certain
        self.answered: set[tuple[str, str]] = set()  # (uuid, worker)

    def run(self, order: list[Told]) -> None:
        """Feed these events, and ask every worker in between."""
        workers = sorted({one.sender for one in self._told if "@h" in one.sender and " " not in one.sender})
        steps = 2 * len(ASKED) * len(workers)
        places = sorted(self._data.draw(st.lists(st.integers(0, len(order)), min_size=steps, max_size=steps)))
        position = 0
        for worker in workers:
            self.bench.can_hold(worker)
        for worker in workers:
            self._ask(worker, "scheduled")
            self._answer(worker, "scheduled")
            for command in ASKED:
                position = self._feed(order, position, places.pop(0))
                self._ask(worker, command)
                made_at = self._latest + self._data.draw(st.integers(0, 5))
                position = self._feed(order, position, places.pop(0))
                self._answer(worker, command, made_at)
                self._latest = max(self._latest, made_at)
        self._feed(order, position, len(order))
        assert self.bench.pipeline.questions.next_question() is None
        self.bench.wait(3)

    def _feed(self, order: list[Told], begin: int, end: int) -> int:
        for one in order[begin:end]:
            self.bench.feed(one.event)
            self._latest = max(self._latest, one.event["timestamp"] + 0.5)
        return end

    def _ask(self, worker: str, command: str) -> None:
        question = self.bench.pipeline.questions.next_question()
        assert question is not None
        assert (question.worker, question.command) == (worker, command)

    def _answer(self, worker: str, command: str, made_at: float = 0.0) -> None:
        tasks = held(self._told, worker, Moment(made_at), command)
        self.answered |= {(task.uuid, worker) for task in tasks}
        self.bench.pipeline.questions.take_tasks(tasks)
        self.bench.pipeline.questions.close_question(answered=True)


def started_at(data: st.DataObject, told: list[Told]) -> float:
    """When the exporter starts."""
    return T0 + 0.5 + data.draw(st.integers(0, len(told)))


@settings(max_examples=200, deadline=None)
@given(st.data(), lives())
def test_answers_cross_events_in_every_order(data: st.DataObject, made: list[Life]) -> None:
    """What was before the start is never counted, all else once, no wait is invented, and at the end nothing runs."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock)]
    start = started_at(data, told)
    before = {
        (one.event["uuid"], one.sender, one.event["type"]) for one in told if Moment(start).is_after(one)
    }
    after = [one for one in told if not Moment(start).is_after(one)]
    asking = Asking(data, told, start)
    # Of more executions of one task the oldest are forgotten, so that a repeated event is not known to be one.
    executions = Counter(one.event["uuid"] for one in told if one.event["type"] == "task-received")
    asking.run(data.draw(arrivals(after, repeat=max(executions.values(), default=0) < MAX_CHAIN)))
    samples = asking.bench.samples(*SCRAPED, "celery_task_in_progress", "celery_task_ended_unseen")
    by_counter: Counter[str] = Counter()
    for (counter, _, _), number in expected_counts(after).items():
        by_counter[counter] += number
    found: Counter[str] = Counter()
    for (counter, _, _), number in counted(samples).items():
        found[counter] += number
    assert found == by_counter
    waits = [one for one in after if one.waits]
    for histogram in ("queue_wait", "prefetch_wait"):
        observed = total(samples, f"celery_task_{histogram}_seconds_count{{")
        assert observed == len(waits) if not (before or asking.answered) else observed <= len(waits)
    silent = {life.uuid for life in made if life.attempts[-1].ending == "ignored"}
    known = {uuid for uuid, _ in asking.answered} | {
        one.event["uuid"] for one in after if one.event["type"] in ("task-started", "task-received")
    }
    running = total(samples, "celery_task_in_progress{")
    if not any(each.name == "replacement" for life in made for each in life.attempts):
        assert running == len(silent & known)  # a delivery that was missed leaves open what was replaced
    assert total(samples, "celery_task_ended_unseen_total{") == 0
    assert samples['celery_exporter_events_dropped_total{reason="handler_error"}'] == 0


@settings(max_examples=200, deadline=None)
@given(st.data(), lives())
def test_nothing_that_workers_have_is_unknown(data: st.DataObject, made: list[Life]) -> None:
    """If workers answer before the first event comes, whatever they had counts under its name and queue."""
    clock = count(1)
    told = [one for life in named_apart(made) for one in tell(life, clock)]
    start = started_at(data, told)
    after = [one for one in told if not Moment(start).is_after(one)]
    asking = Asking(data, told, start)
    bench = asking.bench
    workers = sorted({one.sender for one in told if "@h" in one.sender and " " not in one.sender})
    running: Counter[tuple[str, str]] = Counter()
    for worker in workers:
        bench.can_hold(worker)
        while (question := bench.pipeline.questions.next_question()) is not None:
            assert question.worker == worker
            asking._answer(worker, question.command, start)
        for task in held(told, worker, Moment(start), "active"):
            running[str(task.name), str(task.routing_key)] += 1
    samples = bench.samples("celery_task_in_progress")
    shown = {key: value for key, value in samples.items() if value}
    assert shown == {
        f'celery_task_in_progress{{queue="{queue}",task="{name}"}}': number
        for (name, queue), number in running.items()
    }
    for one in data.draw(arrivals(after, repeat=False)):
        bench.feed(one.event)
    bench.wait(3)
    had = {uuid for uuid, _ in asking.answered}
    had_alone = {  # which attempt an event belongs to is not certain where earlier events are missing
        life.uuid
        for life in made
        if life.uuid in had
        and len({(each.name, each.queue) for each in life.attempts}) == 1
        and not any(each.also for each in life.attempts)
    }
    names = {uuid.replace("-", "") for uuid in had_alone}
    expected = expected_counts(one for one in after if one.event["uuid"] in had_alone)
    found = counted(bench.samples(*SCRAPED))
    of_these = {key: number for key, number in found.items() if key[1].partition("_")[0] in names}
    assert of_these == expected
