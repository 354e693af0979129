"""The status page of a real exporter beside a real broker and a real worker, in a real browser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.browser.chromium import Chromium
from tests.browser.reading import REFRESHED_S, cells, findings
from tests.browser.tab import Tab
from tests.integration.event_sender import EventSender
from tests.integration.known_tasks import APP, application, environment
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey, require
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey", "chromium")

WAIT_S = 60.0

HOSTILE = '</td></table><script>alert("1")</script><img src=x onerror=alert(2)>\u202e<!--'


@dataclass(frozen=True, slots=True)
class Deployment:
    """A broker, a worker with the known tasks, and an exporter that has heard of both."""

    settings: dict[str, str]
    exporter: ExporterProcess

    @property
    def page(self) -> str:
        """Where the status page is."""
        return page_of(self.exporter)

    def run(self, name: str, *arguments: int, queue: str = "celery") -> None:
        """Send a task."""
        application(self.settings).send_task(name, arguments, queue=queue)

    def succeeded(self) -> int:
        """How many tasks have, by the metrics."""
        return int(self.exporter.total("celery_task_succeeded_total"))


def page_of(exporter: ExporterProcess) -> str:
    """Where its status page is."""
    return exporter.url.removesuffix("/metrics") + "/"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests here: it has run two tasks that succeeded and one that failed."""
    require("valkey")
    folder = tmp_path_factory.mktemp("deployment")
    with Valkey(folder / "valkey") as valkey:
        settings = {"broker_url": valkey.url}
        options = ("--broker-url", valkey.url, "--sample-interval", "1s", "--queue", "nobodys")
        with (
            ExporterProcess(folder / "exporter", options) as exporter,
            CeleryWorker(folder / "worker", APP, env=environment(settings)),
        ):
            made = Deployment(settings, exporter)
            made.run("known.add", 1, 2)
            made.run("known.add", 3, 4)
            made.run("known.fail")
            for name, labels, value in (
                ("celery_task_failed_total", {"task": "known.fail", "queue": "celery"}, 1),
                ("celery_task_succeeded_total", {"task": "known.add", "queue": "celery"}, 2),
                ("celery_queue_workers", {"queue": "celery"}, 1),
                ("celery_queue_pool_size", {"queue": "celery"}, 2),
                ("celery_queue_length", {"queue": "celery"}, 0),
            ):
                wait_for(
                    lambda name=name, labels=labels, value=value: exporter.value(name, **labels) == value,  # type: ignore[misc]  # mypy infers no lambda with defaults
                    timeout=WAIT_S,
                    what=name,
                )
            yield made


def test_page_tells_what_happened(deployment: Deployment, chromium: Chromium) -> None:
    """Verdict, numbers, tables: what the metrics count is what a reader sees; and nothing else is asked for."""
    with Tab(chromium) as tab:
        tab.open(deployment.page)
        assert tab.text(".verdict") == "Receiving events"
        assert tab.run("document.title") == "Receiving events · celery-exporter"
        busiest = cells(tab, "busiest", "known.add")
        assert [busiest[0], *busiest[3:7]] == ["celery", "2", "2", "0", "0"]
        failing = cells(tab, "failing", "known.fail")
        assert [failing[0], *failing[3:5]] == ["celery", "1", "ValueError"]
        assert cells(tab, "workers", "worker@localhost")[:3] == ["up", "0 of 2", "celery"]
        assert cells(tab, "queues", "celery") == ["0", "", "1", "2"]
        assert "Nothing: every source" in tab.text("section.missing")
        assert set(tab.requests) == {deployment.page}
        assert tab.complaints == []


def test_script_keeps_it_up_to_date(deployment: Deployment, chromium: Chromium) -> None:
    """A number changes by itself, in the document that was loaded once; what is selected and scrolled stays."""
    with Tab(chromium, height=300) as tab:
        tab.open(deployment.page)
        tab.run("void (window.mark = document.querySelector('#busiest'), scrollTo(0, 200))")
        tab.run("getSelection().selectAllChildren(document.querySelector('#busiest'))")
        expected = str(deployment.succeeded() + 1)
        deployment.run("known.add", 5, 6)
        wait_for(
            lambda: cells(tab, "busiest", "known.add")[4] == expected, timeout=REFRESHED_S, what="one more"
        )
        assert tab.run("document.querySelector('#busiest') === window.mark")
        assert tab.run("[scrollY, String(getSelection())]") == [200, "Busiest tasks"]
        assert tab.loads == 1
        assert set(tab.requests) == {deployment.page}
        assert tab.complaints == []


