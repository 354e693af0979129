"""The soak's own parts: what its cluster tells, and when it says that something grows."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from benchmarks.soak.pods import Cluster
from benchmarks.soak.readings import COLUMNS, Reading, Shutdown, grows, judge, megabytes_a_minute
from benchmarks.soak.watch import page_figures
from celery_metrics_exporter.events.decode import decode
from celery_metrics_exporter.events.types import WIRE_NAMES, AnyEvent, Event, Undecodable

CALM = Reading(
    at=0.0,
    sent=1200,
    delivered=1000,
    counted=1000,
    dropped=0,
    rss=80_000_000,
    threads=20,
    files=12,
    leftovers=1,
    cpu=0.1,
    lag=2.0,
    series=500,
    scrape=0.02,
    in_flight=10,
    evicted=0,
    workers=5,
    reconnects=2,
    names=9,
    replies=30,
)
GOOD_END = Shutdown(code=0, seconds=0.4, leftovers=(), tracebacks=0)


def minutes(**changes: int) -> list[Reading]:
    """Ten minutes of readings in which these figures grow by so much from one to the next, five seconds later."""
    return [
        replace(
            CALM,
            at=5.0 * number,
            **{name: getattr(CALM, name) + step * number for name, step in changes.items()},
        )
        for number in range(121)
    ]


def complaints(readings: list[Reading], ending: Shutdown = GOOD_END) -> list[str]:
    """What the verdict does not like."""
    return [finding.text for finding in judge(readings, ending) if not finding.good]


def test_calm_run_is_good() -> None:
    """What stands still and was counted in full gives no complaint; events in gaps are no loss of the exporter's."""
    assert complaints(minutes()) == []


@pytest.mark.parametrize(
    ("figure", "step", "words"),
    [
        ("rss", 1_000_000 // 12, "memory: +1.00 MB a minute"),
        ("threads", 1, "threads: 50 to 140 after warm-up"),
        ("files", 1, "file descriptors: "),
        ("leftovers", 1, "keys or queues on the broker: "),
        ("dropped", 1, "events: 1,000 counted and 120 dropped"),
        ("counted", -1, "events: 880 counted"),
    ],
)
def test_growth_is_found(figure: str, step: int, words: str) -> None:
    """Each figure that grows, or that is short of what it should be, is complained of alone."""
    (complaint,) = complaints(minutes(**{figure: step}))
    assert complaint.startswith(words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": 1}, "stop: exit code 1"),
        ({"seconds": 5.1}, "stop: exit code 0 after 5.1 s"),
        ({"leftovers": ("a", "b")}, "left on the broker for ever: a, b"),
        ({"tracebacks": 2}, "tracebacks in the log: 2"),
    ],
)
def test_bad_end_is_found(changes: dict[str, object], words: str) -> None:
    """An end that is late, dirty or not clean is complained of."""
    (complaint,) = complaints(minutes(), replace(GOOD_END, **changes))  # type: ignore[arg-type]  # of any field
    assert complaint.startswith(words)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("leak", [0, 1_000_000 // 12])
def test_memory_is_judged_by_its_plateaus(seed: int, leak: int) -> None:
    """Peaks of 30 MB at any time, and two steps of 4 MB, hide no leak of 1 MB a minute, and are none."""
    random = Random(seed)
    steps = random.sample(range(121), 2)
    readings = [
        replace(
            each,
            rss=each.rss
            + sum(4_000_000 for step in steps if step < number)
            + random.randrange(300_000)
            + (random.random() < 0.7) * random.randrange(30_000_000),
        )
        for number, each in enumerate(minutes(rss=leak))
    ]
    assert [each.partition(":")[0] for each in complaints(readings)] == ["memory"] * bool(leak)


def test_memory_that_warms_up_or_falls_is_flat() -> None:
    """What happens in the first quarter does not count, and one reading tells nothing."""
    falling = minutes(rss=-10_000)
    assert complaints([replace(falling[0], rss=0), *falling[1:]]) == []
    assert megabytes_a_minute(falling) == pytest.approx(-0.12, rel=0.1)
    assert megabytes_a_minute([CALM]) == 0


def test_what_comes_and_goes_does_not_grow() -> None:
    """One more than before for a moment is no growth, one more that stays is."""
    assert not grows([1, 2, 1, 2, 1, 3, 1, 2])
    assert grows([1, 2, 1, 2, 2, 3, 3, 3])
    assert not grows([7])


def test_cluster_tells_what_it_says_it_tells() -> None:
    """Every event is one that Celery could send, the rate is kept, and workers come and go."""
    cluster = Cluster(rate=500.0, pods=20, life=3.0)
    cluster.start = 1_800_000_000.0
    events: list[AnyEvent | Undecodable] = []
    for number in range(1, 401):
        for message, count in cluster.until(number * 0.05):
            told = list(decode(message.body.encode()))
            assert len(told) == count
            events += told
    kinds = Counter(WIRE_NAMES[type(event)] for event in events if isinstance(event, Event))
    assert kinds == cluster.events
    assert set(kinds) == set(WIRE_NAMES.values()) - {"task-cancelled"}
    assert len(events) == pytest.approx(500 * 20, rel=0.1)
    assert cluster.names > 80
    assert len(cluster.pods) == 20


def test_page_is_summed_up() -> None:
    """Samples are counted, and those about the exporter itself added over their labels."""
    name = "celery_exporter_events_total"
    text = f'# HELP x y\nx{{a="b c"}} 1\n{name}{{event="a"}} 2\n{name}{{event="b"}} 3.0\n'
    assert page_figures(text) == (3, {name: 5.0})


def test_row_has_a_figure_for_each_column() -> None:
    """CPU and lag are those since the reading before, in micro- and milliseconds an event."""
    then = replace(CALM, at=30.0, counted=1500, cpu=0.2, lag=4.0)
    assert len(CALM.row(None)) == len(COLUMNS)
    first, later = (dict(zip(COLUMNS, row, strict=True)) for row in (CALM.row(None), then.row(CALM)))
    assert (first["CPU µs/event"], first["lag ms"]) == pytest.approx((100.0, 2.0))
    assert (later["CPU µs/event"], later["lag ms"]) == pytest.approx((200.0, 4.0))
    assert later["in gaps"] == 200
