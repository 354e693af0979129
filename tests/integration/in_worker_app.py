"""An application whose workers report for themselves.

Its settings are the JSON object in the environment variable ``IN_WORKER_APP``, ``install``'s those under ``install``;
``broken`` names a method of the task collector, or of the feed, that raises.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, NoReturn

from celery import Celery
from celery.exceptions import Ignore

from celery_metrics_exporter.collectors import TaskCollector
from celery_metrics_exporter.in_worker import install
from celery_metrics_exporter.in_worker.feed import Feed
from tests.waiting import wait_for

APP = "tests.integration.in_worker_app"
VARIABLE = "IN_WORKER_APP"
#: Longer than any test: a server that starts anew may take its time on a busy machine.
_PATIENCE_S = 300.0


def environment(broker_url: str, **settings: Any) -> dict[str, str]:
    """What a process needs to import the application with these settings."""
    return {VARIABLE: json.dumps({"broker_url": broker_url, **settings})}


def application(settings: dict[str, Any]) -> Celery:
    """The application; ``install`` was called for it."""
    made = Celery("in_worker", set_as_current=False)
    arguments = settings.pop("install", {})
    broken = settings.pop("broken", None)
    made.conf.update(
        {"task_ignore_result": True, "broker_connection_retry_on_startup": True, "worker_pool_restarts": True}
    )
    made.conf.update(settings)
    install(made, **arguments)
    if broken is not None:
        setattr(Feed if broken == "add" else TaskCollector, broken, _raise)

    for name, function, options in (
        ("add", add, {}),
        ("fail", fail, {}),
        ("again", again, {"bind": True, "max_retries": 5}),
        ("ignored", ignored, {}),
        ("silent", silent, {"send_events": False}),
        ("hold", hold, {}),
        ("busy", busy, {}),
    ):
        made.task(name=name, shared=False, **options)(function)
    return made


def add(left: int, right: int) -> int:
    """Succeed."""
    return left + right


def fail() -> NoReturn:
    """Fail."""
    raise ValueError("fails on purpose")


def again(self: Any) -> None:
    """Retry twice, then succeed."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)


def ignored() -> NoReturn:
    """End without an event."""
    raise Ignore


def silent() -> None:
    """Send no events."""


def hold(path: str) -> None:
    """Run until a file is there; say with another one that it runs."""
    Path(f"{path}.runs").touch()
    wait_for(Path(path).exists, timeout=_PATIENCE_S, what="the test's release")


def busy(seconds: float) -> None:
    """Need the CPU, and let nothing else run in a worker with greenlets."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _raise(*_: object) -> NoReturn:
    raise RuntimeError("a bug")


app = application(json.loads(os.environ.get(VARIABLE, "{}")))
