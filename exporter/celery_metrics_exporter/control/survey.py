"""One round of questions to all workers, for who wants to look once: `celery-exporter doctor`.

Owns: what all workers answered together. Must not know: events, metrics, what follows.

The questions go out as those of :class:`control.remote.RemoteControl` do, one of them in addition; there is
no thread, no second try, and nothing is asked again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from celery_metrics_exporter.control.answers import facts_of, tasks_in
from celery_metrics_exporter.control.commands import ENABLE_EVENTS, HEARTBEAT, INSPECTION, REGISTERED
from celery_metrics_exporter.control.mailbox import Mailbox, RefusedError, UnreadableError

if TYPE_CHECKING:
    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.control.post import Letter

__all__ = ("Answered", "RefusedError", "Survey")

#: Seconds without a look after which the broker may drop the queue of answers.
_LIFETIME_SECONDS: Final = 120.0


@dataclass(slots=True)
class Answered:
    """What the workers of one nodename have answered; None: nothing of that.

    Attributes:
        queues: that it consumes.
        tasks: names of those that it knows, without Celery's own.
        events_before: whether it sent task events before it was asked to.
        times: how many answers came to each command; more than one: several workers have this name.
    """

    queues: tuple[str, ...] | None = None
    tasks: frozenset[str] | None = None
    events_before: bool | None = None
    times: dict[str, int] = field(default_factory=dict)


class Survey:
    """Asks once. Whatever the broker's library raises passes through, but for :class:`RefusedError`.

    Attributes:
        workers: what was answered, by nodename.
        taken: how many took the last question, if the broker tells; 0: there is nobody.
    """

    def __init__(self, broker: Broker, *, timeout: float) -> None:
        """``timeout``: seconds that connecting and each answer of the broker may take."""
        self._mailbox = Mailbox(broker, timeout=timeout, lifetime=_LIFETIME_SECONDS)
        self.workers: dict[str, Answered] = {}
        self.taken: int | None = None

    def ask(self, *, enable_events: bool, inspect: bool) -> None:
        """Let workers show themselves, and ask what may be asked. Raises RefusedError."""
        self.taken = self._mailbox.ask(HEARTBEAT, answered=False)
        commands = ((ENABLE_EVENTS,) if enable_events else ()) + (
            (*INSPECTION, REGISTERED) if inspect else ()
        )
        if commands:
            self._mailbox.open()
        for command in commands:
            self.taken = self._mailbox.ask(command, answered=True)

    def probe(self) -> bool:
        """Send an event of our own, see :meth:`control.mailbox.Mailbox.probe`."""
        return self._mailbox.probe()

    def collect(self) -> None:
        """Take the answers that came."""
        for letter in self._mailbox.take():
            with contextlib.suppress(UnreadableError, msgspec.ValidationError, RecursionError):
                self._learn(letter)

    def close(self) -> None:
        """Leave the broker in good order, if it lets us."""
        try:
            self._mailbox.rest()
            self._mailbox.close()
        except Exception:  # noqa: BLE001 - whatever a broker's library raises; nothing depends on a farewell
            self._mailbox.drop()

    def _learn(self, letter: Letter) -> None:
        command, answer = self._mailbox.read(letter)
        facts = facts_of(command, answer)
        told = self.workers.setdefault(facts.worker, Answered())
        told.times[command] = told.times.get(command, 0) + 1
        if facts.queues is not None:
            told.queues = tuple(dict.fromkeys((*(told.queues or ()), *facts.queues)))
        if command == REGISTERED:
            told.tasks = (told.tasks or frozenset()) | tasks_in(answer)[1]
        elif command == ENABLE_EVENTS:
            told.events_before = bool(facts.events_were_on) and told.events_before is not False
