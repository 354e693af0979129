"""The event stream that every consumer gets: made from a seed, so that only its timestamps differ between two runs.

Source of the facts: ``celery/events/dispatcher.py`` (lists of up to 24 events under ``task.multi``),
``celery/worker/request.py``, ``celery/worker/heartbeat.py``, ``celery/app/amqp.py`` (task-sent); fields and their order
are those of Celery 5.7, as in ``tests/recordings``.
"""

import random
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kombu.utils.json import dumps

WORKERS: Final = tuple(f"celery@worker-{number:02}" for number in range(10))
CLIENTS: Final = tuple(f"gen{4000 + number}@web-{number}" for number in range(4))
QUEUES: Final = ("celery", "mail", "billing", "reports")
#: Names of tasks, unless a workload wants another number of them.
KINDS: Final = 20
#: Events a second by the timestamps of a stream that is published as fast as it is read.
NOMINAL_RATE: Final = 8000.0
#: Seconds between two heartbeats of a worker (``celery/worker/heartbeat.py``).
HEARTBEAT_SECONDS: Final = 2.0
FAILING: Final = 0.03
#: What a worker sends of a task, in lists.
EVENTS_OF_WORKER: Final = 3

_SEED: Final = 20260822
_EXCEPTIONS: Final = (
    "ValueError('no such order: A-1041')",
    "ConnectionError('the bank does not answer')",
    "KeyError('total')",
)
_FRAME: Final = '  File "/srv/shop/lib/python3.11/site-packages/{}", line {}, in {}\n    {}\n'
TRACEBACK: Final = "Traceback (most recent call last):\n" + "".join(
    _FRAME.format(*frame)
    for frame in (
        ("celery/app/trace.py", 564, "trace_task", "R = retval = fun(*args, **kwargs)"),
        ("celery/app/trace.py", 883, "__protected_call__", "return self.run(*args, **kwargs)"),
        ("shop/tasks.py", 68, "step", "return process(order, parts)"),
        ("shop/orders.py", 114, "process", "total = sum(part.price for part in load(order))"),
    )
)

Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the event exchange, due ``at`` seconds after the stream's start."""

    at: float
    routing_key: str
    hostname: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What happens. Every task gives a task-sent in a message of its own and three events in lists of its worker.

    Attributes:
        tasks: how many.
        list_size: events in each ``task.multi`` list; the last of each worker may be shorter.
        rate: events a second, heartbeats not included.
        sent: whether there are task-sent events (``task_send_sent_event``, off by default in Celery).
        kinds: how many names of tasks there are.
        seed: another one gives other ids.
    """

    tasks: int
    list_size: int
    rate: float
    sent: bool = True
    kinds: int = KINDS
    seed: int = _SEED

    @property
    def events_per_task(self) -> int:
        """Three of its worker, and perhaps one of its client."""
        return EVENTS_OF_WORKER + self.sent

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.tasks * self.events_per_task / self.rate


@dataclass(frozen=True, slots=True)
class Stream:
    """The messages in the order in which they are due, and how many events of each type they hold."""

    messages: tuple[Message, ...]
    events: Counter[str]


class Worker:
    """A worker and the lists that it fills."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.clock = 0
        self.starts: list[float] = []
        self.buffer: list[Event] = []

    def event(self, kind: str, at: float, fields: Event) -> Event:
        """Make an event as ``EventDispatcher.publish`` does."""
        self.clock += 1
        head: Event = {"hostname": self.name, "utcoffset": -2.0, "pid": self.pid, "clock": self.clock}
        return {**head, **fields, "timestamp": at, "type": kind}


def make_stream(workload: Workload, start: float) -> Stream:
    """Make all messages of a stream whose first moment is ``start`` (epoch seconds)."""
    chance = random.Random(workload.seed)  # noqa: S311 - a workload is no cryptography
    workers = [Worker(name, 100 + number) for number, name in enumerate(WORKERS)]
    messages = [*_task_messages(workload, start, workers, chance)]
    messages += _heartbeats(workload, start, workers)
    messages.sort(key=lambda entry: entry[0].at)
    events = Counter(str(event["type"]) for _, held in messages for event in held)
    return Stream(tuple(message for message, _ in messages), events)


