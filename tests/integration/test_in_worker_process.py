"""The process of a worker that reports for itself: its port, its children, its end, and failures of ours."""

import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import celery
import pytest

from tests.integration.in_worker_app import APP, environment
from tests.integration.self_reporting import PLAIN, SelfReportingWorker
from tests.integration.servers import Valkey
from tests.integration.servers.ports import HOST, free_port
from tests.integration.test_in_worker import COUNTED_S, Start, client, start
from tests.waiting import wait_for

LINGER_S = 4.0


def holders(port: int) -> set[int]:
    """The processes that have the listening socket of this port open."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and int(local.partition(":")[2], 16) == port:
            inodes.add(f"socket:[{inode}]")
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for entry in (process / "fd").iterdir():
                with suppress(OSError):
                    if entry.readlink().name in inodes or str(entry.readlink()) in inodes:
                        found.add(int(process.name))
    return found


def children(pid: int) -> set[int]:
    """The processes that a process has forked."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def started(worker: SelfReportingWorker, number: int) -> Callable[[], bool]:
    """Whether the worker has counted so many starts."""
    return lambda: worker.total("celery_task_started_total") == number


def test_no_child_keeps_the_port(valkey: Valkey, start_self_reporting: Start) -> None:
    """Children that are forked while it is served close it: a worker that is started anew gets it."""
    worker = start(start_self_reporting, valkey.url, arguments=(*PLAIN, "--max-tasks-per-child", "1"))
    (port,) = worker.ports
    before = children(worker.pid)
    with socket.create_connection((HOST, port)) as idle:  # which a child must not keep either
        idle.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in idle.recv(1000)
        app = client(valkey.url)
        for number in range(6):
            app.send_task("add", (number, 1))
        wait_for(started(worker, 6), timeout=COUNTED_S, what="all tasks")
        wait_for(lambda: len(children(worker.pid) - before) == 2, timeout=COUNTED_S, what="two new children")
        assert holders(port) == {worker.pid}
        idle.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        told = b""
        while piece := idle.recv(1000):  # the end comes when nobody has the connection any more
            told += piece
        assert b"200" in told
    check_counts(worker, 6)


def check_counts(worker: SelfReportingWorker, number: int) -> None:
    """So many tasks were counted from their receipt to their success."""

    def counted() -> list[float]:
        return [worker.total(f"celery_task_{what}_total") for what in ("received", "started", "succeeded")]

    wait_for(
        lambda: counted() == 3 * [number], timeout=COUNTED_S, what=lambda: f"{number} tasks: {counted()}"
    )


