"""A table of attempts to try events on."""

from typing import Any

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.inflight import Inflight
from tests.pipeline import T0, FakeTime


class Table(Inflight):
    """A table on a clock that tests turn, with events made on the way: times are seconds after T0."""

    def __init__(self, *, max_tasks: int = 100) -> None:
        self.time = FakeTime()
        self.alive = {"w", "x"}
        super().__init__(BatchClock(self.time.clock()), max_tasks=max_tasks)

    def wait(self, seconds: float) -> None:
        """Let time pass, and sweep."""
        self.time.elapsed += seconds
        self._now.read()
        self.sweep(lambda worker, _received: worker in self.alive)

    def send(self, at: float = 0.0, uuid: str = "u", **more: Any) -> Attempt | None:
        """A task-sent."""
        fields = {"name": "t", "queue": "q", "retries": 0, **more}
        return self.sent(events.TaskSent(uuid, T0 + at, "client", **fields))

    def receive(self, at: float = 1.0, uuid: str = "u", worker: str = "w", **more: Any) -> Attempt | None:
        """A task-received."""
        fields = {"name": "t", "retries": 0, **more}
        return self.received(events.TaskReceived(uuid, T0 + at, worker, **fields))

    def start(self, at: float = 2.0, uuid: str = "u", worker: str = "w") -> Attempt | None:
        """A task-started."""
        return self.started(events.TaskStarted(uuid, T0 + at, worker))

    def end(
        self, at: float = 3.0, uuid: str = "u", worker: str = "w", *, final: bool = True
    ) -> Attempt | None:
        """A task-succeeded, or a task-retried unless it is final."""
        kind = events.TaskSucceeded if final else events.TaskRetried
        return self.ended(kind(uuid, T0 + at, worker), final=final)

    def give_back(
        self, at: float = 3.0, uuid: str = "u", worker: str = "w", *, final: bool = False
    ) -> Attempt | None:
        """A task-rejected."""
        return self.returned(events.TaskRejected(uuid, T0 + at, worker), final=final)

    def chain(self, uuid: str = "u") -> list[Attempt]:
        """The attempts of a task, newest first."""
        return list(self._heads[uuid].chain())
