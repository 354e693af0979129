"""RemoteControl in this process, and a real pidbox node that answers it, quicker to have than a whole worker."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Self

from kombu import Connection
from kombu.pidbox import Mailbox
from kombu.pools import ProducerPool

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.control.commands import CommandSchedule
from celery_metrics_exporter.control.remote import RemoteControl
from celery_metrics_exporter.facts import WorkerFacts
from tests.waiting import wait_for

_START_S = 10.0
_STOP_S = 1.0

#: As a worker answers, as far as we read it.
ANSWERS: Mapping[str, object] = {
    "stats": {"pool": {"max-concurrency": 4, "processes": [11, 12, 13, 14]}, "prefetch_count": 16},
    "active_queues": [{"name": "celery"}, {"name": "letters"}],
    "enable_events": {"ok": "task events enabled"},
    "heartbeat": None,
}


class Answers:
    """Takes reports and merges the facts of each worker as it is now, newer ones first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, WorkerFacts] = {}
        self.count = 0

    def report(self, facts: Sequence[WorkerFacts]) -> None:
        """Take what workers answered."""
        with self._lock:
            for answer in facts:
                new = replace(answer, events_were_on=None, bindings=())
                told = {each.name: getattr(new, each.name) for each in fields(new)}
                told = {name: value for name, value in told.items() if value is not None}
                self._known[new.worker] = replace(self.of(new.worker), **told)
                self.count += 1

    def of(self, worker: str) -> WorkerFacts:
        """All that is known of a worker."""
        return self._known.get(worker, WorkerFacts(worker))

    @property
    def workers(self) -> set[str]:
        """The workers that answered."""
        return set(self._known)

    def wait(self, expected: WorkerFacts, *, timeout: float = 5.0) -> None:
        """Wait until exactly this is known of a worker."""
        wait_for(
            lambda: self.of(expected.worker) == expected,
            timeout=timeout,
            what=lambda: f"{expected}; there is {self.of(expected.worker)}",
        )


@contextmanager
def asking(
    url: str,
    *,
    wake: bool = True,
    transport_options: Mapping[str, object] | None = None,
    conf: Mapping[str, object] | None = None,
    stop_s: float = _STOP_S,
    **settings: Any,
) -> Iterator[tuple[RemoteControl, Answers]]:
    """Ask the workers of a broker in a thread; asserts at the end that it stops in time.

    ``conf`` is Celery's, ``settings`` are the schedule's, and RemoteControl's timeout.
    """
    answers = Answers()
    broker = broker_of(Config(broker_url=url, transport_options=dict(transport_options or {})))
    broker.app.conf.update(conf or {})
    timeouts = {"timeout": settings.pop("timeout")} if "timeout" in settings else {}
    schedule = CommandSchedule(
        time.monotonic, **{"interval": 30.0, "enable_events": True, "inspect": True} | settings
    )
    remote = RemoteControl(broker, schedule, answers.report, **timeouts)
    thread = threading.Thread(target=remote.run)
    thread.start()
    try:
        if wake:
            schedule.wake()
        yield remote, answers
    finally:
        remote.stop()
        thread.join(stop_s)
        late = thread.is_alive()
        thread.join()
    assert not late, f"it did not stop within {stop_s:g} s"


class PidboxNode:
    """kombu's own pidbox node, as it is in each worker, in a thread; a context manager.

    Attributes:
        commands: what it was asked, in that order.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "node@localhost",
        answers: Mapping[str, object] = ANSWERS,
        serializer: str = "json",
        transport_options: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.commands: list[str] = []
        self._url = url
        self._answers = answers
        self._serializer = serializer
        self._options = dict(transport_options or {})
        self._busy = threading.Lock()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def facts(self) -> WorkerFacts:
        """What is known of a node with the usual answers that was asked everything."""
        return WorkerFacts(self.name, 4, 16, ("celery", "letters"), events_enabled=True)

    def wait(self, *commands: str, timeout: float = 5.0) -> None:
        """Wait until it was asked exactly this since it was last cleared."""
        wait_for(
            lambda: self.commands == list(commands),
            timeout=timeout,
            what=lambda: f"{list(commands)}; there were {self.commands}",
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """It is busy meanwhile: what it is asked waits."""
        with self._busy:
            yield

    def __enter__(self) -> Self:
        """Listen to the broker."""
        self._thread.start()
        assert self._ready.wait(_START_S), "no node"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the broker."""
        self._stopping.set()
        self._thread.join()

    def _handler(self, command: str) -> Callable[..., object]:
        def handle(_state: object, **_arguments: object) -> object:
            self.commands.append(command)
            return self._answers[command]

        return handle

    def _run(self) -> None:
        # Workers answer over another connection than the one on which they are asked.
        pool = Connection(self._url, transport_options=self._options).Pool(1)
        with Connection(self._url, transport_options=self._options) as connection:
            mailbox = Mailbox(
                "celery",
                type="fanout",
                connection=connection,
                accept=["json", self._serializer],
                serializer=self._serializer,
                producer_pool=ProducerPool(pool, 1),
            )
            handlers = {command: self._handler(command) for command in self._answers}
            with connection.channel() as channel:
                node = mailbox.Node(self.name, channel=channel, handlers=handlers)
                consumer = node.listen()
                self._drain(connection)  # a Redis subscription is asked for by the first of these
                self._ready.set()
                while not self._stopping.is_set():
                    with self._busy:
                        self._drain(connection)
                consumer.cancel()
        pool.force_close_all()

    @staticmethod
    def _drain(connection: Any) -> None:
        try:
            connection.drain_events(timeout=0.05)
        except TimeoutError:
            return
