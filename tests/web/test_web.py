"""The pages: what is served where, to whom, in which form."""

import gzip
import logging
from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.exposition.protobuf import ProtobufEncoder
from tests.exposition.messages import read
from tests.exposition.test_accept import PROMETHEUS_3_NATIVE, PROTOBUF
from tests.serving import SEEN, FixedStatus, ask, connected, fetch, serving, url_of

# What Prometheus 2.42 sends.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PAGES = ["/", "/metrics", "/-/healthy", "/-/ready"]


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with a counter and a gauge."""
    registry = CollectorRegistry()
    Counter("celery_task_sent_total", "Tasks sent (task-sent).", ["task"], registry=registry).labels("é").inc(
        3
    )
    Gauge("celery_worker_up", "Workers alive.", registry=registry).set(1)
    return registry


def test_metrics_are_the_registry_as_text(registry: CollectorRegistry) -> None:
    """Without an Accept header /metrics is exactly prometheus_client's text format."""
    with serving(registry) as server:
        reply = fetch(url_of(server), "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.body == generate_latest(registry)


def test_openmetrics_for_prometheus(registry: CollectorRegistry) -> None:
    """A client that prefers OpenMetrics, as Prometheus does, gets it."""
    with serving(registry) as server:
        reply = fetch(url_of(server), "/metrics", headers={"Accept": PROMETHEUS_ACCEPT})
    assert reply.headers["Content-Type"].startswith(
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert reply.body == openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # theirs
    assert reply.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "text/html",
        "application/openmetrics-text;version=latest,*/*;q=0.1",
        "text/plain;version=",
        ";;,,=",
        "text/plain;version=x.y",
    ],
)
def test_any_other_accept_header_gets_text(registry: CollectorRegistry, accept: str) -> None:
    """Whatever else a client says that it accepts, even nonsense, it gets the text format."""
    with serving(registry) as server:
        reply = fetch(url_of(server), "/metrics", headers={"Accept": accept})
    assert (reply.status, reply.body) == (200, generate_latest(registry))


def test_messages_for_prometheus(registry: CollectorRegistry) -> None:
    """A Prometheus that takes native histograms gets messages, compressed if it likes, and only the named families."""
    accept = {"Accept": PROMETHEUS_3_NATIVE}
    with serving(registry) as server:
        reply = fetch(url_of(server), "/metrics", headers=accept)
        packed = fetch(url_of(server), "/metrics", headers={**accept, "Accept-Encoding": "gzip"})
        named = fetch(url_of(server), "/metrics?name[]=celery_worker_up", headers=accept)
    assert reply.headers["Content-Type"] == packed.headers["Content-Type"] == PROTOBUF
    assert reply.body == ProtobufEncoder().encode(registry) == gzip.decompress(packed.body)
    assert [family.name for family in read(reply.body)] == ["celery_task_sent_total", "celery_worker_up"]
    assert [family.name for family in read(named.body)] == ["celery_worker_up"]


def test_gzip_when_accepted(registry: CollectorRegistry) -> None:
    """The body is compressed for clients that accept gzip, and caches are told what it depends on."""
    with serving(registry) as server:
        reply = fetch(url_of(server), "/metrics", headers={"Accept-Encoding": "deflate, gzip;q=0.8"})
        plain = fetch(url_of(server), "/metrics", headers={"Accept-Encoding": "deflate"})
    assert reply.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(reply.body) == generate_latest(registry) == plain.body
    assert "Content-Encoding" not in plain.headers
    assert reply.headers["Vary"] == plain.headers["Vary"] == "Accept, Accept-Encoding"


def test_name_filter(registry: CollectorRegistry) -> None:
    """`name[]` restricts the answer to the named series."""
    with serving(registry) as server:
        one = fetch(url_of(server), "/metrics?name[]=celery_worker_up")
        both = fetch(url_of(server), "/metrics?name%5B%5D=celery_worker_up&name[]=celery_task_sent_total")
        none = fetch(url_of(server), "/metrics?name[]=absent")
    assert (
        one.text
        == "# HELP celery_worker_up Workers alive.\n# TYPE celery_worker_up gauge\ncelery_worker_up 1.0\n"
    )
    assert "celery_worker_up 1.0" in both.text
    assert 'celery_task_sent_total{task="é"} 3.0' in both.text
    assert (none.status, none.body) == (200, b"")


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
def test_probes_answer_200_or_503_with_one_line(path: str) -> None:
    """Each probe tells its own verdict in the status code and why in one line, afresh on every request."""
    status = FixedStatus()
    with serving(status=status) as server:
        assert fetch(url_of(server), path).status == 200
        status.health = (path != "/-/healthy", "the receiver\nthread hangs \udcff")
        status.readiness = (path != "/-/ready", "the receiver\nthread hangs \udcff")
        bad = fetch(url_of(server), path)
        other = fetch(url_of(server), "/-/ready" if path == "/-/healthy" else "/-/healthy")
    assert (bad.status, bad.body) == (503, b"the receiver thread hangs \\udcff\n")
    assert bad.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert other.status == 200


