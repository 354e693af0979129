"""A steady stream of events, each phase of a trial under a task name of its own."""

import itertools
import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from tests.integration.event_sender import EventSender
from tests.waiting import wait_for

RATE: Final = 20.0
QUEUE: Final = "letters"
WORKER: Final = "sender@localhost"

_IDLE_S = 30.0


class Stream:
    """Sends :data:`RATE` numbered tasks a second (sent, received) and a heartbeat with every tenth; a context manager.

    ``settings`` are Celery's. When the broker goes away it connects again; an event is sent once or not at all.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._phase: str | None = None
        self._idle = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self.sent: Counter[str] = Counter()
        self.unsure: Counter[str] = Counter()  # of which it is not known whether the broker got them

    def enter(self, phase: str) -> None:
        """Send what follows under this name."""
        self._idle.clear()
        self._phase = phase

    def pause(self) -> None:
        """Send nothing more; returns when the last event was sent."""
        self._phase = None
        self._idle.clear()
        wait_for(self._idle.is_set, timeout=_IDLE_S, what="the end of the last send")

    def __enter__(self) -> Self:
        """Start, without a phase."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(_IDLE_S)

    def _run(self) -> None:
        numbers = itertools.count()
        while not self._stop.is_set():
            try:
                with EventSender(self._settings, hostname=WORKER, patient=False) as sender:
                    while not self._stop.wait(1 / RATE):
                        self._send(sender, next(numbers))
            except Exception:  # noqa: BLE001 - whatever a library raises when the broker is away
                self._stop.wait(0.2)

    def _send(self, sender: EventSender, number: int) -> None:
        phase = self._phase
        if phase is None:
            self._idle.set()
            return
        self.unsure[phase] += 1
        if number % 10 == 0:
            sender.send("worker-heartbeat", freq=1.0, active=0, processed=0)
        uuid = f"{phase}-{number}"
        sender.send("task-sent", uuid=uuid, name=phase, queue=QUEUE)
        sender.send("task-received", uuid=uuid, name=phase)  # with which the task-sent is counted at once
        self.unsure[phase] -= 1
        self.sent[phase] += 1
