"""A cluster of Celery in simulated time: its clients, queues and workers feed the exporter's own pipeline.

Owns what happens: publications, deliveries, starts, outcomes, heartbeats, answers of workers, samples of the broker.
The same seed gives the same events. Nothing of the metrics is known here: the pipeline makes them.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from celery_metrics_exporter.facts import QueueFacts
from tests.grafana.viewer.actors import Message, Task, Worker
from tests.pipeline import Bench, received, sent, task, worker_event

HEARTBEAT_S: Final = 2.0
#: Four times as long as the exporter's, which no scrape sees.
SWEEP_S: Final = 1.0
#: The exporter's defaults.
SAMPLE_S: Final = 5.0
INSPECT_S: Final = 30.0
#: Messages that a worker holds for each slot of its pool.
PREFETCH: Final = 4
RETRY_S: Final = 10.0


class Cluster:
    """Clients, one broker and workers, watched by the pipeline of ``bench``; ``start`` is its time zero."""

    def __init__(
        self,
        bench: Bench,
        tasks: Iterable[Task],
        workers: Sequence[Worker],
        *,
        broker: Literal["redis", "rabbitmq"],
        seed: int,
    ) -> None:
        self.bench = bench
        self.tasks = {each.name: each for each in tasks}
        self._workers = {worker.name: worker for worker in workers}
        self._broker = broker
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._queues: dict[str, deque[Message]] = {each.queue: deque() for each in self.tasks.values()}
        for worker in workers:
            self._queues.update({queue: deque() for queue in worker.queues if queue not in self._queues})
        for name in self.tasks:
            self._after(self._random.random(), self._publish_next, name)
        for worker in workers:
            self.start(worker.name)
        self.at(0.0, self._sample)
        self.at(0.0, self._sweep)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.bench.time.elapsed

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Let something happen ``when`` seconds after the start."""
        heapq.heappush(self._due, (when, next(self._numbers), lambda: action(*arguments)))

    def run(self, until: float) -> None:
        """Let time pass until ``until`` seconds after the start, with all that happens meanwhile."""
        while self._due and self._due[0][0] <= until:
            when, _, action = heapq.heappop(self._due)
            self._pass(when)
            action()
        self._pass(until)

    def change(self, name: str, **settings: float | str) -> None:
        """Let a task behave differently from now on."""
        self.tasks[name] = replace(self.tasks[name], **settings)  # type: ignore[arg-type]  # checked by mypy's callers

    def start(self, name: str) -> None:
        """Start a worker."""
        worker = self._workers[name]
        worker.up = True
        self._tell(worker_event("online", worker=name, sw_ver=worker.version))
        self._heartbeat(worker)
        self._answer(worker)

    def stop(self, name: str) -> None:
        """Shut a worker down; it gives back what it has not started."""
        worker = self._workers[name]
        for message in reversed(worker.reserved):
            self._queues[message.task.queue].appendleft(message)
        self._halt(worker)
        self._tell(worker_event("offline", worker=name))

    def lose(self, name: str) -> None:
        """Let a worker disappear, as with its machine; its messages go back to their queues."""
        worker = self._workers[name]
        for message in (*worker.reserved, *sorted(worker.running, key=lambda each: each.uuid)):
            self._queues[message.task.queue].appendleft(message)
        self._halt(worker)

    @staticmethod
    def _halt(worker: Worker) -> None:
        worker.up = False
        worker.reserved.clear()
        worker.running.clear()

    def _after(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + seconds, action, *arguments)

    def _pass(self, when: float) -> None:
        self.bench.time.elapsed = max(when, self.now)

    def _sweep(self) -> None:
        """Let the exporter do what it does regularly."""
        self.bench.wait(0.0)
        self._after(SWEEP_S, self._sweep)

    def _tell(self, event: dict[str, Any]) -> None:
        """Send an event, which was on its way for some milliseconds."""
        lag = min(self._random.expovariate(1 / 0.004), 0.2)
        self.bench.feed({**event, "timestamp": self.bench.time.start + self.now - lag})

    def _publish_next(self, name: str) -> None:
        each = self.tasks[name]
        self._publish(Message(f"{next(self._numbers):032x}", each, 0))
        self._after(self._random.expovariate(each.per_second), self._publish_next, name)

    def _publish(self, message: Message) -> None:
        self._tell(
            sent(message.uuid, name=message.task.name, queue=message.task.queue, retries=message.retries)
        )
        self._queues[message.task.queue].append(message)
        self._deliver(message.task.queue)

    def _deliver(self, queue: str) -> None:
        """Give the queue's messages to its workers, the idlest first."""
        waiting = self._queues[queue]
        while waiting:
            takers = [
                worker
                for worker in self._workers.values()
                if worker.up and queue in worker.queues and self._room(worker)
            ]
            if not takers:
                return
            taker = min(takers, key=lambda worker: len(worker.reserved) + len(worker.running))
            message = waiting.popleft()
            self._tell(
                received(message.uuid, name=message.task.name, worker=taker.name, retries=message.retries)
            )
            taker.reserved.append(message)
            self._start_next(taker)

    @staticmethod
    def _room(worker: Worker) -> int:
        return worker.pool * PREFETCH - len(worker.reserved) - len(worker.running)

    def _start_next(self, worker: Worker) -> None:
        if worker.reserved and len(worker.running) < worker.pool:
            message = worker.reserved.popleft()
            worker.running.add(message)
            worker.processed += 1
            self._tell(task("started", message.uuid, worker=worker.name))
            mean = self.tasks[message.task.name].runtime
            runtime = mean * min(self._random.lognormvariate(-0.2, 0.6), 8.0)
            self._after(runtime, self._end, worker, message, runtime)

    def _end(self, worker: Worker, message: Message, runtime: float) -> None:
        if message not in worker.running:
            return  # the worker was lost meanwhile
        worker.running.remove(message)
        each, chance = self.tasks[message.task.name], self._random.random()
        failure: dict[str, Any] = {"exception": f"{each.exception}('no answer')", "traceback": ""}
        if chance < each.fails:
            self._tell(task("failed", message.uuid, worker=worker.name, **failure))
        elif chance < each.fails + each.retries:
            self._tell(task("retried", message.uuid, worker=worker.name, **failure))
            self._after(RETRY_S, self._publish, replace(message, retries=message.retries + 1))
        else:
            self._tell(task("succeeded", message.uuid, worker=worker.name, runtime=runtime, result="None"))
        for queue in worker.queues:
            self._deliver(queue)
        self._start_next(worker)

    def _heartbeat(self, worker: Worker) -> None:
        if worker.up:
            busy = len(worker.running)
            load = [round(0.2 + 0.5 * busy + self._random.random() / 5, 2)] * 3
            self._tell(
                worker_event(
                    "heartbeat",
                    worker=worker.name,
                    active=busy,
                    processed=worker.processed,
                    loadavg=load,
                    sw_ver=worker.version,
                )
            )
            self._after(HEARTBEAT_S, self._heartbeat, worker)

    def _answer(self, worker: Worker) -> None:
        """Answer to remote control, as the exporter asks regularly."""
        if worker.up:
            self.bench.answer(
                worker.name,
                pool_size=worker.pool,
                prefetch_limit=worker.pool * PREFETCH,
                queues=worker.queues,
                events_enabled=True,
                events_were_on=True,
            )
            self._after(INSPECT_S, self._answer, worker)

    def _sample(self) -> None:
        held = {worker.name: (*worker.reserved, *worker.running) for worker in self._workers.values()}
        unacked = [message for messages in held.values() for message in messages]
        amqp = self._broker == "rabbitmq"
        facts: dict[str, Any] = {
            queue: QueueFacts(
                exists=True,
                ready=len(waiting),
                unacked=sum(message.task.queue == queue for message in unacked) if amqp else None,
                consumers=sum(worker.up and queue in worker.queues for worker in self._workers.values())
                if amqp
                else None,
                heads=(waiting[0].uuid,) if waiting else (),
                by_priority={} if amqp else {0: len(waiting)},
            )
            for queue, waiting in self._queues.items()
        }
        if amqp:
            self.bench.sample(delayed=0, **facts)
        else:
            oldest = self.bench.time.start + self.now - 3.0 if unacked else None
            self.bench.sample(unacked=len(unacked), oldest_unacked=oldest, **facts)
        self._after(SAMPLE_S, self._sample)
