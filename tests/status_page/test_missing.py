"""What is missing: each finding with the state that it names, and without it."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from celery_metrics_exporter.cli.options import run_options
from celery_metrics_exporter.config.config import EventQueue
from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page.findings import Finding
from celery_metrics_exporter.status_page.missing import find_missing
from celery_metrics_exporter.status_page.snapshot import BrokerView, Snapshot, Stream
from celery_metrics_exporter.status_page.snapshot_tables import (
    QueueRow,
    Queues,
    Tasks,
    Top,
    Workers,
)
from tests.serving import SEEN, page_of

#: An exporter that knows everything: it has heard of workers and tasks, and nothing is wrong.
WELL = replace(
    SEEN,
    stream=Stream(total=100, last=SEEN.now, lag=0.01, dropped=()),
    broker=BrokerView(up=True),
    queues=Queues(shown=Top((QueueRow(name="q", length=1, workers=1, oldest=SEEN.now),), 1)),
    workers=Workers(up=2),
    tasks=Tasks(sent=5, started=5),
)
NAMES = Top(("a", "b"), 7)
CLOCKS = Top((("a", 3600.0), ("b", -30.0)), 7)


def found(seen: Snapshot) -> list[Finding]:
    """The findings."""
    return find_missing(seen)


def keys(findings: Iterable[Finding]) -> set[str]:
    """Their keys."""
    return {finding.key for finding in findings}


def with_config(**settings: Any) -> Snapshot:
    """All is well, with an exporter that was started so."""
    return replace(WELL, config=replace(WELL.config, **settings))


def with_subscription(**state: Any) -> Snapshot:
    """All is well but the subscription."""
    return replace(WELL, subscription=replace(WELL.subscription, **state))


def test_nothing_is_missing() -> None:
    """When everything is known there is no finding, and the page says so."""
    assert found(WELL) == []
    html = page_of(WELL)
    assert "Nothing: every source of metrics is available." in html


CASES: dict[str, tuple[Snapshot, str, str, str]] = {
    "connection": (
        with_subscription(connected=False, last_error="refused"),
        "failed",
        "nothing is counted",
        "`--broker-url`",
    ),
    "deaf": (
        with_subscription(fault="no event for 40 s"),
        "failed",
        "nothing arrives",
        "`celery-exporter doctor`",
    ),
    "standby": (
        with_subscription(standby=True, delivering=None),
        "note",
        "another exporter receives the events",
        "takes over",
    ),
    "unsure": (with_subscription(delivering=None), "note", "which proves nothing", "`--no-remote-control`"),
    "routing-key": (
        with_config(event_queue=EventQueue(routing_key="task.#")),
        "note",
        "some events",
        "`--event-routing-key`",
    ),
    "gaps": (
        with_subscription(connections=3, disconnected_seconds=75.0),
        "note",
        "for 1 min 15 s in total, with 2 reconnects",
        "The log",
    ),
    "stuck": (with_subscription(restarts=1), "warning", "1 receiver hung", "network"),
    "queues-unreadable": (replace(WELL, reads_queues=False), "note", "No queue lengths", "monitoring"),
    "broker": (
        replace(WELL, broker=BrokerView(up=False, error="NOPERM")),
        "failed",
        "The broker cannot be read",
        "`%R~* +ping +scan +smembers +llen +lindex +hlen +zrange`",
    ),
    "remote-control": (with_config(remote_control=False), "note", "not asked", "`--no-remote-control`"),
    "inspection": (with_config(inspect_workers=False), "note", "not asked", "`--no-inspect-workers`"),
    "no-worker": (
        replace(WELL, workers=Workers()),
        "failed",
        "No worker is up",
        "`celery -A proj worker -E`",
    ),
    "no-task": (replace(WELL, tasks=Tasks()), "note", "No task has started", "enable_events"),
    "lost": (
        replace(WELL, workers=Workers(up=1, lost=NAMES)),
        "warning",
        "7 workers lost",
        "`--worker-timeout`",
    ),
    "events-off": (
        replace(WELL, workers=Workers(up=9, silent=NAMES)),
        "failed",
        "7 workers send no task events",
        "`worker_send_task_events = True`",
    ),
    "switched-on": (
        replace(WELL, workers=Workers(up=9, switched_on=NAMES)),
        "warning",
        "7 workers sent no task events until the exporter asked for them",
        "`worker_send_task_events = True`",
    ),
    "clocks": (replace(WELL, workers=Workers(up=9, skewed=CLOCKS)), "warning", "clock of 7 workers", "NTP"),
    "untold": (
        replace(WELL, workers=Workers(up=9, untold=NAMES)),
        "warning",
        "7 workers did not answer",
        "solo",
    ),
    "unheard": (
        replace(WELL, workers=Workers(up=9, unheard=NAMES)),
        "warning",
        "7 workers answered, but no event of them arrives",
        "`--event-exchange NAME`",
    ),
    "namesakes": (
        replace(WELL, workers=Workers(up=9, namesakes=NAMES)),
        "warning",
        "Several workers have the same name",
        "`celery -A proj worker -n NAME@%h`",
    ),
    "outdated": (
        replace(WELL, workers=Workers(up=9, outdated=NAMES)),
        "warning",
        "7 workers run a version before Celery 4.4",
        "Upgrade",
    ),
    "missed": (replace(WELL, workers=Workers(up=9, missed=3)), "warning", "3 starts", "`--event-queue-ttl`"),
    "abandoned": (
        replace(WELL, queues=Queues(abandoned=NAMES)),
        "warning",
        "7 queues that no worker consumes",
        "`celery -A proj control add_consumer QUEUE`",
    ),
    "forbidden": (
        replace(WELL, queues=Queues(forbidden=NAMES)),
        "failed",
        "RabbitMQ does not let the exporter look at 7 queues",
        "`--management-url http://HOST:15672`",
    ),
    "missing": (
        replace(WELL, queues=Queues(missing=NAMES)),
        "warning",
        "The broker does not have 7 queues: no lengths",
        "`queue_name_prefix`",
    ),
    "management": (
        replace(WELL, queues=Queues(shown=Top((QueueRow(name="q", consumers=1),), 1))),
        "note",
        "RabbitMQ does not tell",
        "`--management-url http://HOST:15672`",
    ),
    "age": (replace(WELL, queues=Queues(ageless=NAMES)), "note", "7 queues is not known", "`+lindex`"),
    "task-sent": (
        replace(WELL, tasks=Tasks(sent=0, started=5)),
        "warning",
        "task-sent is off: no queue wait",
        "`task_send_sent_event = True`",
    ),
    "unregistered": (
        replace(WELL, tasks=Tasks(sent=5, started=5, unregistered=NAMES)),
        "warning",
        "Tasks fail because their worker does not know them",
        "`autodiscover_tasks`",
    ),
    "dropped": (
        replace(WELL, stream=Stream(total=1, dropped=(("undecodable", 1200), ("invalid", 1)))),
        "warning",
        "1,201 messages cannot be read as events: 1,200 undecodable, 1 invalid",
        "`event_serializer = 'json'`",
    ),
    "lag": (replace(WELL, stream=Stream(lag=math.inf)), "warning", "more than 10 s late", "CPU"),
    "retimed": (replace(WELL, stream=Stream(retimed=1)), "warning", "1 event had", "clock"),
    "evicted": (
        replace(WELL, stream=Stream(total=1, evicted=9)),
        "warning",
        "9 tasks",
        "`--max-in-flight`",
    ),
    "overflow": (
        replace(WELL, stream=Stream(total=1, overflowed=(("celery_task", 4),))),
        "warning",
        "More tasks, workers or queues than `--max-series`",
        "at run time",
    ),
}


@pytest.mark.parametrize("key", CASES)
def test_finding(key: str) -> None:
    """The one thing that is wrong is the one finding, with its level, what it says and what to write."""
    seen, level, title, remedy = CASES[key]
    (finding,) = found(seen)
    assert (finding.key, finding.level) == (key, level)
    assert title in finding.title
    assert remedy in finding.remedy


@pytest.mark.parametrize("key", CASES)
def test_finding_on_the_page(key: str) -> None:
    """It stands on the page under its anchor, with level, names, the words of the library, and code to type."""
    (finding,) = found(CASES[key][0])
    html = page_of(CASES[key][0])
    (shown,) = re.findall(rf'<li id="missing-{key}" class="{finding.level}">(.*?)</li>', html, re.DOTALL)
    assert shown.count("<code>") == (finding.title + finding.remedy).count("`") / 2 + bool(finding.command)
    assert ("<bdi>a</bdi>, <bdi>b</bdi> and 5 more" in shown) == (finding.names == NAMES)
    assert finding.quote is None or f"<q><bdi>{finding.quote}</bdi></q>" in shown


def test_every_option_that_is_named_exists() -> None:
    """What a remedy tells to write, the command line knows."""
    options = [option for section in run_options().values() for option in section]
    known = {name.removeprefix("--") for option in options for name in (*option.opts, *option.secondary_opts)}
    named = set()
    for seen, *_ in CASES.values():
        for finding in found(seen):
            named |= set(re.findall(r"`--([a-z-]+)", finding.remedy))
    assert named - {"without-heartbeat"} <= known


def test_command() -> None:
    """The line to type names the queues, as a shell takes them; it stands on the page as it is."""
    seen = replace(WELL, queues=Queues(abandoned=Top(("a", "b c"), 2)))
    (finding,) = found(seen)
    assert finding.command == "celery -A proj worker -Q 'a,b c'"
    html = page_of(seen)
    assert "<code><bdi>celery -A proj worker -Q &#x27;a,b c&#x27;</bdi></code>" in html


@pytest.mark.parametrize(
    ("skew", "remedy"),
    [(None, "NTP"), ("clock", "the exporter's machine"), ("zone", "time zone"), ("late", "slow broker")],
)
def test_clocks_say_what_may_be_the_reason(skew: Any, remedy: str) -> None:
    """Each worker is named with its offset, and the remedy depends on what the offsets have in common."""
    (finding,) = found(replace(WELL, workers=Workers(up=9, skewed=CLOCKS, skew=skew)))
    assert finding.names == Top(("a (1 h ahead)", "b (30 s behind)"), 7)
    assert remedy in finding.remedy


def test_lost_connection_is_news_for_a_minute() -> None:
    """What was lost with a connection a moment ago is a failure, and part of the past later."""
    for age, level in ((5.0, "failed"), (61.0, "note")):
        seen = with_subscription(
            connections=2, disconnected_seconds=3.0, past_error="reset by peer", past_error_age=age
        )
        (finding,) = found(seen)
        assert (finding.key, finding.level) == ("gaps", level)


def test_levels_of_an_empty_stream() -> None:
    """That nothing can be read, or proven, is worse while nothing else has come."""
    (dropped,) = found(replace(WELL, stream=Stream(dropped=(("invalid", 1),))))
    assert dropped.level == "failed"
    (unsure,) = found(replace(with_subscription(delivering=None), stream=Stream()))
    assert unsure.level == "warning"


def test_unheard_workers_with_a_routing_key() -> None:
    """Whoever receives some events only does not miss those of workers."""
    seen = replace(
        with_config(event_queue=EventQueue(routing_key="task.#")), workers=Workers(up=9, unheard=NAMES)
    )
    assert keys(found(seen)) == {"routing-key"}


def test_the_worst_first() -> None:
    """Faults stand before warnings, these before notes."""
    seen = replace(
        with_config(remote_control=False),
        subscription=replace(WELL.subscription, connected=False),
        workers=Workers(up=1, lost=NAMES),
    )
    assert [finding.level for finding in found(seen)] == ["failed", "warning", "note"]


def test_absence_is_told_only_when_all_had_the_time() -> None:
    """Within the first seconds of a connection, and without one, nobody is missed."""
    empty = replace(WELL, workers=Workers(), queues=Queues(abandoned=NAMES), tasks=Tasks())
    assert (
        keys(found(replace(empty, subscription=StreamReading(connected=True, delivering=True, lasting=2))))
        == set()
    )
    assert keys(
        found(replace(empty, subscription=StreamReading(connected=True, delivering=True, lasting=20)))
    ) == {
        "no-worker",
        "abandoned",
    }
    assert keys(found(replace(empty, subscription=StreamReading(connected=False, lasting=20)))) == {
        "connection"
    }
    assert keys(found(replace(empty, subscription=StreamReading(connected=True, fault="x", lasting=20)))) == {
        "deaf",
        "abandoned",
    }


def test_final_look_waits_for_nobody() -> None:
    """Who looks once and never again is told at once what is absent, and that a silence proves nothing."""
    silent = StreamReading(connected=True, lasting=1.0)
    empty = replace(WELL, workers=Workers(), tasks=Tasks(), stream=Stream(), subscription=silent)
    assert keys(found(empty)) == set()
    assert keys(find_missing(empty, final=True)) == {"no-worker", "unsure"}
    absent = replace(WELL, queues=Queues(absent=NAMES))
    assert found(absent) == []
    (finding,) = find_missing(absent, final=True)
    assert (finding.key, finding.names) == ("absent", NAMES)
    assert finding.title == "7 queues of `--queue` cannot be found on the broker"
    heard = replace(empty, stream=Stream(heard=1), tasks=Tasks(sent=5, started=9, unsent=NAMES))
    assert keys(find_missing(heard, final=True)) == {"no-worker", "task-sent"}
    assert keys(find_missing(replace(empty, subscription=replace(silent, connected=False)), final=True)) == {
        "connection"
    }


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({}, "The exporter asks for them too."),
        ({"enable_events": False}, "The exporter does not ask: `--no-enable-events`."),
        ({"remote_control": False}, "The exporter does not ask: `--no-remote-control`."),
    ],
)
def test_events_off_says_whether_we_ask(settings: dict[str, bool], answer: str) -> None:
    """Whoever has forbidden the exporter to turn task events on is told so."""
    seen = replace(with_config(**settings), workers=Workers(up=9, silent=NAMES))
    (finding,) = (each for each in found(seen) if each.key == "events-off")
    assert answer in finding.remedy


def test_task_sent_off_for_some() -> None:
    """Where only some tasks lack their task-sent, these are named."""
    (finding,) = found(replace(WELL, tasks=Tasks(sent=5, started=9, unsent=NAMES)))
    assert finding.title.startswith("task-sent is off for 7 tasks")
    assert finding.names == NAMES
    early = replace(WELL.subscription, lasting=59.0)
    assert found(replace(WELL, subscription=early, tasks=Tasks(sent=5, started=9, unsent=NAMES))) == []


def test_workers_that_cannot_be_asked() -> None:
    """The reason is told, but not beside a lost connection, which is reason enough."""
    seen = replace(WELL, broker=BrokerView(up=True, control_error="NOPERM"))
    (finding,) = found(seen)
    assert (finding.key, finding.level, finding.quote) == ("remote-control", "warning", "NOPERM")
    assert keys(found(replace(seen, subscription=StreamReading(connected=False, last_error="x")))) == {
        "connection"
    }


def test_start_is_no_gap() -> None:
    """The seconds before the first connection, however many so far, are no gap beside the fault that they are."""
    assert keys(
        found(
            with_subscription(connected=False, last_error="refused", lasting=99.0, disconnected_seconds=99.0)
        )
    ) == {"connection"}
    assert keys(found(with_subscription(disconnected_seconds=0.3))) == set()
    (finding,) = found(with_subscription(disconnected_seconds=99.0, past_error="refused"))
    assert (finding.key, finding.quote) == ("gaps", "refused")
