"""The one place from which workers are asked anything: on a connection and in a thread of its own.

Owns: the loop that asks, collects answers and gets over whatever the broker does. Must not know: events, metrics.

Source of the facts: ``kombu/pidbox.py``. ``celery.app.control.Inspect`` would do for a command line: it waits its
whole timeout, leaves a queue or key behind for answers that come later, and reconnects for as long as it takes.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from celery_metrics_exporter.control.answers import facts_of
from celery_metrics_exporter.control.commands import HEARTBEAT, IDLE_SECONDS, INSPECTION
from celery_metrics_exporter.control.mailbox import Mailbox, RefusedError, UnreadableError
from celery_metrics_exporter.control.post import MAX_ANSWERS
from celery_metrics_exporter.control.probing import Probes
from celery_metrics_exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.control import WorkerFacts
    from celery_metrics_exporter.control.commands import CommandSchedule
    from celery_metrics_exporter.control.post import Letter

log = logging.getLogger(__name__)

#: Seconds for which answers are looked for after a question; later ones are found at the next question.
WINDOW_SECONDS: Final = 2.0
#: First and longest pause between two looks for answers.
POLL_SECONDS: Final = (0.01, 0.25)
#: Seconds for which a stop waits for the answers to the last question.
LEAVING_SECONDS: Final = 0.3
#: First and longest pause between two tries to connect, before jitter.
BACKOFF_SECONDS: Final = (0.5, 30.0)


class RemoteControl:
    """Asks all workers, again and again, until it is told to stop. :meth:`stop` may be called by any thread.

    Attributes:
        schedule: what it carries out; requests go there.
        failures: questions that could not be asked, or whose answers could not be fetched.
        invalid_answers: answers that told nothing.
        trouble: why workers cannot be asked or cannot answer, in one line of the library's; None when they can.
    """

    def __init__(
        self,
        broker: Broker,
        schedule: CommandSchedule,
        report: Callable[[Sequence[WorkerFacts]], None],
        *,
        timeout: float = 3.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        broker: where the workers are.
        schedule: which commands are due.
        report: takes what workers answered; called by the thread of :meth:`run`, must not raise.
        timeout: seconds for which a broker that does not answer holds us up at most, at each of its answers.
        monotonic: the time, in seconds.
        """
        self._broker = broker
        self._report = report
        self._monotonic = monotonic
        self.schedule = schedule
        self._mailbox = Mailbox(broker, timeout=timeout, lifetime=4 * schedule.interval + 60)
        self._stopping = threading.Event()
        self._listening_until: float | None = None
        self._taken = 0
        self._poll = POLL_SECONDS[0]
        self._backoff = BACKOFF_SECONDS[0]
        self._last_error: type[Exception] | None = None
        self._refused = False
        self._probes = Probes(self._mailbox, broker.name)
        self.failures = 0
        self.invalid_answers = 0
        self.trouble: str | None = None

    def stop(self) -> None:
        """Let :meth:`run` return soon; also from a signal handler."""
        self._stopping.set()
        self.schedule.nudge()

    def run(self) -> None:
        """Ask until told to stop; connects anew for ever."""
        while not self._stopping.is_set():
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._fail(error)
            self.schedule.wait(IDLE_SECONDS if self._listening_until is None else self._poll)
        self._leave()

    def _work(self) -> None:
        probe = self.schedule.take_probe()
        if probe is not None:
            told, anew = probe
            self._probes.send(told, anew=anew)
        commands = self.schedule.take()
        if commands:
            self._ask(commands)
        if self._listening_until is not None:
            self._listen(self._listening_until)

    def _ask(self, commands: Sequence[str]) -> None:
        kept = self._mailbox.connected
        left = deque(commands)
        try:
            self._mailbox.connect()
            if left[0] == HEARTBEAT:
                self._mailbox.ask(left[0], answered=False)
                left.popleft()
            answered = not left or self._open()
            while left:
                if answered or left[0] not in INSPECTION:
                    self._mailbox.ask(left[0], answered=answered)
                left.popleft()
            if answered:
                self._refused = False
                self.trouble = None
        except RefusedError as error:
            self._refuse("the broker lets us ask workers nothing", error)
        except Exception as error:
            self.schedule.postpone(left, 0.0 if kept else self._next_backoff())
            if not kept:
                raise
            # Idle connections are dropped by firewalls and brokers; what is left to send goes over a new one at once.
            log.debug("the connection was dead, connecting anew", exc_info=error)
            self._mailbox.drop()
            self._listening_until = None
            return
        self._recover()

    def _open(self) -> bool:
        """Whether workers can answer us."""
        try:
            self._mailbox.open()
        except RefusedError as error:
            self._refuse("the broker lets workers give us no answers", error)
            return False
        self._taken = 0
        self._poll = POLL_SECONDS[0]
        self._listening_until = self._monotonic() + WINDOW_SECONDS
        return True

    def _listen(self, until: float) -> None:
        """Take the answers that are there; ends the time of listening when it is over."""
        letters = self._take()
        if letters is None:
            self._listening_until = None
            return
        facts = [fact for fact in map(self._read, letters) if fact is not None]
        if facts:
            self._report(facts)
        self._taken += len(letters)
        if self._taken > MAX_ANSWERS:
            self._mailbox.discard()
        elif letters:
            self._poll = POLL_SECONDS[0]
            if not self._mailbox.settled:
                return
        elif self._monotonic() < until and not self._mailbox.settled:
            self._poll = min(1.5 * self._poll, POLL_SECONDS[1])
            return
        self._listening_until = None
        self._mailbox.rest()

    def _take(self) -> list[Letter] | None:
        try:
            return self._mailbox.take()
        except RefusedError as error:
            self._refuse("the broker lets workers give us no answers", error)
        except Exception as error:  # whether there still is a broker shows at the next question
            self.failures += 1
            log.debug("the connection was lost, perhaps with answers: asking again soon", exc_info=error)
            self._mailbox.drop()
            self.schedule.request_inspection()
        return None

    def _read(self, letter: Letter) -> WorkerFacts | None:
        try:
            return facts_of(*self._mailbox.read(letter))
        except (UnreadableError, msgspec.ValidationError, RecursionError) as error:
            self.invalid_answers += 1
            log.debug("an answer that tells nothing", extra=fields(error=error))
            return None

    def _refuse(self, text: str, error: RefusedError) -> None:
        self.failures += 1
        self.trouble = _one_line(error)
        level = logging.DEBUG if self._refused else logging.WARNING
        self._refused = True
        log.log(level, text, extra=fields(broker=self._broker.name, error=error))

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self._listening_until = None
        self._mailbox.drop()
        self.trouble = text = _one_line(error)
        if self._last_error is type(error):
            log.debug("still cannot ask workers, trying again", exc_info=error)
            return
        self._last_error = type(error)
        log.warning("cannot ask workers, trying again", extra=fields(broker=self._broker.name, error=text))

    def _recover(self) -> None:
        self._backoff = BACKOFF_SECONDS[0]
        if self._last_error is not None:
            self._last_error = None
            log.info("workers can be asked again", extra=fields(broker=self._broker.name))

    def _next_backoff(self) -> float:
        pause, self._backoff = self._backoff, min(2 * self._backoff, BACKOFF_SECONDS[1])
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def _leave(self) -> None:
        deadline = self._monotonic() + LEAVING_SECONDS
        try:
            while self._listening_until is not None and self._mailbox.owed and self._monotonic() < deadline:
                self._listen(self._listening_until)
                time.sleep(POLL_SECONDS[0])
            self._mailbox.close()
        except Exception as error:  # the end of the reconnect loop
            log.debug("the broker was left in haste", exc_info=error)
            self._mailbox.drop()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
