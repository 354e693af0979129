"""A Celery application with a handful of known tasks.

A worker imports ``app``, whose settings are the JSON object in the environment variable ``KNOWN_TASKS``; a test makes
its own with :func:`application` and the same settings.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from celery import Celery

APP = "tests.integration.known_tasks"
VARIABLE = "KNOWN_TASKS"


def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


def fail() -> None:
    """Fail."""
    raise ValueError("fails on purpose")


def application(settings: Mapping[str, Any]) -> Any:
    """Make the application with these Celery settings, not made current; task-sent events are on."""
    made = Celery("known", set_as_current=False)
    made.conf.update({"task_send_sent_event": True, "task_ignore_result": True, **settings})
    made.task(name="known.add", shared=False)(add)
    made.task(name="known.fail", shared=False)(fail)
    return made


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a process needs to import the application with these settings."""
    return {VARIABLE: json.dumps(settings)}


app = application(json.loads(os.environ.get(VARIABLE, "{}")))
