"""Events as nobody should send them, through the whole pipeline: nothing escapes, and what is good counts."""

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.types import MAX_NAME
from tests.pipeline import T0, Bench, received, sent, task

TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    [
        "\ud800",
        "\x00\x1b[31m\n",
        "x" * (MAX_NAME + 1),
        "ż" * 300,
        "task-sent",
        "9999-12-31T23:59:59+14:00",
        "1e5",
    ]
)
NUMBERS = (
    st.floats()
    | st.integers()
    | st.sampled_from(
        [0, 1, 2**63, 2**64, 10**400, 1e308, T0, T0 * 1000, T0 + 90_000, T0 - 1e8, 95_617_584_000, math.nan]
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS: tuple[str, ...] = (
    *("uuid", "hostname", "timestamp", "name", "queue", "retries", "eta", "parent_id", "pid", "runtime"),
    *("exception", "traceback", "requeue", "terminated", "expired", "freq", "active", "processed", "loadavg"),
    *("sw_ident", "sw_ver", "sw_sys", "clock", "utcoffset"),
)


@st.composite
def hostile_events(draw: st.DrawFn) -> Any:
    """Mostly events of known types that have some fields as they should be and others not, now and then anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    kind = draw(st.sampled_from([*events.WIRE_NAMES.values(), "custom", ""]) | VALUES)
    good = {
        "uuid": draw(st.sampled_from("abc")),
        "timestamp": T0 + draw(st.integers(0, 99)),
        "hostname": "w@h",
    }
    bad = draw(st.dictionaries(st.sampled_from(FIELDS) | TEXTS, VALUES, max_size=4))
    return {"type": kind, **good, **bad}


MESSAGES = st.lists(hostile_events() | st.lists(hostile_events(), max_size=4), max_size=8)


@settings(max_examples=150)
@given(MESSAGES)
def test_hostile_events(messages: list[Any]) -> None:
    """No handler fails, the scrape is well-formed and knows no time to come, and a good task is counted beside them."""
    bench = Bench(max_series=20, max_in_flight=20)
    life = (sent("good"), received("good"), task("started", "good"), task("succeeded", "good", runtime=0.5))
    bench.feed(sent("first"))
    for number, message in enumerate(messages):
        bench.feed([message, life[number]] if number < len(life) else message)
    bench.feed(*life[len(messages) :])
    bench.wait(3)
    samples = bench.samples()
    assert samples['celery_exporter_events_dropped_total{reason="handler_error"}'] == 0
    assert samples['celery_task_sent_total{queue="q",task="t"}'] >= 2
    assert samples['celery_task_succeeded_total{queue="q",task="t"}'] >= 1
    for name, value in samples.items():
        assert math.isfinite(value), name
        assert "timestamp_seconds" not in name or 0 < value <= T0 + 3, name


@settings(max_examples=50)
@given(st.lists(st.lists(VALUES, max_size=5), max_size=3))
def test_nothing_but_json(messages: list[list[Any]]) -> None:
    """Of values that are no events each in a list is dropped, one by one."""
    bench = Bench()
    for message in messages:
        bench.pipeline.dispatcher.feed(json.dumps(message).encode())
    counted = bench.samples("celery_exporter_events_dropped_total", "celery_exporter_events_total")
    assert sum(counted.values()) == sum(map(len, messages))
