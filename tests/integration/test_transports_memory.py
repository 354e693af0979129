"""memory:// works within one process only: the exporter is started in this one, beside a worker in a thread."""

import logging
import os
from collections.abc import Iterator

import pytest
from celery import _state
from celery.contrib.testing.worker import start_worker as start_worker_thread

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.config.config import Config, ListenAddress
from tests.integration.known_counts import expected, submit, task_counts
from tests.integration.known_tasks import application
from tests.integration.servers import HOST
from tests.serving import fetch
from tests.waiting import wait_for


@pytest.fixture
def restored_process() -> Iterator[None]:
    """Undo what Celery's embedded worker does to its process: the current application, logging, the environment."""
    root = logging.getLogger()
    logs = (root.level, root.handlers[:])
    apps = (_state.default_app, _state._tls.current_app)
    environ = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environ)
    _state.default_app, _state._tls.current_app = (
        apps  # celery/_state.py has no way back from set_current_app
    )
    root.level, root.handlers[:] = logs


def test_memory(restored_process: None) -> None:
    """The known tasks of an embedded worker are counted."""
    options = {"polling_interval": 0.1}
    settings = {"broker_url": "memory://", "broker_transport_options": options}
    config = Config(broker_url="memory://", transport_options=options, listen=(ListenAddress(HOST, 0),))
    exporter = Exporter(config)
    exporter.start()
    try:
        (url,) = exporter.urls
        wait_for(lambda: fetch(url, "/-/ready").status == 200, timeout=10, what="a subscription")
        with start_worker_thread(
            application(settings), perform_ping_check=False, without_heartbeat=False, task_events=True
        ):
            submit(settings)
            wait_for(
                lambda: task_counts(fetch(url, "/metrics").text) == expected(),
                timeout=15,
                what=lambda: f"{expected()}; there are {task_counts(fetch(url, '/metrics').text)}",
            )
    finally:
        exporter.stop()
