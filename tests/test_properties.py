"""Whatever happens to tasks and to their events on the way, the counters are those of a slow and obvious model."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.lives import Told, arrivals, expected_counts, lives, tell
from tests.pipeline import Bench

COUNTERS = (
    "sent",
    "received",
    "started",
    "succeeded",
    "failed",
    "retried",
    "cancelled",
    "rejected",
    "revoked",
)


def counted(bench: Bench) -> Counter[tuple[str, str, str]]:
    """(counter, task, queue) -> value, of all that are not 0."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for family in text_string_to_metric_families(bench.text()):
        kind = family.name.removeprefix("celery_task_")
        if kind in COUNTERS:
            for sample in family.samples:
                reason = sample.labels.get("reason") or sample.labels.get("requeue")
                key = (f"{kind} {reason}" if reason else kind, sample.labels["task"], sample.labels["queue"])
                counts[key] += int(sample.value)
    return +counts


def deliver(told: list[Told], sizes: list[int]) -> Bench:
    """Feed the events in messages of these sizes (again and again), and let every wait end."""
    bench = Bench()
    position = 0
    for turn in count():
        if position >= len(told):
            break
        size = sizes[turn % len(sizes)]
        bench.feed([one.event for one in told[position : position + size]])
        position += size
    bench.wait(3)
    return bench


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.data(), lives(), SIZES)
def test_interleaved_delayed_and_repeated(data: st.DataObject, made: list, sizes: list[int]) -> None:  # type: ignore[type-arg]  # of Life
    """Events of many tasks, mixed over their senders and partly repeated: every counter and wait is exact."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock)]
    bench = deliver(data.draw(arrivals(told, repeat=True)), sizes)
    assert counted(bench) == expected_counts(told)
    for histogram in ("queue_wait", "prefetch_wait"):
        waits = [one.waits[histogram] for one in told if one.waits]
        samples = bench.samples(f"celery_task_{histogram}_seconds")
        assert sum(value for name, value in samples.items() if "_count{" in name) == len(waits)
        assert sum(value for name, value in samples.items() if "_sum{" in name) == pytest.approx(sum(waits))
    assert bench.value("celery_exporter_events_dropped_total", reason="handler_error") == 0


@settings(max_examples=300, deadline=None)
@given(st.data(), lives(), SIZES)
def test_with_events_missing(data: st.DataObject, made: list, sizes: list[int]) -> None:  # type: ignore[type-arg]  # of Life
    """Of what arrives everything is counted, once, whatever is missing; labels say less then, sums do not."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock) if data.draw(st.integers(0, 3))]
    bench = deliver(data.draw(arrivals(told, repeat=True)), sizes)
    by_counter: Counter[str] = Counter()
    for (counter, _, _), number in expected_counts(told).items():
        by_counter[counter] += number
    found: Counter[str] = Counter()
    for (counter, _, _), number in counted(bench).items():
        found[counter] += number
    assert found == by_counter


@settings(max_examples=100, deadline=None)
@given(st.data(), lives())
def test_nothing_runs_at_the_end(data: st.DataObject, made: list) -> None:  # type: ignore[type-arg]  # of Life
    """When every task has ended, none is in progress, except those that end without an event."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock)]
    bench = deliver(data.draw(arrivals(told, repeat=False)), [1])
    silent = sum(life.attempts[-1].ending == "ignored" for life in made)
    running = sum(bench.samples("celery_task_in_progress").values())
    assert running == silent
    assert (running > 0) == bool(bench.samples("celery_task_oldest_running"))