@pytest.mark.parametrize("kind", ["autoscale", "pool_grow", "pool_restart"])
def test_a_pool_that_changes_goes_on_being_counted(
    valkey: Valkey, kind: str, tmp_path: Path, start_self_reporting: Start
) -> None:
    """Its size is the present one, and tasks are counted before and after."""
    more = ("--autoscale", "3,1") if kind == "autoscale" else ()
    worker = start(start_self_reporting, valkey.url, concurrency=1, arguments=(*PLAIN, *more))
    app = client(valkey.url)
    app.send_task("add", (1, 1))
    wait_for(started(worker, 1), timeout=COUNTED_S, what="a task")
    if kind == "pool_restart":
        assert app.control.pool_restart(reply=True, timeout=10.0, limit=1)
        size, holding = 1, 0
    else:
        holding = 3
        if kind == "pool_grow":
            app.control.pool_grow(2, reply=True, timeout=10.0, limit=1)
        for number in range(holding):
            app.send_task("hold", (str(tmp_path / f"release-{number}"),))
        size = 3
    wait_for(
        lambda: worker.value("celery_worker_pool_size", worker=worker.nodename) == size,
        timeout=COUNTED_S,
        what="the new size",
    )
    for number in range(holding):
        (tmp_path / f"release-{number}").touch()
    for number in range(5):
        app.send_task("add", (number, 1))
    check_counts(worker, 6 + holding)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_the_last_task_can_be_scraped_after_the_worker_was_told_to_end(
    valkey: Valkey, tmp_path: Path, pool: str, start_self_reporting: Start
) -> None:
    """--metrics-linger keeps the port after the pool is done; then the worker ends by itself."""
    worker = start(
        start_self_reporting,
        valkey.url,
        pool=pool,
        arguments=(*PLAIN, "--metrics-linger", f"{LINGER_S}s"),
    )
    release = tmp_path / "release"
    client(valkey.url).send_task("hold", (str(release),))
    wait_for(Path(f"{release}.runs").exists, timeout=COUNTED_S, what="a running task")
    os.kill(worker.pid, signal.SIGTERM)
    if pool != "solo":
        wait_for(
            lambda: "not consuming" in worker.page("/-/ready"), timeout=COUNTED_S, what="a worker that stops"
        )
    release.touch()
    wait_for(
        lambda: worker.value("celery_worker_up", worker=worker.nodename) == 0,
        timeout=COUNTED_S,
        what="the end of everything that it does",
    )
    done = time.monotonic()
    assert worker.value("celery_task_succeeded_total", task="hold", queue="celery") == 1
    assert worker.total("celery_task_in_progress") == 0
    wait_for(lambda: not worker.process.running, timeout=COUNTED_S, what="the end of the worker")
    assert time.monotonic() - done > LINGER_S / 2
    assert worker.process.returncode == 0
    assert worker.ports == []


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("broker", ["valkey", "rabbitmq_vhost"])
def test_messages_do_not_wait_for_the_linger(
    request: pytest.FixtureRequest, broker: str, pool: str, tmp_path: Path, start_self_reporting: Start
) -> None:
    """What a worker has fetched and not started is in its queue again while it lingers; threads may start all of it."""
    url = str(request.getfixturevalue(broker).url)
    worker = start(
        start_self_reporting, url, pool=pool, concurrency=1, arguments=(*PLAIN, "--metrics-linger", "10m")
    )
    app = client(url)
    app.send_task("hold", (str(tmp_path / "release"),))
    wait_for((tmp_path / "release.runs").exists, timeout=COUNTED_S, what="a running task")
    for number in range(3):
        app.send_task("add", (number, 1))
    wait_for(
        lambda: worker.value("celery_task_received_total", task="add", queue="celery") == 3,
        timeout=COUNTED_S,
        what="messages that are fetched",
    )
    os.kill(worker.pid, signal.SIGTERM)
    wait_for(
        lambda: "not consuming" in worker.page("/-/ready"), timeout=COUNTED_S, what="a worker that stops"
    )
    (tmp_path / "release").touch()

    def waiting() -> int:
        with app.connection_for_read() as connection:
            try:
                return int(connection.default_channel.queue_declare("celery", passive=True).message_count)
            except connection.channel_errors:  # Redis has no empty queue
                return 0

    wait_for(
        lambda: worker.value("celery_worker_up", worker=worker.nodename) == 0,
        timeout=COUNTED_S,
        what="a worker that lingers",
    )
    started = worker.total("celery_task_started_total", task="add")
    wait_for(
        lambda: waiting() == 3 - started,
        timeout=COUNTED_S,
        what=lambda: f"{3 - started:g} messages in the queue, there are {waiting()}",
    )
    assert started == 0 or pool == "threads"
    assert worker.process.running
    os.kill(worker.pid, signal.SIGQUIT)


def test_a_second_signal_ends_the_linger(valkey: Valkey, start_self_reporting: Start) -> None:
    """Who does not want to wait need not."""
    worker = start(
        start_self_reporting, valkey.url, pool="threads", arguments=(*PLAIN, "--metrics-linger", "10m")
    )
    os.kill(worker.pid, signal.SIGTERM)
    wait_for(
        lambda: worker.value("celery_worker_up", worker=worker.nodename) == 0,
        timeout=COUNTED_S,
        what="a worker that lingers",
    )
    assert worker.process.running
    os.kill(worker.pid, signal.SIGQUIT)
    wait_for(lambda: not worker.process.running, timeout=COUNTED_S, what="the end of the worker")


def test_a_cold_shutdown_does_not_wait(valkey: Valkey, tmp_path: Path, start_self_reporting: Start) -> None:
    """After SIGQUIT nothing lingers."""
    worker = start(start_self_reporting, valkey.url, arguments=(*PLAIN, "--metrics-linger", "10m"))
    client(valkey.url).send_task("hold", (str(tmp_path / "never"),))
    wait_for((tmp_path / "never.runs").exists, timeout=COUNTED_S, what="a running task")
    os.kill(worker.pid, signal.SIGQUIT)
    wait_for(lambda: not worker.process.running, timeout=COUNTED_S, what="the end of the worker")


