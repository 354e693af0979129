"""One publication of a task and what its events told so far.

Owns: the record, nothing else; ``inflight`` decides which events belong to it, ``attribution`` which ledger it has.

A million of them are to fit into a pod, so what nearly all attempts have in common is not kept in each: names are
shared, and what only retries, tasks with an eta and odd orders of events need stands in a :class:`Details` of which
all others share two. Attempts are left out of garbage collection: a reference back to one (while it runs, while its
ledger is held) is always taken away by whoever made it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery_metrics_exporter.tasks.ledger import Ledger

#: Earlier events of one kind, and starts without a task-sent, that an attempt remembers. A message that is delivered
#: again and again (``visibility_timeout`` shorter than an eta) has more.
MAX_PAST = 32
#: ``Attempt.ended`` of an attempt that will have no outcome.
NO_OUTCOME = -1.0

#: Name and queue of a publication; None while unknown.
Kind: TypeAlias = tuple[str | None, str | None]
#: Those that run on one worker.
RunningHere: TypeAlias = "dict[Attempt, None]"

T = TypeVar("T")


class Details(Struct, frozen=True, eq=False, gc=False):
    """What few attempts have, see :class:`Attempt`."""

    retries: int | None = None
    follows: bool = False
    eta: float = 0.0
    returned: float = 0.0
    goes_on: bool = False
    past: tuple[tuple[str, float], ...] = ()
    unpaired: tuple[float, ...] = ()
    older: Attempt | None = None


_UNTOLD: Final = Details()
#: Those of attempts of which nothing more is known than the number of retries.
PLAIN: Final[dict[int | None, Details]] = {None: _UNTOLD, 0: Details(retries=0)}


class _Detail(Generic[T]):
    """An attribute that stands in the details; the attempt gets other ones when it is written."""

    def __set_name__(self, _owner: type[Attempt], name: str) -> None:
        self._name = name

    def __get__(self, attempt: Attempt, _owner: type[Attempt]) -> T:
        value: T = getattr(attempt.details, self._name)
        return value

    def __set__(self, attempt: Attempt, value: T) -> None:
        if value != getattr(attempt.details, self._name):
            attempt.details = replace(attempt.details, **{self._name: value})


class Attempt(Struct, eq=False, gc=False):
    """A record of the table. Times are epoch seconds by the sender's clock; 0.0 means that no such event was seen.

    Attributes:
        seen: monotonic time at which it was first seen.
        kind: name and queue of the publication.
        worker: nodename of the last worker that told of it.
        ledger: where it is counted; None until the first entry.
        sent, received, started, ended: timestamp of the last event of the kind; ``ended`` is an outcome. The latest of
            the earlier ones are in ``past``.
        open: starts without an outcome; above 1 when a message was delivered twice.
        reserved: delivered and not started since.
        running: the running attempts that it is one of.
        details: everything below.
        retries: of the publication, counted from 0; None while unknown.
        follows: it is known not to be the first publication under its uuid.
        eta: earliest start asked for.
        returned: timestamp of the last event that told of a message given back to the broker.
        goes_on: it ended in a retry, the next attempt follows.
        unpaired: the latest starts that wait for their task-sent, to tell the queue wait.
        older: the attempt before it under the same uuid.
    """

    seen: float
    kind: Kind = (None, None)
    worker: str | None = None
    ledger: Ledger | None = None
    sent: float = 0.0
    received: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    open: int = 0
    reserved: bool = False
    running: RunningHere | None = None
    details: Details = _UNTOLD

    # Without annotations, which would make them fields of the struct.
    retries = _Detail[int | None]()
    follows = _Detail[bool]()
    eta = _Detail[float]()
    returned = _Detail[float]()
    goes_on = _Detail[bool]()
    past = _Detail[tuple[tuple[str, float], ...]]()
    unpaired = _Detail[tuple[float, ...]]()
    older = _Detail["Attempt | None"]()

    @property
    def name(self) -> str | None:
        """Of the task; None while unknown."""
        return self.kind[0]

    @property
    def queue(self) -> str | None:
        """To which it was published; None while unknown."""
        return self.kind[1]

    @property
    def due(self) -> float:
        """When it could have started at the earliest: its publication, or its eta if that is later."""
        eta = self.details.eta
        return max(self.sent, eta)

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
        older = Attempt(self.seen, (self.name, None))
        older.older, self.older = self.older, older
        return older

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
        if self.running is not None:
            self.running.pop(self, None)
            self.running = None


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
