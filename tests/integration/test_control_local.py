"""Asking workers over memory and the filesystem, which kombu's virtual transports are the same for."""

from collections.abc import Callable
from pathlib import Path

from celery_metrics_exporter.facts import WorkerFacts
from tests.integration.asking import PidboxNode, asking
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import CeleryWorker

StartWorker = Callable[..., CeleryWorker]


def test_memory() -> None:
    """A worker in this process is asked and answers; without any, nothing is wrong."""
    with asking("memory://", wake=False, interval=0.2) as (remote, answers):
        with PidboxNode("memory://") as node:
            answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))
            remote.schedule.wake()
            answers.wait(node.facts)
        assert remote.failures == 0


def test_filesystem(tmp_path: Path, start_worker: StartWorker) -> None:
    """A worker in another process answers through files, of which none is left."""
    folders = {name: tmp_path / name for name in ("data", "control")}
    for folder in folders.values():
        folder.mkdir()
    options = {
        "data_folder_in": str(folders["data"]),
        "data_folder_out": str(folders["data"]),
        "control_folder": str(folders["control"]),
    }
    settings = {"broker_url": "filesystem://", "broker_transport_options": options}
    worker = start_worker(APP, pool="solo", concurrency=1, env=environment(settings), events=False)

    def files() -> list[str]:
        control = sorted(path.name for path in folders["control"].iterdir())
        return [*control, *(path.name for path in folders["data"].glob("*celery-exporter*"))]

    before = files()
    with asking("filesystem://", transport_options=options) as (remote, answers):
        answers.wait(WorkerFacts(worker.nodename, 1, 4, ("celery",), events_enabled=True), timeout=10)
        assert remote.failures == 0
    assert files() == before
    worker.kill()