def test_page_without_scripts_reloads_itself(deployment: Deployment, chromium: Chromium) -> None:
    """Where no script runs, the page is whole, and comes anew with other numbers."""
    with Tab(chromium, scripts=False) as tab:
        tab.open(deployment.page)
        assert tab.text(".verdict") == "Receiving events"
        assert tab.run("getComputedStyle(document.querySelector('#pause')).display") == "none"
        expected = str(deployment.succeeded() + 1)
        deployment.run("known.add", 5, 6)
        wait_for(
            lambda: cells(tab, "busiest", "known.add")[4:5] == [expected],
            timeout=REFRESHED_S,
            what="one more",
        )
        wait_for(lambda: tab.loads > 1, timeout=REFRESHED_S, what="a document that was loaded anew")
        assert tab.complaints == []


def test_messages_without_consumer_are_told(deployment: Deployment, chromium: Chromium) -> None:
    """A message in a queue that nobody consumes is a finding with the command to type, linked from its row."""
    deployment.run("known.add", 1, 2, queue="nobodys")
    with Tab(chromium) as tab:
        tab.open(deployment.page)
        wait_for(lambda: "abandoned" in findings(tab), timeout=WAIT_S, what="the finding")
        assert tab.text("#missing-abandoned .names") == "nobodys"
        assert "celery -A proj control add_consumer QUEUE" in tab.texts("#missing-abandoned code")
        assert tab.text("a[href='#missing-abandoned']") == "0"


def test_hostile_names_from_the_broker(deployment: Deployment, chromium: Chromium) -> None:
    """Names that anybody may publish are shown as they are spelled: no script runs, no element is made of them."""
    with Tab(chromium) as tab:
        tab.open(deployment.page)
        with EventSender(deployment.settings, hostname=HOSTILE) as sender:
            sender.send("worker-online", freq=2.0, active=0, processed=0, sw_ver=HOSTILE, loadavg=[0, 0, 0])
            sender.send("task-sent", uuid="x", name=HOSTILE, queue=HOSTILE, retries=0)
            sender.send("task-received", uuid="x", name=HOSTILE, retries=0)
            sender.send("task-started", uuid="x")
            sender.send("task-failed", uuid="x", exception=f"{HOSTILE}()", traceback=HOSTILE)
        shown = HOSTILE.replace("\u202e", "\\u202e")
        wait_for(lambda: cells(tab, "busiest", shown), timeout=REFRESHED_S, what="the task")
        assert cells(tab, "failing", shown)[0] == shown
        assert cells(tab, "workers", shown)[0] == "up"
        tab.open(deployment.page)  # as it is parsed anew, not only as the script put it in
        assert cells(tab, "busiest", shown)[0] == shown
        assert tab.run(
            "[document.scripts.length, document.images.length, document.querySelectorAll('h1').length]"
        ) == [
            1,
            0,
            1,
        ]
        assert set(tab.requests) == {deployment.page}
        assert (tab.dialogs, tab.complaints) == ([], [])


def test_broker_that_goes_is_told(
    valkey: Valkey, start_exporter: Callable[..., ExporterProcess], chromium: Chromium
) -> None:
    """The page follows the connection: lost, with the reason, and back again with what was missed."""
    exporter = start_exporter("--broker-url", valkey.url, "--sample-interval", "1s")
    with Tab(chromium) as tab:
        tab.open(page_of(exporter))
        wait_for(lambda: "onnected" not in tab.text(".verdict"), timeout=WAIT_S, what="events")
        valkey.stop()
        wait_for(lambda: tab.text(".verdict") == "Not connected", timeout=WAIT_S, what="the loss")
        wait_for(lambda: {"connection", "broker"} <= findings(tab), timeout=WAIT_S, what="both findings")
        valkey.start()
        wait_for(lambda: "gaps" in findings(tab), timeout=WAIT_S, what="the gap")
        assert "connection" not in findings(tab)


def test_page_says_when_it_is_old(
    valkey: Valkey, start_exporter: Callable[..., ExporterProcess], chromium: Chromium
) -> None:
    """When the exporter does not answer any more, the page says so instead of showing old numbers as new."""
    exporter = start_exporter("--broker-url", valkey.url)
    with Tab(chromium) as tab:
        tab.open(page_of(exporter))
        assert tab.run("document.querySelector('#stale').hidden")
        exporter.stop()
        wait_for(
            lambda: "The exporter cannot be asked (it does not answer)" in tab.text("#stale"),
            timeout=REFRESHED_S,
            what="a warning",
        )
