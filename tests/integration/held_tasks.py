"""A Celery application whose tasks run, each under its own name, until a test lets them end.

Settings are the JSON object in the environment variable ``HELD_TASKS``. Marks are files in a directory: a task makes
``<name>.runs``, and ends when there is ``<name>.ends`` or ``all.ends``.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery

from tests.waiting import wait_for

APP = "tests.integration.held_tasks"
RUN = "held.run"
VARIABLE = "HELD_TASKS"

_PATIENCE_S = 120.0


def run(marks: str, name: str, _more: object = None) -> None:
    """Say that it runs, and end as the test says."""
    folder = Path(marks)
    (folder / f"{name}.runs").touch()
    ends = (folder / f"{name}.ends", folder / "all.ends")
    wait_for(lambda: any(each.exists() for each in ends), timeout=_PATIENCE_S, what="the test's release")


def application(settings: Mapping[str, Any]) -> Celery:
    """Make the application with these Celery settings; task-sent events are off."""
    made = Celery("held", set_as_current=False)
    made.conf.update(task_ignore_result=True, **settings)
    made.task(name=RUN, shared=False)(run)
    return made


app = application(json.loads(os.environ.get(VARIABLE, "{}")))