def test_status_page_is_served() -> None:
    """The page at / is the status page: of what the status tells, with a policy for browsers, and kept by nobody."""
    status = FixedStatus(
        seen=replace(SEEN, subscription=StreamReading(connected=False, last_error='no "broker"'))
    )
    with serving(status=status, telemetry_path="/m") as server:
        reply = fetch(url_of(server), "/")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-store"
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "Not connected" in reply.text
    assert "no &quot;broker&quot;" in reply.text
    for path in ("m", "-/healthy", "-/ready"):
        assert f'<a href="./{path}">/{path}</a>' in reply.text


def test_status_page_is_compressed_when_accepted() -> None:
    """A browser gets a tenth of the bytes each time."""
    with serving() as server:
        reply = fetch(url_of(server), "/", headers={"Accept-Encoding": "gzip"})
        plain = fetch(url_of(server), "/")
    assert gzip.decompress(reply.body) == plain.body
    assert reply.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_telemetry_path_cannot_bring_markup() -> None:
    """Whatever characters the path of the metrics has, the link leads to it, on this server."""
    with serving(telemetry_path='/"><b>é{}%41') as server, serving(telemetry_path="//elsewhere/x") as other:
        reply = fetch(url_of(server), "/")
        elsewhere = fetch(url_of(other), "/")
    assert "<b>é" not in reply.text
    assert 'href="./%22%3E%3Cb%3E%C3%A9%7B%7D%2541"' in reply.text
    assert 'href=".//elsewhere/x"' in elsewhere.text


@pytest.mark.parametrize("path", [*PAGES, "/absent"])
def test_head_is_get_without_body(registry: CollectorRegistry, path: str) -> None:
    """HEAD gives the status and the headers of GET, and no body, on a connection that stays usable."""
    with serving(registry) as server, connected(url_of(server)) as connection:
        head = ask(connection, path, method="HEAD")
        get = ask(connection, path)
    assert (head.status, head.body) == (get.status, b"")
    assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}
    assert int(get.headers["Content-Length"]) == len(get.body) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", PAGES)
def test_other_methods_are_refused(path: str, method: str) -> None:
    """Nothing but GET and HEAD is allowed, and the answer says so."""
    with serving() as server:
        reply = fetch(url_of(server), path, method=method, body=b"x" if method == "POST" else None)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/",
        "/metricsx",
        "/Metrics",
        "/-/",
        "/-/healthy/",
        "/favicon.ico",
        "/%2Fmetrics",
        "/x%00",
    ],
)
def test_unknown_paths_are_404(registry: CollectorRegistry, path: str) -> None:
    """Only the exact paths exist; nothing else ever shows metrics."""
    with serving(registry) as server:
        reply = fetch(url_of(server), path)
    assert reply.status == 404
    assert b"celery_worker_up" not in reply.body


def test_telemetry_path_moves_the_metrics(registry: CollectorRegistry) -> None:
    """With another telemetry path the metrics are there, also percent-encoded, and /metrics is unknown."""
    with serving(registry, telemetry_path="/celery/metrics") as server:
        assert fetch(url_of(server), "/celery/metrics").body == generate_latest(registry)
        assert fetch(url_of(server), "/celery/%6Detrics").status == 200
        assert fetch(url_of(server), "/metrics").status == 404


def test_no_version_is_told_to_the_network() -> None:
    """The Server header names the product alone."""
    with serving() as server:
        assert fetch(url_of(server), "/absent").headers["Server"] == "celery-exporter"


class Failing(Collector):
    """A collector that fails as often as it has errors."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def describe(self) -> Iterable[Metric]:
        """Tell no names, so that registering does not collect."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Raise the next error."""
        if self._errors:
            raise self._errors.pop()
        return ()


@pytest.mark.parametrize(
    "error", [ValueError("broken"), ConnectionResetError("not the client's"), TimeoutError("timed out")]
)
def test_failing_scrape_is_a_500_and_nothing_more(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A scrape that fails, even with an error that looks like the client's, is answered, logged and over."""
    registry = CollectorRegistry()
    registry.register(Failing(error))
    with serving(registry) as server, caplog.at_level(logging.ERROR):
        assert fetch(url_of(server), "/metrics").status == 500
        assert fetch(url_of(server), "/metrics").status == 200
    (record,) = caplog.records
    assert str(error) in record.getMessage()
    assert record.exc_info is not None


def test_label_that_cannot_be_encoded_costs_one_scrape(caplog: pytest.LogCaptureFixture) -> None:
    """A lone surrogate in a label, which no encoder can write, does not take the server down."""
    registry = CollectorRegistry()
    Gauge("celery_worker_up", "Workers alive.", ["worker"], registry=registry).labels("\udcff").set(1)
    with serving(registry) as server:
        assert fetch(url_of(server), "/metrics").status == 500
        assert fetch(url_of(server), "/-/healthy").status == 200
