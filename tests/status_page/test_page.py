"""The status page as HTML: what it says, that it stays whole whatever names come, and how large it can get."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from celery_metrics_exporter import __version__
from celery_metrics_exporter.collectors.task import FAILED, STARTED, SUCCEEDED
from celery_metrics_exporter.config.config import EventQueue
from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page import StatusPage
from celery_metrics_exporter.status_page.snapshot import BrokerView, Snapshot, Stream
from celery_metrics_exporter.status_page.snapshot_tables import (
    QueueRow,
    Queues,
    RunningRow,
    TaskRow,
    Tasks,
    Top,
    Workers,
)
from celery_metrics_exporter.status_page.wording import (
    ago,
    duration,
    foreign,
    number,
    ours,
    rate,
    share,
    within,
)
from celery_metrics_exporter.workers.capacity import Capacity
from tests.pipeline import T0
from tests.serving import SEEN, page_of
from tests.status_page.rows import task_counts, worker_row

NOW = SEEN.now

ADDED = task_counts("t.add", "mail", {STARTED: 70, SUCCEEDED: 60, FAILED: 9}, failures={"Boom": 7, "Bang": 2})

BUSY = replace(
    SEEN,
    stream=Stream(total=12_345, last=NOW - 3, rate=41.25, rates=(1.0, 2.0, 3.0), lag=0.025),
    broker=BrokerView(up=True, round_trip=0.0004, unacked=9),
    queues=Queues(
        shown=Top((QueueRow(name="mail", length=1234, workers=2, slots=6, oldest=NOW - 75),), 1), waiting=1234
    ),
    workers=Workers(
        shown=Top(
            (
                worker_row("lost", "lost@h", NOW - 3600),
                worker_row("up", "silent@h", NOW, events_enabled=False),
                worker_row(
                    "up",
                    "up@h",
                    NOW - 2,
                    active=1,
                    capacity=Capacity(pool_size=4, queues=("mail", "media", "c", "d", "e", "f")),
                    offset=-0.25,
                    version="5.7.0",
                ),
            ),
            3,
        ),
        up=2,
        lost=Top(("lost@h",), 1),
        silent=Top(("silent@h",), 1),
    ),
    tasks=Tasks(
        busiest=Top((TaskRow(ADDED, rate=2.5),), 1),
        failing=Top(
            (TaskRow(ADDED, recent_failures=1, recent_ends=8),),
            1,
        ),
        running=Top((RunningRow("t.add", "mail", "up@h", NOW - 7200),), 1),
        window=45.0,
        long_window=600.0,
        sent=70,
        started=70,
        recent_failures=1,
        recent_ends=8,
    ),
)


class Document(HTMLParser):
    """What a browser makes of the page: its elements, the text in them, and that all of them end."""

    VOID = frozenset({"meta", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It ends the innermost one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text, but for style and script."""
        if self._open and self._open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All of it, with single spaces."""
        return " ".join(" ".join(self.words).split())


def test_it_tells_what_was_seen() -> None:
    """Every subject stands on the page, with its numbers."""
    text = Document(page_of(BUSY)).text
    for expected in (
        f"celery-exporter {__version__} redis://broker/0",
        "Receiving events for 1 min, since",
        "Events per second 41.2 12,345 in all",
        "Last event 3 s ago",
        "Event lag ≤ 25 ms",
        "Workers up 2 1 lost , 1 events off",
        "Messages waiting 1,234 in 1 queue Tasks",
        "running 1 longest for 2 h",
        "Failures 12.5 % 1 of 8 lately",
        "lately: in the last 10 min",
        "1,234 waiting, 9 held by workers, the broker answers in < 1 ms",
        "mail 1,234 1 min 15 s 2 6",
        "t.add mail 2.50 0 70 60 9 0",
        "t.add mail 1 12.5 % 9 Boom",
        "t.add mail up@h 2 h",
        "lost@h lost",
        "silent@h events off",
        "up@h up 1 of 4 mail , media , c , d and 2 more 0 0 −250 ms 5.7.0 2 s ago",  # noqa: RUF001 - a minus sign
    ):
        assert expected in text


def test_every_table_has_headings_and_labels() -> None:
    """Each cell of each row is labelled by the heading of its column, and rows are named by their first cell."""
    tags = Document(page_of(BUSY)).tags
    assert sum(tag == "table" for tag, _ in tags) == 5
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in tags if tag == "th")
    assert all(attributes["data-l"] for tag, attributes in tags if tag == "td")


def test_every_link_leads_somewhere() -> None:
    """Links within the page have their target, the others are the exporter's own pages."""
    tags = Document(page_of(BUSY)).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in tags if tag == "a"}
    assert {"#missing-lost", "#missing-events-off"} <= links
    for link in links:
        assert link in {"./metrics", "./-/healthy", "./-/ready"} or link[1:] in ids


