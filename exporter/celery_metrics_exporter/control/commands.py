"""The remote control commands: when each is due, and the tickets that match answers to commands.

Source of the facts: ``celery/worker/control.py`` (``heartbeat``, ``enable_events``, ``stats``, ``active_queues``,
``registered``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from celery_metrics_exporter.control import Probed

#: Makes workers send a heartbeat event now; they send no answer.
HEARTBEAT: Final = "heartbeat"
ENABLE_EVENTS: Final = "enable_events"
STATS: Final = "stats"
ACTIVE_QUEUES: Final = "active_queues"
#: Sent only by the doctor.
REGISTERED: Final = "registered"
INSPECTION: Final = (STATS, ACTIVE_QUEUES)
#: To one worker: its settings, without defaults and secrets (``celery/app/utils.py``, ``Settings.table``).
CONF: Final = "conf"
#: About the tasks of one worker; ``safe`` shortens the arguments of tasks (``celery/worker/control.py``, ``active``).
SCHEDULED: Final = "scheduled"
RESERVED: Final = "reserved"
ACTIVE: Final = "active"
ABOUT_TASKS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {CONF: {}, SCHEDULED: {}, RESERVED: {}, ACTIVE: {"safe": True}}
)
_ORDER: Final = (HEARTBEAT, ENABLE_EVENTS, *INSPECTION)

#: Shortest time between two ``enable_events``.
EVENTS_SECONDS: Final = 1.0
#: Time from the first request of an inspection to the inspection: workers that start together are asked together.
DEBOUNCE_SECONDS: Final = 1.0
#: Shortest time between two requested inspections, however many workers appear.
INSPECTION_SECONDS: Final = 5.0
#: Longest pause.
IDLE_SECONDS: Final = 30.0
#: Commands whose missing answers are counted, at most.
_MAX_OPEN: Final = 1_000


class CommandSchedule:
    """Which commands are due. Any thread may request commands; the other methods are for the thread that sends them.

    Attributes:
        interval: seconds between two commands of the regular inspection.
    """

    def __init__(
        self, monotonic: Callable[[], float], *, interval: float, enable_events: bool, inspect: bool
    ) -> None:
        """``enable_events``, ``inspect``: whether workers may be asked for task events, about pools and queues."""
        self._monotonic = monotonic
        self.interval = interval
        self._enable_events = enable_events
        self._inspect = inspect
        self._lock = threading.Lock()
        self._requested = threading.Event()
        self._due: dict[str, float] = {}  # by command: earliest monotonic time
        self._held_until = float("-inf")
        self._next_question = monotonic() + interval
        self._question = STATS
        self._events_asked = float("-inf")
        self._inspection_asked = float("-inf")
        self._probe: tuple[Probed, bool] | None = None

    def wake(self) -> None:
        """Make every command due now; ``enable_events`` not before ``EVENTS_SECONDS`` after the last one."""
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
        """Make ``enable_events`` due, as soon as it may be repeated."""
        with self._lock:
            if self._enable_events:
                due = max(self._monotonic(), self._events_asked + EVENTS_SECONDS)
                self._due.setdefault(ENABLE_EVENTS, due)
        self.nudge()

    def request_inspection(self) -> None:
        """Make both commands of the inspection due soon."""
        with self._lock:
            if self._inspect:
                due = max(self._monotonic() + DEBOUNCE_SECONDS, self._inspection_asked + INSPECTION_SECONDS)
                for question in INSPECTION:
                    self._due.setdefault(question, due)
        self.nudge()

    def request_probe(self, told: Probed, *, anew: bool) -> None:
        """Make a probe event due, whose result goes to ``told``; ``anew``: over a new connection.

        A new connection goes where the next subscription would go, which may be another broker of a failover list.
        """
        self._probe = (told, anew)
        self.nudge()

    def nudge(self) -> None:
        """End a :meth:`wait` at once, whether or not a command is due."""
        self._requested.set()

    def wait(self, longest: float) -> None:
        """Wait until a command is due or requested, at most ``longest`` seconds."""
        self._requested.wait(min(self.pause(), longest))
        self._requested.clear()

    def take_probe(self) -> tuple[Probed, bool] | None:
        """Return the requested probe, if any, and take it off the schedule."""
        probe, self._probe = self._probe, None
        return probe

    def take(self) -> list[str]:
        """Return the commands that are due now, in their order, and take them off the schedule."""
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
        """Reschedule commands that could not be sent: nothing is due for ``seconds``, or until :meth:`wake`."""
        with self._lock:
            now = self._monotonic()
            self._held_until = now + seconds
            for command in commands:
                self._due.setdefault(command, now)

    def pause(self) -> float:
        """Seconds until a command is due, if nothing is requested until then."""
        with self._lock:
            dues = [*self._due.values(), *((self._next_question,) if self._inspect else ())]
            due = max(min(dues, default=float("inf")), self._held_until)
            return max(0.0, min(due - self._monotonic(), IDLE_SECONDS))


class Tickets:
    """Numbers the commands; counts missing answers, where the broker tells how many workers received a command."""

    def __init__(self) -> None:
        self._last = 0
        self._commands: set[str] = set()
        self._missing: dict[int, int] = {}
        self._single: set[int] = set()  # those of them that only one worker was asked

    @property
    def settled(self) -> bool:
        """Whether no answer is missing to any command whose receivers were counted."""
        return not self._missing

    @property
    def missing_of_one(self) -> bool:
        """Whether an answer is missing to a command that only one worker was asked."""
        return bool(self._single)

    def issue(self, command: str) -> str:
        """Make the ticket of a new command."""
        self._last += 1
        self._commands.add(command)
        return f"{self._last}.{command}"

    def expect(self, ticket: str, answers: int, *, of_one: bool = False) -> None:
        """Note how many workers received the command with this ticket; ``of_one``: all others do not answer it."""
        if answers > 0:
            question = int(ticket.partition(".")[0])
            self._missing[question] = answers
            if of_one:
                self._single.add(question)
            if len(self._missing) > _MAX_OPEN:
                self._forget(next(iter(self._missing)))

    def _forget(self, question: int) -> None:
        del self._missing[question]
        self._single.discard(question)

    def redeem(self, ticket: object) -> str | None:
        """Count an answer, and return its command; None if no such command was sent."""
        number, _, command = ticket.partition(".") if isinstance(ticket, str) else ("", "", "")
        if command not in self._commands or not number.isdecimal() or not 0 < len(number) < 20:  # noqa: PLR2004 - digits
            return None
        question = int(number)
        if not 0 < question <= self._last:
            return None
        left = self._missing.get(question, 0) - 1
        if left > 0:
            self._missing[question] = left
        elif left == 0 and question in self._single:
            self._forget(question)
        elif left == 0:
            # A worker answers in the order of the commands (kombu/pidbox.py, Node.handle_message): all that have
            # answered this one have answered those before, and workers that have not will never answer those.
            for answered in [each for each in self._missing if each <= question]:
                self._forget(answered)
        return command
