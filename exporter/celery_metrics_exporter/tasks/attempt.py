"""One execution of a task, or what may become one, and what its events have told so far.

This is the record alone: ``inflight`` decides which events belong to it, ``attribution`` where it is counted.

A million attempts must fit into a pod, so what nearly all of them have in common is not kept in each: names are
interned, and what only retries, tasks with an eta and events out of order need is kept in :class:`Details`, of which
all other attempts share two. Attempts are left out of garbage collection: whoever stores a reference back to an attempt
in something that the attempt refers to (the running tasks of a worker) always removes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Generic, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from celery_metrics_exporter.tasks.counts import Counts, Kind

#: How many earlier events, and how many starts without a task-sent, an attempt remembers. A message that is delivered
#: again and again (``visibility_timeout`` shorter than an eta) has more.
MAX_PAST = 32
#: The start in an answer differs from the time of the task-started by less (``celery/worker/request.py``,
#: ``Request.on_accepted``).
UNCERTAIN_SECONDS = 1.0
#: ``Attempt.ended`` of an attempt that will have no outcome.
NO_OUTCOME = -1.0

#: The attempts that run on one worker.
RunningHere: TypeAlias = "dict[Attempt, None]"

T = TypeVar("T")


class Details(Struct, frozen=True, eq=False, gc=False):
    """What few attempts have; the fields are described in :class:`Attempt`."""

    retries: int | None = None
    is_republished: bool = False
    has_certain_queue: bool = False
    published: float = 0.0
    trace: str | None = None
    eta: float = 0.0
    returned: float = 0.0
    will_retry: bool = False
    past: tuple[tuple[str, float], ...] = ()
    unpaired: tuple[float, ...] = ()
    fitting: frozenset[str] | None = None
    answered: float = 0.0
    unconfirmed: bool = False
    older: Attempt | None = None


_EMPTY: Final = Details()
#: The details that most attempts share, by their ``retries``.
PLAIN: Final[dict[int | None, Details]] = {None: _EMPTY, 0: Details(retries=0)}


class _Detail(Generic[T]):
    """An attribute kept in the details; writing it gives the attempt details of its own."""

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

    A publication that no worker has told of is one attempt. The first worker that tells of it makes the attempt its
    own; each further one has an attempt beside it (:meth:`make_sibling`). So all its events of workers are of one.

    Its state, and the events that lead there:

    ========== ====================================== ==============================================================
    state      by                                     fields
    ========== ====================================== ==============================================================
    published  task-sent                              ``sent``; nothing of a worker
    reserved   task-received                          ``reserved``
    running    task-started                           ``open``, and in ``running``
    returned   task-rejected, task-cancelled          ``returned``; neither ``reserved`` nor ``open``
    retrying   task-retried                           ``ended`` > 0 and ``will_retry``
    settled    task-succeeded, -failed, -revoked      ``ended`` > 0, neither ``open`` nor ``will_retry``
    superseded task-received of what replaces it      ``ended`` is :data:`NO_OUTCOME`, not ``open``
    ========== ====================================== ==============================================================

    An answer of its worker may tell that it is reserved or running before an event does (``answered``). Events may be
    missing or come in any order, so every state can be the first. A message that is delivered to its
    worker again takes a returned, retrying or settled attempt back to reserved or running (:meth:`reopen`); while it
    runs, the second delivery is a sibling.

    Attributes:
        seen: monotonic time at which it was first seen.
        kind: name and queue of the publication; the name is the one that its worker reports, once it does.
        worker: nodename of the worker that has or had it; None while it is only published.
        counts: where it is counted; None before its first event is.
        sent, received, started, ended: timestamp of the last event of the kind; ``ended`` is an outcome. The latest of
            the earlier ones are in ``past``.
        open: started, and without an outcome.
        reserved: delivered and not started since.
        running: the attempts that run on its worker, if it is one of them.
        details: everything below.
        retries: of the publication, counted from 0; None while unknown.
        is_republished: it is known not to be the first publication under its uuid.
        has_certain_queue: the queue is the one from which its worker's own process took the message.
        published: when its message was published, if its worker's own process tells; 0.0 if not.
        trace: to which it belongs, if its worker's own process tells, see ``exemplar.Traced``.
        eta: earliest start asked for.
        returned: timestamp of the last event that told of a message returned to the broker.
        will_retry: it ended in a retry, the next attempt follows.
        past: (kind, timestamp) of the latest earlier events.
        unpaired: the latest starts that came before the task-sent, which tells their queue wait.
        fitting: the queues that its publication to an exchange may have reached, if there are several; empty if no
            known one may have it, or too many; else None.
        answered: when an answer told that its worker has it, by the worker's clock; 0.0 if events told it.
        unconfirmed: it runs by an answer: ``started`` is what that told, and the task-started may yet come.
        older: the attempt before it under the same uuid.
    """

    seen: float
    kind: Kind = (None, None)
    worker: str | None = None
    counts: Counts | None = None
    sent: float = 0.0
    received: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    open: bool = False
    reserved: bool = False
    running: RunningHere | None = None
    details: Details = _EMPTY

    # Without annotations, which would make them fields of the struct.
    retries = _Detail[int | None]()
    is_republished = _Detail[bool]()
    has_certain_queue = _Detail[bool]()
    published = _Detail[float]()
    trace = _Detail["str | None"]()
    eta = _Detail[float]()
    returned = _Detail[float]()
    will_retry = _Detail[bool]()
    past = _Detail[tuple[tuple[str, float], ...]]()
    unpaired = _Detail[tuple[float, ...]]()
    fitting = _Detail[frozenset[str] | None]()
    answered = _Detail[float]()
    unconfirmed = _Detail[bool]()
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
        details = self.details
        return max(self.sent or details.published, details.eta)

    @property
    def has_outcome(self) -> bool:
        """Whether it ended, and does not run again."""
        return self.ended > 0 and not self.open

    @property
    def is_settled(self) -> bool:
        """Whether it ended for good, not in a retry."""
        return self.has_outcome and not self.will_retry

    @property
    def is_superseded(self) -> bool:
        """Whether another task has taken its place."""
        return self.ended == NO_OUTCOME

    @property
    def is_over(self) -> bool:
        """Whether nothing is known to follow: its worker has it no more, or another task has taken its place."""
        if self.open or self.reserved:
            return self.is_superseded
        return bool(self.ended or self.returned or self.started)

    def chain(self) -> Iterator[Attempt]:
        """This attempt and the older ones of its uuid, newest first."""
        attempt: Attempt | None = self
        while attempt is not None:
            yield attempt
            attempt = attempt.details.older

    def is_of(self, retries: int | None, *, republished: bool) -> bool:
        """Whether a publication with this retry count may be its own; names say nothing (see ``matching``)."""
        return (self.retries is None or retries is None or self.retries == retries) and (
            self.is_republished == republished or not (self.sent or self.received)
        )

    def oldest(self) -> Attempt:
        """The end of the chain."""
        attempt = self
        while attempt.details.older is not None:
            attempt = attempt.details.older
        return attempt

    def has_seen(self, field: str, timestamp: float) -> bool:
        """Whether this very event was seen before."""
        seen: bool = getattr(self, field) == timestamp or (field, timestamp) in self.past
        return seen

    def stamp(self, field: str, timestamp: float) -> None:
        """Record an event that was not seen before."""
        before: float = getattr(self, field)
        if before:
            self._remember(field, before)
        setattr(self, field, timestamp)

    def _remember(self, field: str, before: float) -> None:
        self.past = (*self.past[1 - MAX_PAST :], (field, before))

    @property
    def latest_start(self) -> float:
        """When it started at the latest: an answer tells a time that was calculated from two clocks."""
        return self.started + (UNCERTAIN_SECONDS if self.unconfirmed else 0.0)

    def withdraw(self) -> None:
        """It is published only: the answer was about another publication."""
        self.worker = None
        self.reserved = self.open = self.unconfirmed = False
        self.started = self.answered = 0.0
        self.stop_running()

    def confirm_start(self, timestamp: float) -> None:
        """Record the task-started of a start that an answer told of."""
        self.started = timestamp
        self.unconfirmed = False

    def give_received(self) -> float:
        """Hand over an earlier receipt, to a second start on the same worker; 0.0 if there is none."""
        for event in self.past:
            if event[0] == "received":
                self.past = tuple(each for each in self.past if each is not event)
                return event[1]
        return 0.0

    def wait_for_sent(self, started: float) -> None:
        """Keep a start whose queue wait is observed when its task-sent comes."""
        self.unpaired = (*self.unpaired[1 - MAX_PAST :], started)

    def insert_older(self) -> Attempt:
        """Put an attempt of the same name before this one, for an outcome that belongs to neither."""
        older = Attempt(self.seen, (self.name, None))
        older.older, self.older = self.older, older
        return older

    def make_sibling(self, seen: float, worker: str) -> Attempt:
        """Make an attempt of the same publication, for another worker or another start.

        On another worker it may yet turn out to be of another publication, or to have come from another queue.
        """
        is_alike = worker == self.worker and self.counts is not None and self.counts.labels
        labelled = self.counts if is_alike else None
        details = Details(
            retries=self.retries,
            is_republished=self.is_republished,
            has_certain_queue=self.has_certain_queue,
            published=self.published,
            trace=self.trace,
            eta=self.eta,
            fitting=self.fitting,
        )
        return Attempt(seen, self.kind, counts=labelled, sent=self.sent, details=details)

    def reopen(self) -> None:
        """The message was delivered again after an outcome: there will be another one."""
        self._remember("ended", self.ended)
        self.ended = 0.0
        self.will_retry = False

    def release(self, worker: str) -> None:
        """End what ``worker`` had of it."""
        self.worker = worker
        self.reserved = False
        self.open = False
        self.stop_running()

    def supersede(self) -> None:
        """End it without an outcome: another task took its place (``Task.replace``)."""
        self.open = False
        self.ended = self.ended or NO_OUTCOME
        self.stop_running()

    def stop_running(self) -> None:
        """Remove it from the running attempts."""
        if self.running is not None:
            self.running.pop(self, None)
            self.running = None


def parse_eta(eta: str | None) -> float:
    """Epoch seconds of an ISO time, as task-sent and task-received carry it; 0.0 if there is none or it is invalid.

    Times without an offset are UTC (``celery/app/amqp.py``, ``as_task_v2`` makes them aware).
    """
    if eta is None:
        return 0.0
    try:
        time = datetime.fromisoformat(eta)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