def test_nothing_comes_from_elsewhere() -> None:
    """No address of another host, no file, no handler in an attribute, no style in one."""
    html = page_of(BUSY)
    for tag, attributes in Document(html).tags:
        assert "src" not in attributes
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "link" or attributes["href"].startswith("data:image/svg+xml,")
    assert "http" not in re.sub(r"http-equiv|redis://broker/0|'http://www.w3.org/2000/svg'", "", html)


def test_it_refreshes_itself_without_scripts() -> None:
    """A browser that runs no scripts loads the page anew."""
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page_of(SEEN)


@pytest.mark.parametrize(
    ("state", "health", "verdict", "icon"),
    [
        (StreamReading(connected=True, delivering=True), (True, ""), "Receiving events", "1a7f37"),
        (StreamReading(connected=True), (True, ""), "Connected, no event yet", "bf8700"),
        (
            StreamReading(connected=True, delivering=False, fault="no event for 40 s"),
            (True, ""),
            "Nothing arrives",
            "d1242f",
        ),
        (StreamReading(connected=False, last_error="refused"), (True, ""), "Not connected", "d1242f"),
        (StreamReading(connected=True, delivering=True), (False, "dead: sampler"), "Broken", "d1242f"),
    ],
)
def test_verdict(state: StreamReading, health: tuple[bool, str], verdict: str, icon: str) -> None:
    """The verdict stands in the banner, in the title, and colours the icon; a reason stands beside it."""
    html = page_of(replace(SEEN, subscription=state), health)
    assert f"<title>{verdict} · celery-exporter</title>" in html
    assert f'aria-live="polite">{verdict}</p>' in html
    assert f"fill='%23{icon}'" in html
    for reason in (state.fault, state.last_error, None if health[0] else health[1]):
        assert reason is None or reason in Document(html).text


HOSTILE = (
    '<script>alert("x")</script>',
    "</td></tr></table><h1>owned</h1>",
    "\"'><img src=x onerror=alert(1)>",
    "&lt;b&gt;&amp;",
    "{seen.config} %s `code`",
    "\u202egnp.exe\u202c\u2066\u200b\u200d\ufeff",
    "a\nb\x00\x1b[31m\x7f",
    "e" + "\u0301" * 60,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 日本語 עברית",
    "x" * 5000,
    "\udcff\ud800",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_nothing_but_text(name: str) -> None:
    """Whatever a name, a version or an error consists of, the page has the same elements as with a plain one."""

    def page_with(text: str) -> str:
        named = Top((text,), 1)
        routed = EventQueue()
        object.__setattr__(routed, "routing_key", text)  # not all of these are let in
        task = TaskRow(task_counts(text, text, {STARTED: 1, FAILED: 1}, failures={text: 1}))
        worker = worker_row("up", text, NOW, version=text, capacity=Capacity(queues=(text,)))
        return page_of(
            replace(
                SEEN,
                config=replace(SEEN.config, event_queue=routed),
                broker_name=text,
                subscription=StreamReading(connected=False, last_error=text, past_error=text),
                broker=BrokerView(up=False, error=text, control_error=text),
                queues=Queues(
                    shown=Top((QueueRow(name=text),), 1), abandoned=named, ageless=named, forbidden=named
                ),
                workers=Workers(
                    shown=Top((worker,), 1),
                    lost=named,
                    silent=named,
                    skewed=Top(((text, 9.0),), 1),
                    untold=named,
                ),
                tasks=Tasks(
                    busiest=Top((task,), 1),
                    failing=Top((task,), 1),
                    running=Top((RunningRow(text, text, text, NOW),), 1),
                    sent=1,
                    started=1,
                    unsent=named,
                ),
            ),
            (False, text),
        )

    html = page_with(name)
    assert Document(html).tags == Document(page_with("plain")).tags
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x09\x0b-\x1f\x7f-\x9f]", html)
    assert len(html) < 60_000 + 100 * len(name)


