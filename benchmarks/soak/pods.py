"""A cluster as its events show it: workers that come and go under new names, and tasks of every lifecycle.

Source of the facts: ``celery/events/dispatcher.py`` (lists of up to 24 events under ``task.multi``),
``celery/worker/heartbeat.py``, ``celery/worker/request.py``, ``celery/app/amqp.py`` (task-sent).
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.soak.lifecycles import LIFECYCLES, WEIGHTS, PlannedEvent, Task
from benchmarks.stream import HEARTBEAT_SECONDS, Event, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS: Final = 200
QUEUES: Final = tuple(f"queue-{number}" for number in range(8))
#: These appear and vanish, a few at a time; some tasks go to them.
PASSING_QUEUES: Final = tuple(f"tenant-{number}" for number in range(12))
PASSING_AT_ONCE: Final = 4
PASSING_SECONDS: Final = 20.0
TASKS_OF_TENANTS: Final = 5
#: Share of the workers that send worker-offline; the others vanish in the middle of their work.
GRACEFUL: Final = 0.5
_LIST: Final = 24
_SEED: Final = 20261123


def passing_queues(at: float) -> tuple[str, ...]:
    """The passing queues that are there at a moment, in seconds after the start."""
    first = int(at / PASSING_SECONDS)
    return tuple(
        PASSING_QUEUES[number % len(PASSING_QUEUES)] for number in range(first, first + PASSING_AT_ONCE)
    )


@dataclass(eq=False, slots=True)
class Pod:
    """A worker from its birth to its death, in seconds after the start."""

    name: str
    pid: int
    until: float
    graceful: bool
    next_beat: float
    processed: int = 0
    clock: int = 0
    buffer: list[Event] = field(default_factory=list)

    def event(self, kind: str, at: float, fields: Event) -> Event:
        """Make an event as ``EventDispatcher.publish`` does."""
        self.clock += 1
        head: Event = {"hostname": self.name, "utcoffset": -2.0, "pid": self.pid, "clock": self.clock}
        return {**head, **fields, "timestamp": at, "type": kind}


class Cluster:
    """Yields the events of a cluster, slice by slice.

    Attributes:
        pods: that live now, by name.
        names: of workers so far.
        events: number of events so far, by type.
        start: epoch seconds of the first moment; moved after a pause.
    """

    def __init__(self, *, rate: float, pods: int, life: float) -> None:
        """Args:
        rate: events a second, task events and heartbeats together.
        pods: that live at any time.
        life: seconds that a worker lives, on average.
        """
        self.pods: dict[str, Pod] = {}
        self.names = 0
        self.events: Counter[str] = Counter()
        self.start = 0.0
        self._rate = rate
        self._count = pods
        self._life = life
        self._chance = random.Random(_SEED)  # noqa: S311 - a workload is no cryptography
        self._planned = 0.0
        self._tasks = 0
        self._order = 0
        self._due: list[tuple[float, int, PlannedEvent, Task]] = []

    def until(self, at: float) -> Iterator[tuple[Message, int]]:
        """Advance to a moment; yields the messages up to it, with the number of events in each."""
        yield from self._deaths(at)
        yield from self._births(at)
        self._plan(at)
        yield from self._due_events(at)
        yield from self._heartbeats(at)

    def _deaths(self, at: float) -> Iterator[tuple[Message, int]]:
        for pod in [pod for pod in self.pods.values() if pod.until <= at]:
            del self.pods[pod.name]
            if pod.graceful:
                yield self._single(pod, "worker-offline", at, self._heartbeat_fields(pod))

    def _births(self, at: float) -> Iterator[tuple[Message, int]]:
        chance, first = self._chance, not self.names
        while len(self.pods) < self._count:
            # The first ones are of any age, so that deaths are spread evenly from the beginning.
            life = self._life * (chance.uniform(0.0, 1.0) if first else chance.uniform(0.8, 1.2))
            name = f"celery@shop-{chance.getrandbits(40):010x}-{self.names:05}"
            graceful = chance.random() < GRACEFUL
            beat = at + chance.uniform(0.0, HEARTBEAT_SECONDS)
            pod = self.pods[name] = Pod(name, 1 + chance.getrandbits(15), at + life, graceful, beat)
            self.names += 1
            yield self._single(pod, "worker-online", at, self._heartbeat_fields(pod))

    def _heartbeats(self, at: float) -> Iterator[tuple[Message, int]]:
        for pod in self.pods.values():
            if pod.next_beat <= at:
                pod.next_beat += HEARTBEAT_SECONDS
                self._planned += 1
                yield self._single(pod, "worker-heartbeat", at, self._heartbeat_fields(pod))

    def _plan(self, at: float) -> None:
        """Publish as many tasks as the rate leaves room for; all their events are planned here."""
        chance, live = self._chance, list(self.pods.values())
        passing = passing_queues(at)
        while self._planned < self._rate * at:
            number = chance.randrange(TASKS)
            tenant = number < TASKS_OF_TENANTS
            queue = chance.choice(passing) if tenant else QUEUES[number % len(QUEUES)]
            identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            pod, other = chance.choice(live), chance.choice(live)
            lifecycle = chance.choices(LIFECYCLES, WEIGHTS)[0]
            task = Task(self._tasks, identity, f"shop.tasks.step_{number:03}", queue, pod.name, other.name)
            self._tasks += 1
            for event in lifecycle(chance):
                self._order += 1
                heappush(self._due, (at + event.after, self._order, event, task))
                self._planned += 1

    def _due_events(self, at: float) -> Iterator[tuple[Message, int]]:
        due, full = self._due, []
        while due and due[0][0] <= at:
            moment, _, event, task = heappop(due)
            fields = event.fields(task, self.start + moment)
            if event.kind == "task-sent":
                self.events["task-sent"] += 1
                text = msgspec.json.encode(fields).decode()
                yield Message(at, "task.sent", str(fields["hostname"]), text), 1
                continue
            pod = self.pods.get(task.workers[event.worker])
            if pod is None:
                self._planned -= 1  # it died, and its tasks with it
                continue
            if event.kind == "task-started":
                pod.processed += 1
            self.events[event.kind] += 1
            pod.buffer.append(pod.event(event.kind, self.start + moment, fields))
            if len(pod.buffer) == 1:
                full.append(pod)
            if len(pod.buffer) == _LIST:
                yield self._flush(pod, at)
        for pod in full:
            if pod.buffer:
                yield self._flush(pod, at)

    def _flush(self, pod: Pod, at: float) -> tuple[Message, int]:
        held, pod.buffer = pod.buffer, []
        return Message(at, "task.multi", pod.name, msgspec.json.encode(held).decode()), len(held)

    def _single(self, pod: Pod, kind: str, at: float, fields: Event) -> tuple[Message, int]:
        self.events[kind] += 1
        event = pod.event(kind, self.start + at, fields)
        return Message(at, kind.replace("-", "."), pod.name, msgspec.json.encode(event).decode()), 1

    def _heartbeat_fields(self, pod: Pod) -> Event:
        return {
            "freq": HEARTBEAT_SECONDS,
            "active": 1,
            "processed": pod.processed,
            "loadavg": [0.92, 0.81, 0.75],
            "sw_ident": "py-celery",
            "sw_ver": "5.7.0",
            "sw_sys": "Linux",
        }
