"""Workers of one node name: restarted under their pid, as in containers, and several at a time."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.asking import PidboxNode
from tests.integration.doctoring import examine, shows
from tests.integration.known_counts import submit, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
Start = Callable[..., CeleryWorker]

NODE = "same@localhost"
#: A worker has pid 1 in such a namespace, as in a container.
NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a worker named like the others, in a folder of its own; all are killed after the test."""
    with ExitStack() as stack:
        count = 0

        def start(url: str, **settings: object) -> CeleryWorker:
            nonlocal count
            count += 1
            worker = CeleryWorker(
                tmp_path / f"worker-{count}",
                APP,
                hostname="same",
                pool="solo",
                env=environment({"broker_url": url}),
                arguments=("--without-gossip", "--without-mingle", "--heartbeat-interval", "1"),
                **settings,  # type: ignore[arg-type]
            )
            stack.callback(worker.kill)
            worker.start()
            return worker

        yield start


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """What gives a worker a pid namespace; the test is skipped where that is forbidden."""
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("namespaces are forbidden here")
    return NAMESPACE


def _counts(exporter: ExporterProcess) -> tuple[float | None, ...]:
    return tuple(
        exporter.value(f"celery_worker_{name}_tasks_total", worker=NODE) for name in ("processed", "missed")
    )


def _wait_for(exporter: ExporterProcess, *, processed: int, missed: int, timeout: float = 15) -> None:
    wait_for(
        lambda: _counts(exporter) == (processed, missed),
        timeout=timeout,
        what=lambda: f"{processed} processed, {missed} missed; they are {_counts(exporter)}",
    )


def _is_shared(exporter: ExporterProcess) -> bool:
    return exporter.value("celery_worker_name_shared", worker=NODE) == 1


@pytest.mark.parametrize("second", [5, 20])
def test_restarts_in_a_container(
    broker_url: str, start_exporter: StartExporter, start: Start, namespace: tuple[str, ...], second: int
) -> None:
    """A worker that is killed and started again with pid 1 counts anew, and so does what was missed of it."""
    exporter = start_exporter("--broker-url", broker_url, "--no-enable-events")
    wait_until_receiving(exporter)
    settings = {"broker_url": broker_url}
    worker = start(broker_url, events=False, within=namespace)
    submit(settings, added=10, broken=0)
    _wait_for(exporter, processed=10, missed=10)
    worker.kill()
    start(broker_url, events=False, within=namespace)
    submit(settings, added=second, broken=0)
    _wait_for(exporter, processed=10 + second, missed=10 + second)
    assert not _is_shared(exporter)
    exporter.kill()


# On RabbitMQ, Celery 5.7 does not let the second one start: its control queue is exclusive.
@pytest.mark.parametrize("contained", [True, False], ids=["pid-1", "pids"])
def test_two_workers_of_one_name(
    valkey: Valkey,
    start_exporter: StartExporter,
    start: Start,
    request: pytest.FixtureRequest,
    contained: bool,
) -> None:
    """Their work is counted once, nothing is missed, they are asked a few times, and the log names them once."""
    within = request.getfixturevalue("namespace") if contained else ()
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    with PidboxNode(valkey.url) as node:
        node.commands.clear()
        workers = [start(valkey.url, events=False, within=within) for _ in range(2)]
        wait_for(lambda: _is_shared(exporter), timeout=10, what="a shared name")
        wait_for(
            lambda: all("Events of group {task} enabled by remote." in worker.output for worker in workers),
            timeout=10,
            what="two workers that send task events",
        )
        wait_for(
            lambda: exporter.value("celery_worker_task_events_enabled", worker=NODE) == 1,
            timeout=10,
            what="task events",
        )
        for number in (7, 6, 20):
            submit({"broker_url": valkey.url}, added=number, broken=0)
        _wait_for(exporter, processed=33, missed=0)
        beats = exporter.total("celery_exporter_events_total", event="worker-heartbeat")
        wait_for(
            lambda: exporter.total("celery_exporter_events_total", event="worker-heartbeat") >= beats + 10,
            timeout=15,
            what="heartbeats in turn",
        )
        assert _counts(exporter) == (33, 0)
        assert exporter.total("celery_task_succeeded_total") == 33
        asked = {
            command: node.commands.count(command) for command in ("enable_events", "stats", "active_queues")
        }
        assert asked["enable_events"] <= 10
        assert max(asked["stats"], asked["active_queues"]) <= 4
    assert exporter.stderr.count("several workers share one name") == 1
    found = examine(valkey.url, until=shows("workers", "warning"))
    found.says("workers", "warning", "same name", NODE)
    exporter.kill()


def test_one_of_two_stops(valkey: Valkey, start_exporter: StartExporter, start: Start) -> None:
    """The name is that of one worker again with the next heartbeats after the worker-offline of the other."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    workers = [start(valkey.url) for _ in range(2)]
    for worker in reversed(workers):
        wait_for(lambda: _is_shared(exporter), timeout=15, what="a shared name")
        worker.stop()
        wait_for(
            lambda: (
                exporter.value("celery_worker_name_shared", worker=NODE) == 0
                and exporter.value("celery_worker_up", worker=NODE) == 1
            ),
            timeout=75,  # an answer of the one that stops may come after its worker-offline: it counts for a minute
            what="a name of one worker",
        )
        start(valkey.url)
    exporter.kill()


def test_idle_workers_that_only_answer(valkey: Valkey, start_exporter: StartExporter) -> None:
    """Two answers to one command under one name are those of two workers, before either sends an event."""
    with PidboxNode(valkey.url, name=NODE), PidboxNode(valkey.url, name=NODE):
        exporter = start_exporter("--broker-url", valkey.url)
        wait_for(lambda: _is_shared(exporter), timeout=15, what="a shared name")
        exporter.kill()