def test_every_foreign_text_keeps_its_direction_to_itself() -> None:
    """A name from right to left turns nothing around it."""
    assert foreign("עברית") == "<bdi>עברית</bdi>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shop.tasks.add", "shop.tasks.add"),
        ("日本語 é 😀", "日本語 é 😀"),
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        ("a\u202eb\u2028c\x1b", "a\\u202eb\\u2028c\\u001b"),
        ("\U000e0041\udcff", "\\U000e0041\\udcff"),
        ("x" * 401, "x" * 400 + "…"),
        ("e\u0301\u0323", "e\u0301\u0323"),
    ],
)
def test_foreign_text(text: str, shown: str) -> None:
    """Letters of all scripts stay; what would not be seen, or would move what is beside it, is shown by its code."""
    assert foreign(text) == f"<bdi>{shown}</bdi>"


def test_ours_marks_code() -> None:
    """What is to be typed stands in code."""
    assert ours("Set `a = 'b'` <now>") == "Set <code>a = &#x27;b&#x27;</code> &lt;now&gt;"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.0001, "< 1 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1 s"),
        (2.54, "2.5 s"),
        (9.97, "10 s"),
        (59.6, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (86_400 * 2.5, "2 d 12 h"),
        (math.inf, "for ever"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Durations have two units at most, and never a thousand of one."""
    assert duration(seconds) == text


def test_numbers() -> None:
    """What is not known is a dash; a share that is neither none nor all is not rounded to either."""
    assert [number(None), number(1234567), rate(None), rate(0.123), rate(12.34), rate(4321.0)] == [
        "\N{EN DASH}",
        "1,234,567",
        "\N{EN DASH}",
        "0.12",
        "12.3",
        "4,321",
    ]
    assert [share(0, 0), share(0, 5), share(5, 5), share(1, 10**6), share(10**6 - 1, 10**6)] == [
        "\N{EN DASH}",
        "0 %",
        "100 %",
        "0.1 %",
        "99.9 %",
    ]
    assert [within(None, 300), within(math.inf, 300), within(0.5, 300)] == [
        "\N{EN DASH}",
        "> 5 min",
        "≤ 500 ms",
    ]


def test_times_carry_the_moment() -> None:
    """An age says in its title when that was; a time to come, by a clock that is ahead, is now."""
    assert ago(T0, T0 + 61) == (
        '<time datetime="2023-11-14T22:13:20Z" title="2023-11-14 22:13:20 UTC">1 min 1 s</time> ago'
    )
    assert ">now</time>" in ago(T0 + 5, T0)
    assert ago(None, T0) == "never"


def test_largest_page() -> None:
    """With the longest names in every row that it can have, the page stays below a megabyte, and says what it omits."""
    name = "<" * 200
    task = TaskRow(task_counts(name, name, {STARTED: 1, FAILED: 1}, failures={name: 1}))
    worker = worker_row("up", name, NOW, version=name, capacity=Capacity(queues=(name,) * 99))
    html = page_of(
        replace(
            SEEN,
            queues=Queues(shown=Top((QueueRow(name=name),) * 40, 10_000)),
            workers=Workers(shown=Top((worker,) * 40, 10_000), up=10_000),
            tasks=Tasks(
                busiest=Top((task,) * 12, 10_000),
                failing=Top((task,) * 8, 10_000),
                running=Top((RunningRow(name, name, name, NOW),) * 8, 10_000),
            ),
        )
    )
    assert len(html) < 1_000_000
    assert Document(html).text.count("and 9,960 more, in the metrics") == 2
    assert "and 9,988 more, in the metrics" in html


class Laborious:
    """A status that takes a while to tell, on a clock that only this moves."""

    now = 0.0
    cost = 0.0
    asked = 0

    def overview(self) -> Snapshot:
        """Take that time."""
        self.now += self.cost
        self.asked += 1
        return SEEN


@pytest.mark.parametrize(("cost", "fresh"), [(0.001, 0.5), (0.3, 6.0)])
def test_page_is_made_no_more_often_than_it_may_cost(cost: float, fresh: float) -> None:
    """However many ask, it is made twice a second at most; one that takes long has twenty times that rest."""
    status = Laborious()
    status.cost = cost
    made = StatusPage(status.overview, lambda: (True, ""), "/metrics", monotonic=lambda: status.now)
    for _ in range(9):
        made.body()
    status.now += fresh * 0.99
    made.body()
    assert status.asked == 1
    status.now += fresh * 0.02
    made.body()
    assert status.asked == 2
