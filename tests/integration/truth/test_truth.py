"""The truth test: real brokers, real workers, and every number of the exporter equal to what was known beforehand."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import celery
import pytest

from tests.integration.servers import CeleryWorker, ExporterProcess, ServerProcess
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.integration.truth.acts import MARKS_VARIABLE
from tests.integration.truth.comparison import Page, differences
from tests.integration.truth.truth import Sample, Truth, truth
from tests.integration.truth.workload import ALPHA, BETA, EVERYONE, GAMMA, submissions
from tests.waiting import wait_for

CELERY: tuple[int, ...] = tuple(celery.VERSION[:2])
APP = "tests.integration.truth.app"
CELERY_COMMAND = (sys.executable, "-m", "celery", "-A", APP)
# Up to 5.6 a worker with threads loses most of its events: threads append to the buffer that EventDispatcher.flush
# (celery/events/dispatcher.py) publishes and then clears.
_THREADS = ("threads", 4) if CELERY >= (5, 7) else ("solo", 1)
POOLS = {ALPHA: ("prefork", 2), BETA: _THREADS, GAMMA: ("solo", 1)}

CLIENT_S = 300.0
SETTLED_S = 150.0
QUIET_S = 15.0
BETWEEN_SCRAPES_S = 0.5
OFFLINE_S = 30.0


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh broker: a Valkey server or a virtual host of RabbitMQ."""
    fixture = {"valkey": "valkey", "rabbitmq": "rabbitmq_vhost"}[request.param]
    return str(request.getfixturevalue(fixture).url)


@pytest.mark.parametrize(
    "plugin", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["alone", "celery"]
)
def test_every_number_is_the_truth(
    broker_url: str,
    tmp_path: Path,
    start_exporter: Callable[..., ExporterProcess],
    start_worker: Callable[..., CeleryWorker],
    *,
    plugin: bool,
) -> None:
    """Every counter and histogram count, label by label, equals what the submitted tasks must have led to."""
    marks = tmp_path / "marks"
    marks.mkdir()
    env = {"CELERY_BROKER_URL": broker_url, MARKS_VARIABLE: str(marks)}
    if plugin:
        settings = {"env": {**env, "PYTHONPATH": str(REPOSITORY)}, "command": (*CELERY_COMMAND, "exporter")}
        exporter = start_exporter("--no-app-tasks", **settings)
    else:
        exporter = start_exporter("--broker-url", broker_url)
    exporter.process.wait_until(
        lambda: 'msg="receiving events"' in exporter.stderr,
        timeout=30,
        what="an exporter that receives events",
    )
    workers = {
        queue: start_worker(
            APP, hostname=queue, pool=pool, concurrency=concurrency, queues=(queue, EVERYONE), env=env
        )
        for queue, (pool, concurrency) in POOLS.items()
    }
    nodenames = {queue: worker.nodename for queue, worker in workers.items()}
    # An id that runs twice has the queue of its worker, if a worker's events come before the task-sent.
    wait_for(
        lambda: all(
            exporter.value("celery_worker_queue_info", worker=worker, queue=queue) == 1
            for queue, worker in nodenames.items()
        ),
        timeout=OFFLINE_S,
        what="the answers of all workers",
    )
    expected = truth(submissions(), nodenames, celery=CELERY)

    run_client(tmp_path, env, nodenames)
    wait_until_settled(exporter, expected)
    for worker in workers.values():
        worker.stop()
    wait_for(
        lambda: Page(exporter.text()).workers_offline == len(workers),
        timeout=OFFLINE_S,
        what="the farewell of every worker",
    )

    found = differences(Page(exporter.text()), expected)
    assert not found, f"{len(found)} numbers differ from the truth:\n" + "\n".join(found)


def run_client(
    folder: Path, env: dict[str, str], nodenames: dict[str, str], *, options: tuple[str, ...] = ()
) -> None:
    """Run the client to its end; by then every task is published."""
    client = ServerProcess(
        [
            sys.executable,
            "-m",
            "tests.integration.truth.driver",
            *(f"{queue}={nodename}" for queue, nodename in nodenames.items()),
            *options,
        ],
        log=folder / "client.log",
        env=clean_environment(env),
        cwd=REPOSITORY,
    )
    client.start()
    try:
        wait_for(
            lambda: not client.running, timeout=CLIENT_S, what=lambda: f"the client: {client.describe()}"
        )
    finally:
        client.kill()
    assert client.returncode == 0, client.describe()


def wait_until_settled(exporter: ExporterProcess, expected: Truth) -> None:
    """Wait until all numbers are the truth, or none has changed for a while; the test says which it was."""
    counted: dict[Sample, float] = {}
    scraped = changed = -math.inf

    def settled() -> bool:
        nonlocal counted, scraped, changed
        now = time.monotonic()
        if now - scraped < BETWEEN_SCRAPES_S:
            return False
        page, scraped = Page(exporter.text()), now
        if page.counted != counted:
            counted, changed = page.counted, now
        return not differences(page, expected) or now - changed > QUIET_S

    wait_for(settled, timeout=SETTLED_S, what="the numbers to settle")
