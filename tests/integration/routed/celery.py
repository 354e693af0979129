"""The application: a subclass, as projects write them to change what all tasks have."""

import json
import os
from typing import Any

from celery import Celery


class Project(Celery):
    """Names its tasks after their functions alone."""

    def gen_task_name(self, name: str, module: str) -> str:
        """Without the module."""
        return f"shop.{name}"


class ByCustomer:
    """A router that looks at the arguments of a task."""

    def route_for_task(
        self, task: str, args: Any = None, kwargs: Any = None, **_: Any
    ) -> dict[str, str] | None:
        """Large customers have a queue of their own."""
        if task == "shop.bill":
            return {"queue": "large" if args and args[0] > 1000 else "small"}
        return None


app = Project("routed", set_as_current=False, include=["tests.integration.routed.tasks"])
app.conf.update(
    broker_url=os.environ["PROJECT_BROKER"],
    task_ignore_result=True,
    task_routes=("tests.integration.routed.celery.ByCustomer", {"shop.mail*": {"queue": "mail"}}),
    **json.loads(os.environ.get("PROJECT_SETTINGS", "{}")),
)
