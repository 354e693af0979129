"""The lifecycles of tasks: the events of each, their fields, and how often each comes.

Source of the facts: the recordings under ``tests/recordings``; fields and their order are those of Celery 5.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from benchmarks.stream import TRACEBACK, Event

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

#: How long before its time a task with an eta is published.
ETA_SECONDS: Final = 20.0
_EXCEPTIONS: Final = tuple(
    f"{name}Error" for name in ("Value", "Key", "Connection", "Lookup", "Bank", "Stock")
)


class Task:
    """One task: who it is, where it goes, and the workers that may run it."""

    __slots__ = ("name", "number", "queue", "uuid", "workers")

    def __init__(self, number: int, uuid: str, name: str, queue: str, worker: str, other: str) -> None:
        self.number = number
        self.uuid = uuid
        self.name = name
        self.queue = queue
        self.workers = (worker, other)


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """One event of a task.

    Attributes:
        kind: its type.
        after: seconds after the publication.
        worker: which of the task's workers sends it.
        retries: of its publication.
        eta: whether that asks for a later start.
        runtime: of a success, in seconds.
    """

    kind: str
    after: float
    worker: int = 0
    retries: int = 0
    eta: bool = False
    runtime: float = 0.0

    def fields(self, task: Task, timestamp: float) -> Event:
        """The fields of the event; all of them where no worker sends it."""
        if self.kind == "task-sent":
            return self._sent(task, timestamp)
        fields: Event = {"uuid": task.uuid}
        if self.kind == "task-received":
            fields |= self._publication(task, timestamp)
        elif self.kind == "task-succeeded":
            fields |= {"result": "{'ok': True}", "runtime": self.runtime}
        elif self.kind in {"task-failed", "task-retried"}:
            name = _EXCEPTIONS[task.number % len(_EXCEPTIONS)]
            last = f"A-{task.number}"
            fields |= {"exception": f"{name}('{last}')", "traceback": f"{TRACEBACK}{name}: {last}\n"}
        elif self.kind == "task-revoked":
            fields |= {"terminated": False, "signum": None, "expired": True}
        elif self.kind == "task-rejected":
            fields["requeue"] = True
        return fields

    def _publication(self, task: Task, timestamp: float) -> Event:
        eta = (
            datetime.fromtimestamp(timestamp - self.after + ETA_SECONDS, UTC).isoformat()
            if self.eta
            else None
        )
        return {
            "name": task.name,
            "args": f"('A-{task.number}', {task.number % 7})",
            "kwargs": "{'notify': True}",
            "root_id": task.uuid,
            "parent_id": task.uuid if self.retries else None,
            "retries": self.retries,
            "eta": eta,
            "expires": None,
        }

    def _sent(self, task: Task, timestamp: float) -> Event:
        head: Event = {"hostname": f"gen4000@web-{task.number % 4}", "utcoffset": -2.0, "pid": 4000}
        return {
            **head,
            "clock": task.number + 1,
            "uuid": task.uuid,
            **self._publication(task, timestamp),
            "queue": task.queue,
            "exchange": "",
            "routing_key": task.queue,
            "timestamp": timestamp,
            "type": "task-sent",
        }


def _succeeds(chance: random.Random) -> list[PlannedEvent]:
    run = chance.uniform(0.01, 0.3)
    return [
        PlannedEvent("task-sent", 0.0),
        PlannedEvent("task-received", 0.02),
        PlannedEvent("task-started", 0.05),
        PlannedEvent("task-succeeded", 0.05 + run, runtime=run),
    ]


def _fails(chance: random.Random) -> list[PlannedEvent]:
    return [*_succeeds(chance)[:3], PlannedEvent("task-failed", 0.3)]


def _is_retried(chance: random.Random) -> list[PlannedEvent]:
    run = chance.uniform(0.01, 0.3)
    return [
        *_succeeds(chance)[:3],
        PlannedEvent("task-sent", 0.29, retries=1),
        PlannedEvent("task-retried", 0.3),
        PlannedEvent("task-received", 1.0, 1, retries=1),
        PlannedEvent("task-started", 1.1, 1),
        PlannedEvent("task-succeeded", 1.1 + run, 1, runtime=run),
    ]


def _never_ends(chance: random.Random) -> list[PlannedEvent]:
    return _succeeds(chance)[:3]


def _is_never_fetched(chance: random.Random) -> list[PlannedEvent]:
    """No worker ever fetches it."""
    return _succeeds(chance)[:1]


def _waits_for_its_time(_: random.Random) -> list[PlannedEvent]:
    return [
        PlannedEvent("task-sent", 0.0, eta=True),
        PlannedEvent("task-received", 0.02, eta=True),
        PlannedEvent("task-started", ETA_SECONDS + 0.1),
        PlannedEvent("task-succeeded", ETA_SECONDS + 0.2, runtime=0.1),
    ]


def _is_delivered_again(chance: random.Random) -> list[PlannedEvent]:
    """Its first worker loses its connection, as the visibility timeout does to a slow one."""
    return [
        *_succeeds(chance)[:3],
        PlannedEvent("task-received", 5.0, 1),
        PlannedEvent("task-started", 5.1, 1),
        PlannedEvent("task-succeeded", 5.2, 1, runtime=0.1),
    ]


def _overtakes_its_publication(chance: random.Random) -> list[PlannedEvent]:
    return [*_succeeds(chance)[1:], PlannedEvent("task-sent", 0.6)]


def _expires(chance: random.Random) -> list[PlannedEvent]:
    return [*_succeeds(chance)[:1], PlannedEvent("task-revoked", 1.0)]


def _is_rejected(chance: random.Random) -> list[PlannedEvent]:
    return [*_succeeds(chance)[:3], PlannedEvent("task-rejected", 0.2), *_is_delivered_again(chance)[3:]]


_LIFECYCLES: Final[tuple[tuple[Callable[[random.Random], list[PlannedEvent]], float], ...]] = (
    (_succeeds, 0.70),
    (_fails, 0.06),
    (_is_retried, 0.05),
    (_never_ends, 0.08),
    (_is_never_fetched, 0.02),
    (_waits_for_its_time, 0.03),
    (_is_delivered_again, 0.02),
    (_overtakes_its_publication, 0.02),
    (_expires, 0.01),
    (_is_rejected, 0.01),
)
LIFECYCLES: Final = tuple(lifecycle for lifecycle, _ in _LIFECYCLES)
#: How often each of them comes.
WEIGHTS: Final = tuple(weight for _, weight in _LIFECYCLES)
