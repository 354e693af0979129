"""Counts of a (task, queue), counts of an attempt that waits, and which label sets there are."""

import sys

import pytest

from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.labels import OTHER, SeriesLimit
from celery_metrics_exporter.tasks.counts import Counts, LabelSets, Places
from tests.pipeline import FakeTime

BOUNDS = ((1.0, 10.0), (5.0,))
PLACES = Places(
    totals=3,
    latest=2,
    classic_cells=tuple(Cells(bounds, None) for bounds in BOUNDS),
    native_cells=tuple(Cells(bounds, 3) for bounds in BOUNDS),
)


def make_label_sets(limit: int = 100, **expected: str | None) -> LabelSets:
    """Label sets with a few places."""
    return LabelSets(PLACES, SeriesLimit(limit), BatchClock(FakeTime().clock()), expected=expected)


def fill(counts: Counts, factor: int) -> None:
    """Count something everywhere."""
    counts.totals[0] += factor
    counts.totals[2] += 10 * factor
    counts.note_latest(1, 100.0 * factor)
    for _ in range(factor):
        counts.observe(0, 5.0)
        counts.count_exception("KeyError", "failed")
    counts.count_exception(f"Error{factor}", "retried")


def test_merged_counts_are_those_of_both() -> None:
    """Counters, histograms and exceptions add up; of two timestamps the later one stays."""
    label_sets = make_label_sets()
    both, waiting = label_sets["t", "q"], label_sets.make_unlabelled()
    fill(both, 3)
    fill(waiting, 2)
    waiting.observe(1, 7.0)
    both.merge(waiting)
    assert both.totals == [5, 0, 50]
    assert both.latest == [0.0, 300.0]
    first, second = both.histograms
    assert first is not None
    assert second is not None
    assert (first.counts(), first.total) == ((0, 5, 0), 25.0)
    assert (second.counts(), second.total) == ((0, 1), 7.0)
    assert both.exceptions == {
        ("KeyError", "failed"): 5,
        ("Error3", "retried"): 1,
        ("Error2", "retried"): 1,
    }


def test_a_later_timestamp_is_merged() -> None:
    """What waited may be newer than what was counted meanwhile."""
    label_sets = make_label_sets()
    both, waiting = label_sets["t", "q"], label_sets.make_unlabelled()
    both.note_latest(0, 1.0)
    waiting.note_latest(0, 2.0)
    both.merge(waiting)
    assert both.latest == [2.0, 0.0]


def test_counts_share_nothing_that_is_written() -> None:
    """What is counted in one place stands in no other."""
    label_sets = make_label_sets()
    fill(label_sets["t", "q"], 1)
    for untouched in (label_sets["t", "other"], label_sets.make_unlabelled()):
        assert untouched.totals == [0, 0, 0]
        assert untouched.latest == [0.0, 0.0]
        assert untouched.histograms == [None, None]
        assert untouched.exceptions == {}


def test_label_sets_are_found_by_what_the_labels_show() -> None:
    """Names that are the same label share their counts; what is not known is ``unknown``."""
    label_sets = make_label_sets()
    assert (
        label_sets["t\n", None]
        is label_sets["t\r", ""]
        is label_sets["t\N{REPLACEMENT CHARACTER}", "unknown"]
    )
    assert label_sets["t\n", None].labels == ("t\N{REPLACEMENT CHARACTER}", "unknown")


def test_label_sets_beyond_the_limit_are_other() -> None:
    """Further ones share their counts under ``other``, each time counted as an overflow; known ones stay."""
    limit = SeriesLimit(2)
    label_sets = LabelSets(PLACES, limit, BatchClock(FakeTime().clock()), expected={})
    known = [label_sets["a", "q"], label_sets["b", "q"]]
    assert label_sets["c", "q"] is label_sets["d", "q"]
    assert label_sets["c", "q"].labels == (OTHER, OTHER)
    assert [label_sets["a", "q"], label_sets["b", "q"]] == known
    assert limit.overflows == {"celery_task": 3}


def test_exception_classes_are_limited_over_all_label_sets() -> None:
    """The limit is one for the whole family; a class that is known goes on, another one is ``other``."""
    limit = SeriesLimit(2)
    label_sets = LabelSets(PLACES, limit, BatchClock(FakeTime().clock()), expected={})
    a, b = label_sets["a", "q"], label_sets["b", "q"]
    for _ in range(2):
        a.count_exception("KeyError", "failed")
    b.count_exception("KeyError", "failed")
    b.count_exception("ValueError", "failed")
    a.count_exception("KeyError", "failed")
    assert a.exceptions == {("KeyError", "failed"): 3}
    assert b.exceptions == {("KeyError", "failed"): 1, (OTHER, "failed"): 1}
    assert limit.overflows == {"celery_task_exceptions_total": 1}


def test_exceptions_that_waited_are_admitted_when_they_are_merged() -> None:
    """An attempt that waits takes no room; merged, each of its exceptions is admitted or counted as an overflow."""
    limit = SeriesLimit(3)
    label_sets = LabelSets(PLACES, limit, BatchClock(FakeTime().clock()), expected={})
    waiting, counts = label_sets.make_unlabelled(), label_sets["t", "q"]
    for name in ("A", "B", "C", "C"):
        waiting.count_exception(name, "failed")
    for name in ("X", "B"):
        counts.count_exception(name, "failed")
    assert limit.overflows == {}
    counts.merge(waiting)
    expected = {("X", "failed"): 1, ("B", "failed"): 2, ("A", "failed"): 1, (OTHER, "failed"): 2}
    assert counts.exceptions == expected
    assert limit.overflows == {"celery_task_exceptions_total": 2}


def test_an_attempt_that_waits_keeps_a_limited_number_of_exceptions() -> None:
    """A message that comes back again and again, each time with another exception, does not grow without limit."""
    waiting = make_label_sets(5).make_unlabelled()
    for number in range(100):
        waiting.count_exception(f"Error{number}", "failed")
    assert len(waiting.exceptions) == 6
    assert waiting.exceptions[OTHER, "failed"] == 95


def test_counts_do_not_grow_with_what_is_counted() -> None:
    """Whatever comes for an attempt that waits, its counts keep their size."""
    waiting = make_label_sets().make_unlabelled()
    fill(waiting, 1)
    before = [sys.getsizeof(part) for part in (waiting.totals, waiting.latest, waiting.histograms)]
    for _ in range(1000):
        fill(waiting, 1)
    after = [sys.getsizeof(part) for part in (waiting.totals, waiting.latest, waiting.histograms)]
    assert after == before
    assert len(waiting.exceptions) == 2


def test_an_expected_task_is_expected_until_it_is_seen() -> None:
    """On whatever queue it is seen, and not for an attempt that waits."""
    label_sets = make_label_sets(a="q", b=None)
    label_sets.make_unlabelled()
    assert label_sets.expected() == [("a", "q"), ("b", "unknown")]
    label_sets["a", "elsewhere"]
    assert label_sets.expected() == [("b", "unknown")]


@pytest.mark.parametrize(("seen", "expected"), [(0, 3), (1, 2), (3, 0), (4, 0)])
def test_expected_tasks_take_the_room_that_is_left(seen: int, expected: int) -> None:
    """Those that are seen come first."""
    label_sets = make_label_sets(3, **{f"t{number}": "q" for number in range(5)})
    for number in range(seen):
        label_sets[f"seen{number}", "q"]
    assert len(label_sets.expected()) == expected
