"""The server behind a configuration file without TLS: credentials, headers, rate, and changes of the file."""

import base64
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.server import WebServer
from tests.serving import TIMEOUT_S, ask, connected, fetch, serving, url_of
from tests.waiting import wait_for
from tests.web_files import HASH, PASSWORD, WebFiles, users


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates in a folder of their own."""
    return WebFiles.create(tmp_path)


@pytest.fixture
def guarded(files: WebFiles) -> Iterator[WebServer]:
    """A server that lets alice in."""
    with serving(config_file=files.write(users("alice"))) as server:
        yield server


def login(user: str = "alice", password: str = PASSWORD) -> dict[str, str]:
    """The header that says who asks."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/ready", "/absent", "/-/healthy/", "/-/healthyx"])
def test_everything_but_the_probe_needs_credentials(guarded: WebServer, path: str) -> None:
    """Without the right credentials every path gives the same 401, which says how to authenticate."""
    refusals = [
        fetch(url_of(guarded), path, headers=headers)
        for headers in ({}, login(password="wrong"), login("mallory"), {"Authorization": "Bearer x"})
    ]
    for refusal in refusals:
        assert refusal.status == 401
        assert refusal.headers["WWW-Authenticate"].startswith("Basic ")
        assert {**refusal.headers, "Date": ""} == {**refusals[0].headers, "Date": ""}
        assert refusal.body == refusals[0].body
    assert fetch(url_of(guarded), path, headers=login()).status in {200, 404}


@pytest.mark.parametrize("headers", [{}, login(password="wrong")])
def test_probe_needs_none(guarded: WebServer, headers: dict[str, str]) -> None:
    """/-/healthy answers everybody."""
    assert fetch(url_of(guarded), "/-/healthy", headers=headers).status == 200


def test_refusal_keeps_the_connection(guarded: WebServer) -> None:
    """A client can try again over the same connection; HEAD is refused without a body."""
    with connected(url_of(guarded)) as connection:
        assert ask(connection, "/metrics", method="HEAD").body == b""
        assert ask(connection, "/metrics", method="POST", body=b"x").status == 401
        assert ask(connection, "/metrics", headers=login()).status == 200


def test_headers_of_the_file_are_sent(files: WebFiles) -> None:
    """Each answer carries them, also a refusal; a page's own header of that name gives way."""
    path = files.write(
        "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n"
        "    Content-Security-Policy: default-src 'none'\n    X-Content-Type-Options: nosniff\n"
        + users("alice")
    )
    with serving(config_file=path) as server:
        replies = [
            fetch(url_of(server), "/", headers=login()),
            fetch(url_of(server), "/"),
            fetch(url_of(server), "/-/healthy"),
        ]
    assert [reply.status for reply in replies] == [200, 401, 200]
    for reply in replies:
        assert reply.headers["X-Frame-Options"] == "sameorigin"
        assert reply.headers["Content-Security-Policy"] == "default-src 'none'"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_rate_limit(files: WebFiles) -> None:
    """Beyond the burst a request gets 429, before its credentials are looked at; a probe never does."""
    path = files.write("rate_limit: {interval: 1h, burst: 2}\n" + users("alice"))
    with serving(config_file=path) as server:
        statuses = [fetch(url_of(server), "/-/ready", headers=login()).status for _ in range(3)]
        last = fetch(url_of(server), "/-/ready")
        probe = fetch(url_of(server), "/-/healthy")
    assert statuses == [200, 200, 429]
    assert (last.status, last.headers["Retry-After"], probe.status) == (429, "1", 200)


def test_rate_limit_lets_in_again(files: WebFiles) -> None:
    """After the interval there is room for another request."""
    path = files.write("rate_limit: {interval: 50ms, burst: 1}\n")
    with serving(config_file=path) as server:
        fetch(url_of(server), "/-/ready")
        wait_for(
            lambda: fetch(url_of(server), "/-/ready").status == 200,
            timeout=TIMEOUT_S,
            what="room for a request",
        )


def test_users_change_while_serving(files: WebFiles) -> None:
    """Who is taken out of the file is out with the next request, over an open connection too; who is added is in."""
    with (
        serving(config_file=files.write(users("alice"))) as server,
        connected(url_of(server)) as connection,
    ):
        assert ask(connection, "/metrics", headers=login()).status == 200
        files.write(users("bob"))
        assert ask(connection, "/metrics", headers=login()).status == 401
        assert ask(connection, "/metrics", headers=login("bob")).status == 200
        files.write("")
        assert ask(connection, "/metrics").status == 200


