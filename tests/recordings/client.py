"""The publishing process of a recording: answers calls, one JSON object a line, on stdin and stdout.

Runs inside the environment of the recorded Celery version. ``{"call": name, ...arguments}`` is answered with
``{"answer": value}``; an error ends the process with a traceback on stderr.
"""

import json
import sys
from typing import Any

from celery import Celery, chord, group
from celery.app.utils import find_app


class Calls:
    """What can be called."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._add = app.tasks["recorded.add"]
        self._total = app.tasks["recorded.total"]

    def send(self, task: str, args: list[Any], options: dict[str, Any], times: int) -> list[str]:
        """Publish one task ``times`` times, also one that no worker knows; return the ids."""
        if task in self._app.tasks:
            return [self._app.tasks[task].apply_async(args, **options).id for _ in range(times)]
        return [self._app.send_task(task, args, **options).id for _ in range(times)]

    def send_group(self, numbers: list[int], queue: str) -> list[str]:
        """Publish a group of ``recorded.add``; return the ids of its members."""
        members = group(self._add.si(number, number).set(queue=queue) for number in numbers)
        return [member.id for member in members().children]

    def send_chord(self, numbers: list[int], queue: str, body_queue: str) -> str:
        """Publish a chord of ``recorded.add`` with the body ``recorded.total``; return the body's id."""
        header = [self._add.si(number, number).set(queue=queue) for number in numbers]
        return str(chord(header)(self._total.s().set(queue=body_queue)).id)

    def revoke(self, task_id: str, worker: str, options: dict[str, Any]) -> bool:
        """Revoke a task on one worker; tell whether that worker confirmed it."""
        return bool(
            self._app.control.revoke(task_id, destination=[worker], reply=True, timeout=5, limit=1, **options)
        )

    def ping(self, workers: list[str]) -> bool:
        """Tell whether all these workers answer remote control."""
        replies = self._app.control.ping(destination=workers, timeout=5, limit=len(workers))
        return len(replies) == len(workers)

    def wait_result(self, task_id: str) -> bool:
        """Wait until a task's result is stored."""
        return bool(self._app.AsyncResult(task_id).get(timeout=60))


def main() -> None:
    """Answer calls until stdin ends."""
    calls = Calls(find_app("workload"))
    for line in sys.stdin:
        arguments = json.loads(line)
        answer = getattr(calls, arguments.pop("call"))(**arguments)
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
