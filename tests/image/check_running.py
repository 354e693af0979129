"""The built image at work: exporter, demo workers and client from it, beside a real broker. See check_image.py."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from celery_metrics_exporter.demo.shop import WORKERS
from tests.image.container import Container, Image
from tests.image.dockerfile import ROOT
from tests.integration.conftest import broker_url, rabbitmq, rabbitmq_vhost, valkey
from tests.integration.servers import HOST, ServerProcess, Valkey, free_port

__all__ = ["broker_url", "rabbitmq", "rabbitmq_vhost", "valkey"]

_UP_S = 60.0

Start = Callable[[dict[str, str]], Container]


@pytest.fixture
def start(image: Image, tmp_path: Path) -> Iterator[Start]:
    """Start the entry point with an environment; stopped after the test, with exit code 0."""
    with ExitStack() as stack:

        def started(env: dict[str, str]) -> Container:
            entry = image.settings["Entrypoint"]
            return stack.enter_context(Container(image, *entry, log=tmp_path / "exporter.log", env=env))

        yield started


@pytest.fixture
def shop(image: Image, broker_url: str, tmp_path: Path) -> Iterator[dict[str, ServerProcess]]:
    """The demo's workers and client, started from the image with compose.yaml's entry points; by service."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    running: dict[str, ServerProcess] = {}
    try:
        for name, service in services.items():
            if "entrypoint" in service:
                folders = tuple(folder.strip("/") for folder in service["tmpfs"])
                running[name] = ServerProcess(
                    # Compose puts an init before them. A /dev/shm has every container of Docker's.
                    image.argv(*service["entrypoint"], first=False, writable=(*folders, "dev/shm")),
                    log=tmp_path / f"{name}.log",
                    env=image.environment({"CELERY_BROKER_URL": broker_url}),
                )
                running[name].start()
        yield running
    finally:
        for process in running.values():
            process.stop()


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=10) as response:
        return str(response.read(), "utf-8")


def _listens(exporter: Container) -> None:
    exporter.process.wait_until(
        lambda: "msg=listening" in exporter.process.output.replace('"', ""),
        timeout=_UP_S,
        what="an exporter that listens",
    )


def _succeeds(port: int, worker: str, process: ServerProcess) -> None:
    """Wait until the metrics tell of a task that succeeded on this worker, which lives."""
    sample = re.compile(rf'celery_worker_tasks_total{{outcome="succeeded",worker="{worker}@.*}} [1-9]')
    process.wait_until(
        lambda: sample.search(_get(port, "/metrics")), timeout=_UP_S, what="a task that succeeded"
    )


def test_it_counts_the_work_of_a_shop(broker_url: str, start: Start, shop: dict[str, ServerProcess]) -> None:
    """Exporter, workers and client of one image, as compose.yaml runs them: metrics tell of both workers' tasks."""
    port = free_port()
    exporter = start(
        {"CELERY_BROKER_URL": broker_url, "CELERY_EXPORTER_WEB_LISTEN_ADDRESS": f"{HOST}:{port}"}
    )
    _listens(exporter)
    for name in WORKERS:
        _succeeds(port, name, shop[name])
    assert "celery_broker_up 1" in _get(port, "/metrics")
    assert _get(port, "/-/healthy")
    assert _get(port, "/-/ready")


def test_the_health_check_of_the_image(image: Image, valkey: Valkey, start: Start) -> None:
    """The command that the image declares fails while nothing listens, and succeeds even without the broker."""
    command = image.settings["Healthcheck"]["Test"][1:]
    env = {
        "CELERY_EXPORTER_BROKER_URL": valkey.url,
        "CELERY_EXPORTER_WEB_LISTEN_ADDRESS": f"{HOST}:{free_port()}",
    }
    assert image.run(*command, env=env).returncode == 1
    _listens(start(env))
    assert image.run(*command, env=env).returncode == 0
    valkey.stop()
    done = image.run(*command, env=env)
    assert done.returncode == 0, done.stderr


def test_sigterm_ends_process_1_with_code_0(valkey: Valkey, start: Start) -> None:
    """The signal reaches the exporter, which no init stands in front of."""
    exporter = start(
        {"CELERY_EXPORTER_BROKER_URL": valkey.url, "CELERY_EXPORTER_WEB_LISTEN_ADDRESS": f"{HOST}:0"}
    )
    _listens(exporter)
    status = Path(f"/proc/{exporter.pid}/status").read_text(encoding="ascii")
    assert "NSpid:\t" + f"{exporter.pid}\t1\n" in status
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert exporter.stop() == 0
    assert "Traceback" not in exporter.process.output