def _task_messages(
    workload: Workload, start: float, workers: list[Worker], chance: random.Random
) -> Iterator[tuple[Message, list[Event]]]:
    """Yield the messages about tasks. Tasks come at random moments and end in the order of their publication."""
    at = 0.0
    for number in range(workload.tasks):
        at += chance.expovariate(workload.rate / workload.events_per_task)
        identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        sent = sent_event(number, number % workload.kinds, identity, start + at)
        if workload.sent:
            yield Message(at, "task.sent", str(sent["hostname"]), dumps(sent)), [sent]
        worker = chance.choice(workers)
        done = at + chance.uniform(0.005, 0.05)
        for event, happened in _life(worker, sent, start + at, start + done, chance):
            worker.buffer.append(event)
            if len(worker.buffer) == workload.list_size:
                yield _flush(worker, happened - start)
    for worker in workers:
        if worker.buffer:
            yield _flush(worker, at + 0.1)


def sent_event(number: int, kind: int, identity: str, at: float) -> Event:
    """The task-sent of a task; its number decides on its arguments and client, ``kind`` on name and queue."""
    queue = QUEUES[kind % len(QUEUES)]
    return {
        "hostname": CLIENTS[number % len(CLIENTS)],
        "utcoffset": -2.0,
        "pid": 4000 + number % len(CLIENTS),
        "clock": number + 1,
        "uuid": identity,
        "root_id": identity,
        "parent_id": None,
        "name": f"shop.tasks.step_{kind:02}",
        "args": f"('A-{number}', {number % 7})",
        "kwargs": "{'notify': True}",
        "retries": 0,
        "eta": None,
        "expires": None,
        "queue": queue,
        "exchange": "",
        "routing_key": queue,
        "timestamp": at,
        "type": "task-sent",
    }


def received_event(worker: Worker, sent: Event, at: float) -> Event:
    """The task-received of a task, made of its task-sent."""
    copied = ("uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires")
    return worker.event("task-received", at, {field: sent[field] for field in copied})


def _life(
    worker: Worker, sent: Event, published: float, done: float, chance: random.Random
) -> Iterator[tuple[Event, float]]:
    """Yield received, started and the outcome of a task, each with its time."""
    received = published + (done - published) * 0.2
    started = published + (done - published) * 0.3
    identity: Event = {"uuid": sent["uuid"]}
    yield received_event(worker, sent, received), received
    yield worker.event("task-started", started, identity), started
    worker.starts.append(started)
    if chance.random() < FAILING:
        exception = chance.choice(_EXCEPTIONS)
        traceback = f"{TRACEBACK}{exception.replace('(', ': ', 1).rstrip(')')}\n"
        fields: Event = {**identity, "exception": exception, "traceback": traceback}
        yield worker.event("task-failed", done, fields), done
    else:
        fields = {**identity, "result": "{'ok': True}", "runtime": done - started}
        yield worker.event("task-succeeded", done, fields), done


def _flush(worker: Worker, at: float) -> tuple[Message, list[Event]]:
    held, worker.buffer = worker.buffer, []
    return Message(at, "task.multi", worker.name, dumps(held)), held


def _heartbeats(
    workload: Workload, start: float, workers: list[Worker]
) -> Iterator[tuple[Message, list[Event]]]:
    """Yield the heartbeats, each with the number of starts up to then, as ``celery/worker/state.py`` counts them."""
    for number, worker in enumerate(workers):
        starts = sorted(worker.starts)
        at = number * HEARTBEAT_SECONDS / len(workers)
        while at < workload.seconds:
            processed = bisect_right(starts, start + at)
            fields: Event = {
                "clock": processed * EVENTS_OF_WORKER,
                "freq": HEARTBEAT_SECONDS,
                "active": 1,
                "processed": processed,
                "loadavg": [0.92, 0.81, 0.75],
                "sw_ident": "py-celery",
                "sw_ver": "5.7.0",
                "sw_sys": "Linux",
            }
            event = worker.event("worker-heartbeat", start + at, fields)
            yield Message(at, "worker.heartbeat", worker.name, dumps(event)), [event]
            at += HEARTBEAT_SECONDS