def test_a_port_that_is_taken_costs_the_metrics_alone(valkey: Valkey, start_self_reporting: Start) -> None:
    """One clear line; the worker works on."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        worker = start(start_self_reporting, valkey.url, pool="solo", listen=f"{HOST}:{port}")
        app = client(valkey.url)
        app.send_task("add", (1, 1))
        worker.process.wait_until(
            lambda: "succeeded in" in worker.output, timeout=COUNTED_S, what="a task that runs"
        )
    lines = [line for line in worker.output.splitlines() if "metrics" in line and "ERROR" in line]
    assert len(lines) == 1
    assert lines[0].endswith(
        f"this worker serves no metrics: cannot listen on {HOST}:{port}: address already in use; "
        "choose another with --metrics-listen-address"
    )
    assert "Traceback" not in worker.output


def test_a_port_file_that_cannot_be_written_costs_itself_alone(
    valkey: Valkey, tmp_path: Path, start_self_reporting: Start
) -> None:
    """The metrics are served and counted; one line names the file."""
    port, path = free_port(), tmp_path / "nowhere" / "worker.ports"
    worker = start_self_reporting(
        APP,
        env=environment(valkey.url),
        pool="solo",
        listen=None,
        arguments=(*PLAIN, "--metrics-listen-address", f"{HOST}:{port}", "--metrics-port-file", str(path)),
    )
    client(valkey.url).send_task("add", (1, 1))
    counted = 'celery_task_succeeded_total{queue="celery",task="add"} 1.0'

    def page() -> str:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=COUNTED_S) as answer:
            return str(answer.read().decode())

    wait_for(lambda: counted in page(), timeout=COUNTED_S, what="a task that is counted")
    assert f"cannot write the ports of the metrics to {path}: No such file or directory" in worker.output
    assert "Traceback" not in worker.output
    worker.stop()
    assert "Traceback" not in worker.output


def test_the_files_of_multiprocess_mode_are_the_users_alone(
    valkey: Valkey, tmp_path: Path, start_self_reporting: Start
) -> None:
    """Where a project uses prometheus_client's multiprocess mode, nothing of ours is in its files."""
    files = tmp_path / "multiprocess"
    files.mkdir()
    worker = start_self_reporting(
        APP,
        env=environment(valkey.url) | {"PROMETHEUS_MULTIPROC_DIR": str(files)},
        within=("env",),  # prometheus_client chooses its mode when it is imported
    )
    client(valkey.url).send_task("add", (1, 1))
    wait_for(
        lambda: worker.value("celery_task_succeeded_total", task="add", queue="celery") == 1,
        timeout=COUNTED_S,
        what="a task that is counted",
    )
    assert worker.value("celery_exporter_events_dropped_total", reason="invalid") == 0
    assert not list(files.iterdir())


@pytest.mark.parametrize(
    "method", ["on_received", "on_started", "on_succeeded", "on_revoked", "collect", "add"]
)
def test_a_bug_of_ours_reaches_no_task(valkey: Valkey, method: str, start_self_reporting: Start) -> None:
    """A handler, or a collector, that raises: every task ends as it would, and the failure is counted."""
    worker = start(start_self_reporting, valkey.url, pool="threads", app={"broken": method})
    app = client(valkey.url)
    for number in range(50):
        app.send_task("add", (number, 1))
    app.send_task("add", (1, 1), headers={"expires": "2020-01-01T00:00:00+00:00"})
    worker.process.wait_until(
        lambda: worker.output.count("succeeded in") == 50, timeout=COUNTED_S, what="all tasks"
    )
    if method == "collect":
        assert worker.value("celery_exporter_collector_success", collector="task") == 0
    else:
        wait_for(
            lambda: (
                worker.total("celery_exporter_events_dropped_total", reason="handler_error")
                == {"on_revoked": 1, "add": 3 * 50}.get(method, 50)
            ),
            timeout=COUNTED_S,
            what="the failures",
        )
    assert worker.page("/-/healthy") == "healthy\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"celery_exporter_published_at": "a" * 10_000},
        {"celery_exporter_published_at": {"a": [1]}},
        {"celery_exporter_published_at": -1e300},
        {"shadow": "x" * 100_000},
        {"shadow": "\x00\udcff"},
        {"parent_id": "y" * 100_000},
        {"retries": -5},
    ],
    ids=["text", "object", "number", "long shadow", "odd shadow", "long parent", "negative"],
)
def test_a_hostile_message_disturbs_nothing(
    valkey: Valkey, headers: dict[str, object], start_self_reporting: Start
) -> None:
    """What anybody can write into a message costs that message at most its own numbers."""
    worker = start(start_self_reporting, valkey.url, pool="solo")
    app = client(valkey.url)
    with suppress(UnicodeEncodeError):
        app.send_task("add", (1, 1), headers=headers)
    for number in range(10):
        app.send_task("again" if number % 2 else "add", () if number % 2 else (1, 1))
    wait_for(
        lambda: (
            worker.value("celery_task_succeeded_total", task="again", queue="celery") == 5
            and (worker.value("celery_task_succeeded_total", task="add", queue="celery") or 0) >= 5
        ),
        timeout=COUNTED_S,
        what="the other tasks",
    )
    assert worker.page("/-/healthy") == "healthy\n"


