"""One publication of a task and what its events told so far.

Owns: the record, nothing else; ``inflight`` decides which events belong to it, ``attribution`` which ledger it has.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.ledger import Ledger

#: Earlier events of one kind, and starts without a task-sent, that an attempt remembers. A message that is delivered
#: again and again (``visibility_timeout`` shorter than an eta) has more.
MAX_PAST = 32
#: ``Attempt.ended`` of an attempt that will have no outcome.
NO_OUTCOME = -1.0


class Attempt:
    """A record of the table. Times are epoch seconds by the sender's clock; 0.0 means that no such event was seen.

    Attributes:
        name, retries, queue: of the publication; None while unknown (``retries`` counts from 0).
        follows: it is known not to be the first publication under its uuid.
        worker: nodename of the last worker that told of it.
        eta: earliest start asked for.
        sent, received, started, ended, returned: timestamp of the last event of the kind; ``ended`` is an outcome,
            ``returned`` a message given back to the broker. The latest of the earlier ones are in ``past``.
        open: starts without an outcome; above 1 when a message was delivered twice.
        goes_on: it ended in a retry, the next attempt follows.
        reserved: delivered and not started since.
        unpaired: the latest starts that wait for their task-sent, to tell the queue wait.
        seen: monotonic time at which it was first seen.
        ledger: where it is counted; None until the first entry.
        older: the attempt before it under the same uuid.
    """

    __slots__ = (
        "ended",
        "eta",
        "follows",
        "goes_on",
        "ledger",
        "name",
        "older",
        "open",
        "past",
        "queue",
        "received",
        "reserved",
        "retries",
        "returned",
        "seen",
        "sent",
        "started",
        "unpaired",
        "worker",
    )

    def __init__(self, seen: float, older: Attempt | None = None) -> None:
        self.seen = seen
        self.older = older
        self.follows = False
        self.name: str | None = None
        self.retries: int | None = None
        self.queue: str | None = None
        self.worker: str | None = None
        self.eta = 0.0
        self.sent = 0.0
        self.received = 0.0
        self.started = 0.0
        self.ended = 0.0
        self.returned = 0.0
        self.open = 0
        self.goes_on = False
        self.reserved = False
        self.past: tuple[tuple[str, float], ...] = ()
        self.unpaired: tuple[float, ...] = ()
        self.ledger: Ledger | None = None

    @property
    def due(self) -> float:
        """When it could have started at the earliest: its publication, or its eta if that is later."""
        return max(self.sent, self.eta)

    @property
    def has_outcome(self) -> bool:
        """Whether it ended, and no start is left that could end once more."""
        return self.ended > 0 and not self.open

    @property
    def is_settled(self) -> bool:
        """Whether it ended for good, not in a retry."""
        return self.has_outcome and not self.goes_on

    @property
    def is_superseded(self) -> bool:
        """Whether another task has taken its place."""
        return self.ended == NO_OUTCOME

    @property
    def is_over(self) -> bool:
        """Whether nothing is known to follow."""
        return bool(self.ended or self.returned) and not self.open and not self.reserved

    def chain(self) -> Iterator[Attempt]:
        """This attempt and the older ones of its uuid, newest first."""
        attempt: Attempt | None = self
        while attempt is not None:
            yield attempt
            attempt = attempt.older

    def fits(self, name: str | None, retries: int | None) -> bool:
        """Whether a publication or delivery with this name and retry count may be this attempt."""
        return (self.name is None or name is None or self.name == name) and (
            self.retries is None or retries is None or self.retries == retries
        )

    def oldest(self) -> Attempt:
        """The end of the chain."""
        attempt = self
        while attempt.older is not None:
            attempt = attempt.older
        return attempt

    def held_elsewhere(self, worker: str) -> bool:
        """Whether another worker has it, so that an event from this one must be of another attempt."""
        return (self.reserved or self.open > 0) and self.worker != worker

    def identify(self, name: str | None, retries: int | None) -> None:
        """Learn the name and the retry count."""
        if self.name is None:
            self.name = name
        if self.retries is None:
            self.retries = retries

    def noted(self, field: str, timestamp: float) -> bool:
        """Whether this very event was seen before."""
        noted: bool = getattr(self, field) == timestamp or (field, timestamp) in self.past
        return noted

    def stamp(self, field: str, timestamp: float) -> bool:
        """Note an event; False if it was seen before."""
        before: float = getattr(self, field)
        if before:
            if self.noted(field, timestamp):
                return False
            self._remember(field, before)
        setattr(self, field, timestamp)
        return True

    def _remember(self, field: str, before: float) -> None:
        self.past = (*self.past[1 - MAX_PAST :], (field, before))

    def wait_for_sent(self, started: float) -> None:
        """Keep a start until its task-sent comes."""
        self.unpaired = (*self.unpaired[1 - MAX_PAST :], started)

    def insert_older(self) -> Attempt:
        """Put an attempt of the same name before this one, of which an outcome is all that came."""
        self.older = Attempt(self.seen, self.older)
        self.older.name = self.name
        return self.older

    def reopen(self) -> None:
        """The message was delivered again after an outcome: there will be another one."""
        self._remember("ended", self.ended)
        self.ended = 0.0
        self.goes_on = False

    def release(self, worker: str) -> None:
        """One of its starts came to its end on ``worker``."""
        self.worker = worker
        self.reserved = False
        if self.open:
            self.open -= 1

    def supersede(self) -> None:
        """Another task took its place (``Task.replace``): it ends without an outcome."""
        self.open = 0
        self.ended = self.ended or NO_OUTCOME
        self.leave()

    def leave(self) -> None:
        """Take it off the running tasks."""
        if self.ledger is not None:
            self.ledger.end(self)


def parse_eta(eta: str | None) -> float:
    """Epoch seconds of an ISO time, as task-sent and task-received carry it; 0.0 without one or if it is no time.

    Times without an offset are UTC (``celery/app/amqp.py``, ``as_task_v2`` makes them aware).
    """
    if eta is None:
        return 0.0
    try:
        moment = datetime.fromisoformat(eta)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
