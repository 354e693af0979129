"""What we ask of workers, when each is due, and which answers are still to come.

Owns: the commands, their order, spacing and repetition, and the tickets by which an answer finds its question.

Source of the facts: ``celery/worker/control.py`` (``heartbeat``, ``enable_events``, ``stats``, ``active_queues``,
``registered``).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celery_metrics_exporter.control.probe import Probed

#: Lets workers send a heartbeat event now, which is no answer.
HEARTBEAT: Final = "heartbeat"
ENABLE_EVENTS: Final = "enable_events"
STATS: Final = "stats"
ACTIVE_QUEUES: Final = "active_queues"
#: Asked by the doctor alone, see ``doctor.questions``.
REGISTERED: Final = "registered"
INSPECTION: Final = (STATS, ACTIVE_QUEUES)
_ORDER: Final = (HEARTBEAT, ENABLE_EVENTS, *INSPECTION)
_ANSWERED: Final = frozenset({ENABLE_EVENTS, *INSPECTION, REGISTERED})

#: Seconds between two broadcasts that turn task events on.
EVENTS_SECONDS: Final = 2.0
#: Seconds from the first request to inspect to the inspection: workers that start together are asked together.
DEBOUNCE_SECONDS: Final = 1.0
#: Seconds between two requested inspections, however many workers come meanwhile.
INSPECTION_SECONDS: Final = 5.0
#: The longest pause.
IDLE_SECONDS: Final = 30.0
#: Questions with missing answers that are kept count of.
_MAX_OPEN: Final = 1_000


class CommandSchedule:
    """Says which commands are due. Requests may come from any thread; the rest is for the thread that asks.

    Who requests something knows nothing of who carries it out, which :class:`control.remote.RemoteControl` does.

    Attributes:
        interval: seconds between two questions of the regular inspection.
    """

    def __init__(
        self, monotonic: Callable[[], float], *, interval: float, enable_events: bool, inspect: bool
    ) -> None:
        """Args:
        monotonic: the time, in seconds.
        interval: seconds between two questions of the regular inspection.
        enable_events: whether workers may be asked to send task events.
        inspect: whether they may be asked about pools and queues.
        """
        self._monotonic = monotonic
        self.interval = interval
        self._enable_events = enable_events
        self._inspect = inspect
        self._lock = threading.Lock()
        self._requested = threading.Event()
        self._due: dict[str, float] = {}  # at which monotonic time, at the earliest
        self._held_until = float("-inf")
        self._next_question = monotonic() + interval
        self._question = STATS
        self._events_asked = float("-inf")
        self._inspection_asked = float("-inf")
        self._probe: tuple[Probed, bool] | None = None

    def wake(self) -> None:
        """Everything is due now, but for task events that were turned on a moment ago."""
        with self._lock:
            now = self._held_until = self._monotonic()
            self._due[HEARTBEAT] = now
            if self._enable_events:
                self._due[ENABLE_EVENTS] = max(now, self._events_asked + EVENTS_SECONDS)
            if self._inspect:
                self._due |= dict.fromkeys(INSPECTION, now)
                self._next_question = now + self.interval
        self.nudge()

    def request_events(self) -> None:
        """Turning task events on is due, as soon as it may be repeated."""
        with self._lock:
            if self._enable_events:
                due = max(self._monotonic(), self._events_asked + EVENTS_SECONDS)
                self._due.setdefault(ENABLE_EVENTS, due)
        self.nudge()

    def request_inspection(self) -> None:
        """Both questions of the inspection are due soon."""
        with self._lock:
            if self._inspect:
                due = max(self._monotonic() + DEBOUNCE_SECONDS, self._inspection_asked + INSPECTION_SECONDS)
                for question in INSPECTION:
                    self._due.setdefault(question, due)
        self.nudge()

    def request_probe(self, told: Probed, *, anew: bool) -> None:
        """An event of our own is due, and ``told`` is to be told what became of it; ``anew``: over a new connection,
        to where the next subscription would go.
        """
        self._probe = (told, anew)
        self.nudge()

    def nudge(self) -> None:
        """End a :meth:`wait` at once, whether or not something is due."""
        self._requested.set()

    def wait(self, longest: float) -> None:
        """Return after so many seconds, or once something is due or was requested meanwhile."""
        self._requested.wait(min(self.pause(), longest))
        self._requested.clear()

    def take_probe(self) -> tuple[Probed, bool] | None:
        """What was given to :meth:`request_probe`, once."""
        probe, self._probe = self._probe, None
        return probe

    def take(self) -> list[str]:
        """The commands that are due now, in their order; they are due no more."""
        with self._lock:
            now = self._monotonic()
            if now < self._held_until:
                return []
            if self._inspect and now >= self._next_question:
                self._next_question = now + self.interval
                self._due.setdefault(self._question, now)
                self._question = ACTIVE_QUEUES if self._question == STATS else STATS
            taken = [command for command in _ORDER if self._due.get(command, now + 1.0) <= now]
            for command in taken:
                del self._due[command]
            if ENABLE_EVENTS in taken:
                self._events_asked = now
            if set(INSPECTION) <= set(taken):
                self._inspection_asked = now
            return taken

    def postpone(self, commands: Iterable[str], seconds: float) -> None:
        """These could not be sent: they, and all others, are due again after some seconds, or at the next wake."""
        with self._lock:
            now = self._monotonic()
            self._held_until = now + seconds
            for command in commands:
                self._due.setdefault(command, now)

    def pause(self) -> float:
        """Seconds until something is due, if nothing is requested meanwhile."""
        with self._lock:
            dues = [*self._due.values(), *((self._next_question,) if self._inspect else ())]
            due = max(min(dues, default=float("inf")), self._held_until)
            return max(0.0, min(due - self._monotonic(), IDLE_SECONDS))


class Tickets:
    """Numbers the questions; where the broker tells who took one, knows how many answers are still to come."""

    def __init__(self) -> None:
        self._last = 0
        self._missing: dict[int, int] = {}

    @property
    def settled(self) -> bool:
        """Whether every question that was counted is answered by all who took it."""
        return not self._missing

    def issue(self, command: str) -> str:
        """A ticket for a new question."""
        self._last += 1
        return f"{self._last}.{command}"

    def expect(self, ticket: str, answers: int) -> None:
        """So many took the question."""
        if answers > 0:
            self._missing[int(ticket.partition(".")[0])] = answers
            if len(self._missing) > _MAX_OPEN:
                del self._missing[next(iter(self._missing))]

    def redeem(self, ticket: str) -> str | None:
        """The command that an answer belongs to; None if it was never asked."""
        number, _, command = ticket.partition(".")
        if command not in _ANSWERED or not number.isdecimal() or not 0 < len(number) < 20:  # noqa: PLR2004 - digits
            return None
        question = int(number)
        if not 0 < question <= self._last:
            return None
        left = self._missing.get(question, 0) - 1
        if left > 0:
            self._missing[question] = left
        elif left == 0:
            # A worker answers in the order of the questions (kombu/pidbox.py, Node.handle_message): who answered
            # this one has answered those before, and who left them open took this one no more.
            self._missing = {number: count for number, count in self._missing.items() if number > question}
        return command
