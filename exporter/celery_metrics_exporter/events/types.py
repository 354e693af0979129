"""The events of Celery as typed objects.

Owns: one frozen struct for each event type, with only the fields that somebody uses, and their bounds.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher``), ``celery/worker/request.py``,
``celery/worker/heartbeat.py`` and ``celery/app/amqp.py`` (task-sent) of Celery 4.4 to 5.7; the recordings under
``tests/recordings`` hold real bodies of five versions. Every ``timestamp`` is absolute epoch seconds by the sender's
clock and is never shifted by ``utcoffset``.

Anybody who may publish to the broker can send anything. What is kept of an event is bounded here, in length and in
value, because no sender of Celery's exceeds it; an event beyond is invalid, the others of its message are not touched.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias, TypeVar, get_args

from msgspec import Meta, Struct

#: Ids and names are kept for each task in flight. Those of RabbitMQ's queues end at 255, of SQL backends' ids at 155.
MAX_NAME: Final = 500
#: The timestamp of what has none, or one that nobody looks at: one look then tells it from all others.
NEVER: Final = 0.0

#: Epoch seconds up to the year 2286; 0.0 marks an unseen event elsewhere. The bounds keep milliseconds, NaN and
#: infinity out, of which one would poison the sum of a histogram for good. The dispatcher's clock has its say later.
Timestamp: TypeAlias = Annotated[float, Meta(gt=0, le=1e10)]
Duration: TypeAlias = Annotated[float, Meta(ge=0, le=1e8)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Name: TypeAlias = Annotated[str, Meta(max_length=MAX_NAME)]
Uuid: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Load: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]


class _TaskEvent(Struct, frozen=True, gc=False, tag_field="type"):
    uuid: Uuid
    timestamp: Timestamp
    hostname: Name = ""


class _WorkerEvent(Struct, frozen=True, gc=False, tag_field="type"):
    hostname: Name
    timestamp: Timestamp
    pid: Number | None = None


class TaskSent(_TaskEvent, frozen=True, gc=False, tag="task-sent"):
    """A client published a task; the only event that names the queue. May arrive after the worker's events."""

    name: Name | None = None
    queue: Name | None = None
    retries: Number | None = None
    eta: str | None = None
    parent_id: str | None = None


class TaskReceived(_TaskEvent, frozen=True, gc=False, tag="task-received"):
    """A worker fetched a task; repeated for each retry and redelivery."""

    name: Name | None = None
    retries: Number | None = None
    eta: str | None = None
    parent_id: str | None = None


class TaskStarted(_TaskEvent, frozen=True, gc=False, tag="task-started"):
    """A pool process, thread or greenlet accepted the task; ``pid`` is the worker's, not the pool process's."""

    pid: Number | None = None


class TaskSucceeded(_TaskEvent, frozen=True, gc=False, tag="task-succeeded"):
    """The task returned; ``runtime`` in seconds, null when Celery 5.7 found the result of a lost process."""

    runtime: Duration | None = None


class TaskFailed(_TaskEvent, frozen=True, gc=False, tag="task-failed"):
    """The task raised; ``exception`` is a repr, ``traceback`` a text, both of unbounded length."""

    exception: str | None = None
    traceback: str | None = None


class TaskRetried(_TaskEvent, frozen=True, gc=False, tag="task-retried"):
    """The attempt ended in a retry; the same uuid goes on with ``retries`` one higher."""

    exception: str | None = None
    traceback: str | None = None


class TaskRejected(_TaskEvent, frozen=True, gc=False, tag="task-rejected"):
    """The worker rejected the message, to be delivered again if ``requeue``."""

    requeue: bool | None = None


class TaskRevoked(_TaskEvent, frozen=True, gc=False, tag="task-revoked"):
    """The task was revoked before it started, had expired, or was terminated while it ran."""

    terminated: bool | None = None
    expired: bool | None = None


class TaskCancelled(_TaskEvent, frozen=True, gc=False, tag="task-cancelled"):
    """A running task was cancelled because the worker lost its broker connection (Celery 5.1 and later)."""


class WorkerHeartbeat(_WorkerEvent, frozen=True, gc=False, tag="worker-heartbeat"):
    """A worker lives; ``freq`` is its interval in seconds, ``processed`` counts the starts of its process.

    The answer to a remote ``heartbeat`` command has another freq, and no active, processed and loadavg.
    """

    freq: Duration | None = None
    active: Number | None = None
    processed: Number | None = None
    loadavg: tuple[Load, Load, Load] | None = None
    sw_ident: str | None = None
    sw_ver: str | None = None
    sw_sys: str | None = None


class WorkerOnline(WorkerHeartbeat, frozen=True, gc=False, tag="worker-online"):
    """A worker started, connected again, or had its events enabled; otherwise like a heartbeat."""


class WorkerOffline(_WorkerEvent, frozen=True, gc=False, tag="worker-offline"):
    """A worker shuts down (or has its events disabled); events of tasks that it still finishes may follow."""


class UnknownEvent(Struct, frozen=True, gc=False):
    """A well-formed event of a type without a struct here: custom events, gossip, future versions."""

    type: str
    hostname: str = ""
    timestamp: ClassVar[float] = NEVER


class Retimed(Struct, frozen=True, gc=False):
    """Not on the wire: follows an event of whose timestamp the dispatcher made the time of its receipt.

    ``timestamp`` is what the sender wrote.
    """

    hostname: str
    timestamp: float


class Undecodable(Struct, frozen=True, gc=False):
    """What stands in a decoded body where an event was lost.

    ``reason`` is ``undecodable`` (no JSON in UTF-8), ``invalid`` (JSON, but no event: not an object, no type, a field
    of the wrong type or beyond its bounds) or ``oversized`` (see :mod:`events.salvage`); ``detail`` is
    the decoder's message, ``excerpt`` the first bytes of what was lost.
    """

    reason: str
    detail: str
    excerpt: bytes
    timestamp: ClassVar[float] = NEVER


#: The events of a task that workers send; the name stands on task-received only, the queue on none of them.
WorkerTaskEvent: TypeAlias = (
    TaskReceived
    | TaskStarted
    | TaskSucceeded
    | TaskFailed
    | TaskRetried
    | TaskRejected
    | TaskRevoked
    | TaskCancelled
)
WorkerEvent: TypeAlias = WorkerOnline | WorkerHeartbeat | WorkerOffline
Event: TypeAlias = TaskSent | WorkerTaskEvent | WorkerEvent
AnyEvent: TypeAlias = Event | UnknownEvent | Retimed
EventT = TypeVar("EventT", bound=AnyEvent)


#: Wire name of each event type, e.g. ``{TaskSent: "task-sent", ...}``.
WIRE_NAMES: dict[type[Event], str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(Event)}
