"""The truth test can fail: its workload has everything it should, and a wrong page is told apart from a right one."""

import pytest

from tests.integration.truth.comparison import Page, differences
from tests.integration.truth.truth import LIVES, Event, Truth, truth
from tests.integration.truth.workload import MISSING, QUEUES, TASKS, Behaviour, submissions

WORKERS = {queue: f"{queue}@localhost" for queue in QUEUES}
FAILED = 'celery_task_failed_total{queue="alpha",task="shop.pay"}'


@pytest.fixture(scope="module")
def expected() -> Truth:
    """What the whole workload must lead to."""
    return truth(submissions(), WORKERS, celery=(5, 7))


@pytest.fixture(scope="module")
def right(expected: Truth) -> str:
    """A metrics page with exactly the expected samples."""
    lines = []
    types = {}
    for (name, labels), value in sorted(expected.samples.items()):
        family, kind = (
            (name.removesuffix("_count"), "histogram") if name.endswith("_count") else (name, "counter")
        )
        if family not in types:
            types[family] = kind
            lines.append(f"# TYPE {family} {kind}")
        shown = ",".join(f'{label}="{text}"' for label, text in labels)
        lines.append(f"{name}{{{shown}}} {value}")
    events = sum(
        value
        for (name, labels), value in expected.samples.items()
        if name == "celery_exporter_events_total" and labels != (("event", "other"),)
    )
    lines += [
        "# TYPE celery_exporter_event_lag_seconds histogram",
        f"celery_exporter_event_lag_seconds_count {events}",
    ]
    return "\n".join([*lines, ""])


def test_the_workload_has_every_outcome() -> None:
    """2,000 tasks, each of the main ones on every queue, every behaviour and every kind of event but cancelled."""
    planned = submissions()
    assert len(planned) >= 2000
    assert len({submission.uuid for submission in planned}) == len(planned)
    places = {(submission.task, submission.queue) for submission in planned}
    assert places >= {(task, queue) for task in (*TASKS, MISSING) for queue in QUEUES}
    assert {submission.behaviour for submission in planned} == set(Behaviour) == set(LIVES)
    events = {event for life in LIVES.values() for attempt in life for event in attempt.events}
    assert events == set(Event) - {Event.CANCELLED}
    exceptions = {attempt.exception for life in LIVES.values() for attempt in life if attempt.exception}
    assert len(exceptions) >= 3


def test_the_right_page_has_no_differences(expected: Truth, right: str) -> None:
    """A page with all expected samples is the truth."""
    assert differences(Page(right), expected) == []


@pytest.mark.parametrize(
    "wrong",
    [
        FAILED + " 1.0",
        'celery_task_failed_total{queue="beta",task="unknown"} 0.0',
        'celery_task_exceptions_total{exception="KeyError",outcome="failed",queue="beta",task="shop.pay"} 1.0',
        '# TYPE celery_task_in_progress gauge\ncelery_task_in_progress{queue="alpha",task="shop.pay"} 1.0',
        '# TYPE celery_worker_up gauge\ncelery_worker_up{worker="stranger@localhost"} 1.0',
        "# TYPE celery_worker_lost_total counter\ncelery_worker_lost_total 1.0",
        "# TYPE celery_shiny_total counter\ncelery_shiny_total 0.0",
        '# TYPE celery_task_wait_seconds histogram\ncelery_task_wait_seconds_sum{task="shop.pay"} NaN',
    ],
)
def test_each_wrong_line_is_a_difference(expected: Truth, right: str, wrong: str) -> None:
    """One wrong value, one label set too many or one unheard-of counter is told, and nothing else is."""
    family = wrong.partition("{")[0]
    if wrong.startswith("#"):
        page = right + wrong + "\n"
    elif wrong.startswith(FAILED):
        page = "\n".join(wrong if line.startswith(FAILED) else line for line in right.splitlines()) + "\n"
    else:
        first = next(line for line in right.splitlines() if line.startswith(family))
        page = right.replace(first, f"{wrong}\n{first}")
    assert len(differences(Page(page), expected)) == 1


def test_a_missing_line_is_a_difference(expected: Truth, right: str) -> None:
    """A counter that is not there is told, even where the truth is 0."""
    cancelled = 'celery_task_cancelled_total{queue="alpha",task="shop.pay"}'
    page = "\n".join(line for line in right.splitlines() if not line.startswith(cancelled)) + "\n"
    found = differences(Page(page), expected)
    assert len(found) == 1
    assert "is not there, the truth is 0" in found[0]
