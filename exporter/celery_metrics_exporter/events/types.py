"""The events of Celery as typed objects.

Owns: one frozen struct for each event type, with only the fields that somebody uses, and their bounds.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher``), ``celery/worker/request.py``,
``celery/worker/heartbeat.py`` and ``celery/app/amqp.py`` (task-sent) of Celery 4.4 to 5.7; the recordings under
``tests/recordings`` hold real bodies of five versions. Every ``timestamp`` is absolute epoch seconds by the sender's
clock and is never shifted by ``utcoffset``.

Every client that may publish to the broker can send anything. The fields are bounded here, in length and in value; no
event of Celery exceeds the bounds. An event beyond them is invalid, the other events of its message are not affected.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Annotated, ClassVar, Final, TypeAlias, TypeVar, get_args

from msgspec import Meta, Struct, field

#: Longest id or name: they are kept for each task in flight. RabbitMQ allows 255 for queues, SQL backends 155 for ids.
MAX_NAME: Final = 500
#: The timestamp of objects without one: a single comparison then sets them apart from all events.
NEVER: Final = 0.0

#: Epoch seconds up to the year 2286; elsewhere 0.0 means "not seen". The bounds exclude milliseconds, NaN and infinity,
#: any of which would spoil the sum of a histogram for good. ``events.plausibility`` compares with our clock later.
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
    """A client published a task; the only event that names the queue. May arrive after the worker's events.

    ``queue`` is what the client believes, null if it named an exchange; ``exchange`` is "" for the default one, by
    which the routing key is the queue.
    """

    name: Name | None = None
    queue: Name | None = None
    exchange: Name | None = None
    routing_key: Name | None = None
    retries: Number | None = None
    eta: str | None = None
    parent_id: str | None = None


class TaskReceived(_TaskEvent, frozen=True, gc=False, tag="task-received"):
    """A worker received a task; repeated for each retry and redelivery.

    ``queue`` (from which the message came), ``published`` (when it was, by the header of its message) and ``trace`` (to
    which it belongs, as in ``exemplar.Traced``) are known in the worker's own process alone, and not on the wire: their
    names there are new in each process, so that no sender can set them.
    """

    name: Name | None = None
    retries: Number | None = None
    eta: str | None = None
    parent_id: str | None = None
    queue: str | None = field(default=None, name=token_hex())
    published: float | None = field(default=None, name=token_hex())
    trace: str | None = field(default=None, name=token_hex())


class TaskStarted(_TaskEvent, frozen=True, gc=False, tag="task-started"):
    """A pool process, thread or greenlet accepted the task; ``pid`` is the worker's, not the pool process's."""

    pid: Number | None = None


class TaskSucceeded(_TaskEvent, frozen=True, gc=False, tag="task-succeeded"):
    """The task returned; ``runtime`` in seconds, null when Celery 5.7 found the result of a lost process."""

    runtime: Duration | None = None


class TaskFailed(_TaskEvent, frozen=True, gc=False, tag="task-failed"):
    """The task raised; ``exception`` is a repr, ``traceback`` a text; both may be of any length."""

    exception: str | None = None
    traceback: str | None = None


class TaskRetried(_TaskEvent, frozen=True, gc=False, tag="task-retried"):
    """The attempt ended in a retry; the same uuid continues with ``retries`` one higher."""

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
    """A worker is up; ``freq`` is the interval in seconds, ``processed`` counts the tasks that its process has started.

    The answer to the remote control command ``heartbeat`` has another freq, and no active, processed and loadavg.
    """

    freq: Duration | None = None
    active: Number | None = None
    processed: Number | None = None
    loadavg: tuple[Load, Load, Load] | None = None
    sw_ident: str | None = None
    sw_ver: str | None = None
    sw_sys: str | None = None


class WorkerOnline(WorkerHeartbeat, frozen=True, gc=False, tag="worker-online"):
    """A worker started, reconnected, or had its events enabled; otherwise like a heartbeat."""


class WorkerOffline(_WorkerEvent, frozen=True, gc=False, tag="worker-offline"):
    """A worker shuts down (or has its events disabled); events of tasks that it still finishes may follow."""

    processed: Number | None = None


class TaskIdentified(Struct, frozen=True, gc=False, tag_field="type", tag="task-identified"):
    """Not on the wire: the name and the queue of a task whose outcome follows, and which was perhaps never received.

    Only the worker's own process knows them: a task that is revoked, has expired or is not registered when its message
    comes has no task-received.
    """

    uuid: Uuid
    hostname: Name = ""
    name: Name | None = None
    queue: Name | None = None
    timestamp: ClassVar[float] = NEVER


class UnknownEvent(Struct, frozen=True, gc=False):
    """A well-formed event of a type without a struct here: custom events, gossip, future versions."""

    type: str
    hostname: str = ""
    timestamp: ClassVar[float] = NEVER


class Retimed(Struct, frozen=True, gc=False):
    """Not on the wire: follows an event whose implausible timestamp was replaced by its receipt time.

    ``timestamp`` is the sender's.
    """

    hostname: str
    timestamp: float


class Undecodable(Struct, frozen=True, gc=False):
    """Takes the place of an event that could not be decoded.

    ``reason`` is ``undecodable`` (not JSON in UTF-8), ``invalid`` (JSON, but not an event: not an object, no type, a
    field of the wrong type or beyond its bounds) or ``oversized`` (see :mod:`events.salvage`); ``detail`` is the
    decoder's message, ``excerpt`` the first bytes of the event.
    """

    reason: str
    detail: str
    excerpt: bytes
    timestamp: ClassVar[float] = NEVER


#: The task events that workers send; only task-received has the task's name, none has its queue.
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
AnyEvent: TypeAlias = Event | UnknownEvent | Retimed | TaskIdentified
EventT = TypeVar("EventT", bound=AnyEvent)


#: Wire name of each event type, e.g. ``{TaskSent: "task-sent", ...}``.
WIRE_NAMES: dict[type[Event], str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(Event)}
