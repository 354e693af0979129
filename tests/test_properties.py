"""Whatever happens to tasks and to their events on the way, the counters are those of a slow and obvious model."""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lives import Life, Told, arrivals, expected_counts, lives, tell
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
#: The key of a sample as `Bench.samples` gives it.
SAMPLE = re.compile(
    rf'celery_task_({"|".join(COUNTERS)})_total\{{queue="(\w+)",(?:reason="(\w+)",|requeue="(\w+)",)?task="(\w+)"\}}'
)


#: What is scraped, once an example.
SCRAPED = (
    *(f"celery_task_{kind}_total" for kind in COUNTERS),
    *(
        f"celery_task_{wait}_seconds_{part}"
        for wait in ("queue_wait", "prefetch_wait")
        for part in ("count", "sum")
    ),
    "celery_exporter_events_dropped_total",
)


def counted(samples: Mapping[str, float]) -> Counter[tuple[str, str, str]]:
    """(counter, task, queue) -> value, of all that are not 0."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for key, value in samples.items():
        found = SAMPLE.fullmatch(key)
        if found is not None:
            kind, queue, reason, requeue, task = found.groups()
            counts[f"{kind} {reason or requeue}" if reason or requeue else kind, task, queue] += int(value)
    return +counts


def total(samples: Mapping[str, float], prefix: str) -> float:
    """The sum of the samples whose keys begin like this."""
    return sum(value for key, value in samples.items() if key.startswith(prefix))


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
def test_interleaved_delayed_and_repeated(data: st.DataObject, made: list[Life], sizes: list[int]) -> None:
    """Events of many tasks, mixed over their senders and partly repeated: every counter and wait is exact."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock)]
    samples = deliver(data.draw(arrivals(told, repeat=True)), sizes).samples(*SCRAPED)
    assert counted(samples) == expected_counts(told)
    for histogram in ("queue_wait", "prefetch_wait"):
        waits = [one.waits[histogram] for one in told if one.waits]
        name = f"celery_task_{histogram}_seconds"
        assert total(samples, f"{name}_count{{") == len(waits)
        assert total(samples, f"{name}_sum{{") == pytest.approx(sum(waits))
    assert samples['celery_exporter_events_dropped_total{reason="handler_error"}'] == 0


@settings(max_examples=300, deadline=None)
@given(st.data(), lives(), SIZES)
def test_with_events_missing(data: st.DataObject, made: list[Life], sizes: list[int]) -> None:
    """Of what arrives everything is counted, once, whatever is missing; labels say less then, sums do not."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock) if data.draw(st.integers(0, 3))]
    bench = deliver(data.draw(arrivals(told, repeat=True)), sizes)
    by_counter: Counter[str] = Counter()
    for (counter, _, _), number in expected_counts(told).items():
        by_counter[counter] += number
    found: Counter[str] = Counter()
    for (counter, _, _), number in counted(bench.samples(*SCRAPED)).items():
        found[counter] += number
    assert found == by_counter


@settings(max_examples=100, deadline=None)
@given(st.data(), lives())
def test_nothing_runs_at_the_end(data: st.DataObject, made: list[Life]) -> None:
    """When every task has ended, none is in progress, except those that end without an event."""
    clock = count(1)
    told = [one for life in made for one in tell(life, clock)]
    bench = deliver(data.draw(arrivals(told, repeat=False)), [1])
    silent = sum(life.attempts[-1].ending == "ignored" for life in made)
    samples = bench.samples("celery_task_in_progress", "celery_task_oldest_running")
    running = total(samples, "celery_task_in_progress{")
    assert running == silent
    assert (running > 0) == any(key.startswith("celery_task_oldest_running") for key in samples)
