"""What the workers of known task lives hold at a moment, as they would answer it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from celery_metrics_exporter.facts import HeldTask
from tests.lives import Life, Told

#: Events that end what a worker has of a task.
ENDS = frozenset({"task-succeeded", "task-failed", "task-retried", "task-rejected", "task-revoked"})
#: By how much the start in an answer differs from the timestamp of task-started.
EARLIER_S = 0.005


@dataclass(frozen=True)
class Moment:
    """Between two events; the time is that of all senders."""

    time: float

    def is_after(self, told: Told) -> bool:
        """Whether this happened before."""
        return bool(told.event["timestamp"] < self.time)


def named_apart(made: Iterable[Life]) -> list[Life]:
    """The same lives with a name for each, so that labels tell whose a count is."""
    return [
        replace(
            life,
            attempts=tuple(
                replace(each, name=f"{life.uuid.replace('-', '')}_{each.name}") for each in life.attempts
            ),
        )
        for life in made
    ]


def held(told: Iterable[Told], worker: str, moment: Moment, command: str) -> list[HeldTask]:
    """What a worker answers to ``reserved`` or ``active`` at a moment."""
    tasks: dict[tuple[str, str], HeldTask] = {}
    for one in sorted(told, key=lambda one: float(one.event["timestamp"])):
        event = one.event
        if not moment.is_after(one):
            break
        uuid, kind = event["uuid"], event["type"]
        if kind == "task-sent":  # a replacement: what published it has ended, without an event
            for key in [key for key in tasks if key[0] == uuid and key[1] != event["name"]]:
                if tasks[key].started is not None and event["parent_id"] == uuid:
                    del tasks[key]
        elif one.sender == worker:
            name, queue = one.counts[0][1:]
            task = HeldTask(uuid, name, "", queue)
            if kind == "task-received":
                tasks[uuid, name] = task
            elif kind == "task-started":
                tasks[uuid, name] = replace(task, started=event["timestamp"] - EARLIER_S)
            elif kind in ENDS:
                tasks.pop((uuid, name), None)
    return [task for task in tasks.values() if (task.started is None) == (command == "reserved")]