def test_replaced_folder_is_seen(files: WebFiles) -> None:
    """A file behind links that are swapped, as Kubernetes mounts secrets, is read again."""
    for version, user in (("v1", "alice"), ("v2", "bob")):
        (files.folder / version).mkdir()
        (files.folder / version / "web.yml").write_text(users(user))
    (files.folder / "data").symlink_to("v1")
    (files.folder / "link.yml").symlink_to("data/web.yml")
    with serving(config_file=files.folder / "link.yml") as server:
        assert fetch(url_of(server), "/metrics", headers=login()).status == 200
        (files.folder / "next").symlink_to("v2")
        (files.folder / "next").rename(files.folder / "data")
        assert fetch(url_of(server), "/metrics", headers=login()).status == 401
        assert fetch(url_of(server), "/metrics", headers=login("bob")).status == 200


@pytest.mark.parametrize("bad", ["basic_auth_users: {alice: nonsense}\n", "nonsense: 1\n", "[", None])
def test_bad_version_changes_nothing(
    files: WebFiles, bad: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A new version that cannot work is logged once and told; the last good one holds until a good one comes."""
    file = WebConfigFile(str(files.write(users("alice"))))
    with serving(config_file=file) as server:
        if bad is None:
            files.config.unlink()
        else:
            files.write(bad)
        with caplog.at_level(logging.INFO, "celery_metrics_exporter"):
            for _ in range(3):
                assert fetch(url_of(server), "/metrics", headers=login()).status == 200
                assert fetch(url_of(server), "/metrics").status == 401
        assert file.holds() is False
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert str(files.config) in str(getattr(record, "fields", {})["error"])
        files.write(users("bob"))
        assert fetch(url_of(server), "/metrics", headers=login("bob")).status == 200
        assert file.holds() is True


def test_tls_does_not_come_while_serving(files: WebFiles) -> None:
    """A file that brings TLS to a server without is refused: clients would not know."""
    file = WebConfigFile(str(files.write("")))
    with serving(config_file=file) as server:
        files.write_tls()
        assert fetch(url_of(server), "/metrics").status == 200
        assert file.holds() is False


def test_bad_file_stops_the_start(files: WebFiles) -> None:
    """An exporter with a file that cannot work is not made."""
    path = str(files.write("nonsense: 1\n"))
    with pytest.raises(ConfigError, match="line 1: unknown key nonsense"):
        Exporter(Config(broker_url="memory://", web_config_file=path))


def test_flood_of_wrong_passwords_does_not_hold_up_a_scrape(
    files: WebFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one wrong password is being checked, without an end, known clients scrape; other logins are turned away."""
    go_on, begun = threading.Event(), threading.Event()

    def check(password: bytes, _hash: bytes) -> bool:
        if password == PASSWORD.encode():
            return True
        begun.set()
        return not go_on.wait(TIMEOUT_S)

    monkeypatch.setattr(
        "celery_metrics_exporter.web.users.Users.__init__.__kwdefaults__",
        {"check": check, "cpu_seconds": float},
    )
    registry = CollectorRegistry()
    Gauge("celery_worker_up", "Workers alive.", registry=registry).set(1)
    with (
        serving(registry, config_file=files.write(users("alice")), limits=Limits()) as server,
        ExitStack() as clients,
    ):
        scraper = clients.enter_context(connected(url_of(server)))
        assert ask(scraper, "/metrics", headers=login()).status == 200
        stuck = clients.enter_context(connected(url_of(server)))
        stuck.request("GET", "/metrics", headers=login(password="wrong 0"))
        assert begun.wait(TIMEOUT_S)
        for number in range(1, 20):
            refusal = fetch(url_of(server), "/metrics", headers=login(password=f"wrong {number}"))
            assert (refusal.status, refusal.headers["Retry-After"]) == (429, "1")
            assert "celery_worker_up 1" in ask(scraper, "/metrics", headers=login()).text
        go_on.set()
        assert stuck.getresponse().status == 401


def test_no_secret_in_the_log(files: WebFiles, caplog: pytest.LogCaptureFixture) -> None:
    """Neither passwords nor names nor hashes that clients or the file bring are logged, at any level."""
    with (
        caplog.at_level(logging.DEBUG),
        serving(config_file=files.write(users("alice"))) as server,
    ):
        for headers in (login(), login(password="hunter2"), login("hunter2"), {"Authorization": "hunter2"}):
            fetch(url_of(server), "/metrics", headers=headers)
        files.write(users("alice", hash_="hunter2"))
        fetch(url_of(server), "/metrics", headers=login())
    logged = " ".join(f"{record.getMessage()} {getattr(record, 'fields', '')}" for record in caplog.records)
    assert "clients without the right credentials are refused" in logged
    for secret in ("hunter2", PASSWORD, HASH[7:], login(password="hunter2")["Authorization"][6:]):
        assert secret not in logged


def test_strangers_fill_no_log(guarded: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    """However often somebody tries, a minute has one line."""
    with caplog.at_level(logging.INFO, "celery_metrics_exporter"):
        for number in range(10):
            fetch(url_of(guarded), "/metrics", headers=login(password=str(number)))
    assert len(caplog.records) == 1
