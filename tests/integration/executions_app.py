"""A Celery application whose tasks run until a test releases them, each on each worker by itself.

Settings are the JSON object in the environment variable ``EXECUTIONS``. Marks, files in the directory ``marks`` of it,
are how a task and a test wait for each other: ``<worker>.runs`` and ``<worker>.<outcome>``.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery, Task
from kombu.common import Broadcast

from tests.waiting import wait_for

APP = "tests.integration.executions_app"
VARIABLE = "EXECUTIONS"

_PATIENCE_S = 60.0


def hold(self: Task, marks: str) -> None:
    """Say that it runs on this worker, and end as the test says."""
    worker = Path(marks) / self.request.hostname.partition("@")[0]
    worker.with_suffix(".runs").touch()
    succeed, fail = worker.with_suffix(".succeed"), worker.with_suffix(".fail")
    wait_for(lambda: succeed.exists() or fail.exists(), timeout=_PATIENCE_S, what="the test's release")
    if fail.exists():
        raise ValueError("fails on purpose")


def retry(self: Task) -> None:
    """Retry once."""
    if not self.request.retries:
        raise self.retry(countdown=0, exc=OSError("once"))


def application(settings: Mapping[str, Any]) -> Celery:
    """Make the application with these Celery settings; task-sent events are on."""
    made = Celery("executions", set_as_current=False)
    broadcast = settings.get("broadcast")
    made.conf.update(
        task_send_sent_event=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        **{key: value for key, value in settings.items() if key != "broadcast"},
    )
    if broadcast:
        made.conf.task_queues = (Broadcast(broadcast),)
    made.task(name="executions.hold", bind=True, acks_late=True, shared=False)(hold)
    made.task(name="executions.retry", bind=True, shared=False)(retry)
    return made


app = application(json.loads(os.environ.get(VARIABLE, "{}")))