def test_settings_are_variables_too(valkey: Valkey, tmp_path: Path, start_self_reporting: Start) -> None:
    """Several addresses, a file with their ports, and none of all that with CELERY_EXPORTER_WORKER_NO_METRICS."""
    ports = free_port(), free_port()
    env = {
        **environment(valkey.url),
        "CELERY_EXPORTER_WORKER_METRICS_LISTEN_ADDRESS": " ".join(f"{HOST}:{port}" for port in ports),
        "CELERY_EXPORTER_WORKER_METRICS_PORT_FILE": str(tmp_path / "%n.ports"),
    }
    worker = start_self_reporting(APP, env=env, pool="solo", listen=None)
    assert (tmp_path / "worker.ports").read_text() == "".join(f"{port}\n" for port in ports)
    for port in ports:
        assert holders(port) == {worker.pid}
    worker.stop()
    assert not (tmp_path / "worker.ports").exists()
    silent = start_self_reporting(
        APP,
        env={**env, "CELERY_EXPORTER_WORKER_NO_METRICS": "1"},
        pool="solo",
        listen=None,
        hostname="silent",
    )
    for port in ports:
        assert holders(port) == set()
    assert not re.search("metrics|Traceback", silent.output.partition("ready.")[2])


def test_the_web_configuration_guards_the_metrics(
    valkey: Valkey, tmp_path: Path, start_self_reporting: Start
) -> None:
    """Users of a file in Prometheus' format, as at a listener."""
    guard = tmp_path / "web.yml"
    # The hash of "test", of the lowest cost.
    guard.write_text(
        'basic_auth_users: {me: "$2b$04$YgIUkjJ8gEXBSW1cCGZrhuzGlEWKTfgBkpCuYQ8Wxdh8Ev1LPA6jS"}\n'
    )
    worker = start(
        start_self_reporting, valkey.url, pool="solo", app={"install": {"web_config_file": str(guard)}}
    )
    with pytest.raises(urllib.error.HTTPError, match="401"):
        worker.open("/metrics")


def test_a_busy_greenlet_delays_a_scrape_and_no_more(valkey: Valkey, start_self_reporting: Start) -> None:
    """A task that needs the CPU lets nothing else run; afterwards everything is told."""
    worker = start(start_self_reporting, valkey.url, pool="gevent")
    client(valkey.url).send_task("busy", (1.5,))
    wait_for(
        lambda: worker.value("celery_task_succeeded_total", task="busy", queue="celery") == 1,
        timeout=COUNTED_S,
        what="the task",
    )


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_greenlet_that_is_terminated_has_one_end(
    valkey: Valkey, tmp_path: Path, pool: str, start_self_reporting: Start
) -> None:
    """Celery says of it that it was revoked, and that it succeeded: what is said first is counted."""
    if pool == "gevent" and celery.VERSION[:2] < (5, 5):
        pytest.skip("Celery cannot terminate its greenlets")
    worker = start(start_self_reporting, valkey.url, pool=pool)
    app = client(valkey.url)
    task = app.send_task("hold", (str(tmp_path / "never"),))
    wait_for((tmp_path / "never.runs").exists, timeout=COUNTED_S, what="a running task")
    assert app.control.revoke(task.id, terminate=True, reply=True, timeout=COUNTED_S, limit=1)
    wait_for(
        lambda: all(
            worker.value("celery_exporter_events_total", event=event) == 1
            for event in ("task-succeeded", "task-revoked")
        ),
        timeout=COUNTED_S,
        what="both events",
    )
    revoked = worker.value("celery_task_revoked_total", task="hold", queue="celery", reason="terminated")
    succeeded = worker.value("celery_task_succeeded_total", task="hold", queue="celery")
    assert (revoked, succeeded) == ((1, 0) if pool == "gevent" else (0, 1))
    assert worker.total("celery_task_in_progress") == 0
