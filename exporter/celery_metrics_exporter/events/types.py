"""The events of Celery as typed objects, and the one place where bodies become events.

Owns: one frozen struct an event type, holding only the fields that somebody uses, and :func:`decode`.
Must not know: metrics, brokers, correlation.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher``), ``celery/worker/request.py``,
``celery/worker/heartbeat.py`` and ``celery/app/amqp.py`` (task-sent) of Celery 4.4 to 5.7; the recordings under
``tests/recordings`` hold real bodies of five versions. Every ``timestamp`` is absolute epoch seconds by the sender's
clock and is never shifted by ``utcoffset``.

Anybody who may publish to the broker can send anything. What is kept of an event is bounded here, in length and in
value, because no sender of Celery's exceeds it; an event beyond is invalid, the others of its message are not touched.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from celery_metrics_exporter.events.salvage import TooManyPartsError, salvage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Ids and names are kept for each task in flight. Those of RabbitMQ's queues end at 255, of SQL backends' ids at 155.
MAX_NAME: Final = 500
#: The timestamp of what has none, or one that nobody looks at: one look then tells it from all others.
NEVER: Final = 0.0
#: Bytes of a lost event that are shown.
MAX_EXCERPT: Final = 100

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
_KNOWN = frozenset(WIRE_NAMES.values())

_decode_event = msgspec.json.Decoder(Event).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_unknown = msgspec.json.Decoder(UnknownEvent).decode

# RecursionError: msgspec gives up on deep nesting this way (msgspec, ``Py_EnterRecursiveCall`` in its JSON skipper).
# ValueError: Python makes no int of more than 4300 digits; UnicodeDecodeError is one too.
_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


def decode(body: bytes) -> Sequence[Event | UnknownEvent | Undecodable]:
    """Turn the JSON body of one event message into events.

    Args:
        body: one event (an object) or a list of events, as ``task.multi`` messages carry them, in UTF-8.

    Returns:
        The events in their order; where one could not be read, an :class:`Undecodable` stands in its place, so that
        one bad event never loses its neighbours. An empty list gives nothing. Never raises.
    """
    try:
        if body[:1] == b"[":
            decoded: list[Event] = _decode_events(body)
            return decoded
        event: Event = _decode_event(body)
        return (event,)
    except _ERRORS:
        return list(_decode_apart(body))


def _decode_apart(body: bytes) -> Iterator[Event | UnknownEvent | Undecodable]:
    """Decode item by item what did not decode in one go."""
    try:
        items = salvage(body)
    except TooManyPartsError as error:
        yield _undecodable("oversized", error, body)
    except _ERRORS as error:
        yield _undecodable("undecodable", error, body)
    else:
        for item in items:
            yield _decode_item(item)


def _decode_item(item: msgspec.Raw) -> Event | UnknownEvent | Undecodable:
    short = len(memoryview(item)) <= MAX_NAME  # nothing in it can be cut
    problem: Exception
    try:
        event: Event = _decode_event(item)
    except _ERRORS as error:
        problem = error
    else:
        return event
    try:
        unknown: UnknownEvent = _decode_unknown(item)
    except msgspec.ValidationError:
        if short and isinstance(problem, msgspec.ValidationError):
            return _undecodable("invalid", problem, item)
    except _ERRORS:
        pass
    else:
        if unknown.type not in _KNOWN:
            return unknown
        if short:
            return _undecodable("invalid", problem, item)
    try:
        content = json.loads(bytes(item))
    except _ERRORS as error:
        return _undecodable("undecodable", error, item)
    return _convert(content, item)


def _convert(item: object, lost: msgspec.Raw) -> Event | UnknownEvent | Undecodable:
    kind = None
    if isinstance(item, dict):
        kind = item.get("type")
        for field in ("name", "queue"):  # labels, whose ends nobody will miss
            value = item.get(field)
            if isinstance(value, str):
                item[field] = value[:MAX_NAME]
    target = Event if not isinstance(kind, str) or kind in _KNOWN else UnknownEvent
    try:
        event: Event | UnknownEvent = msgspec.convert(item, type=target)
    except _ERRORS as error:
        return _undecodable("invalid", error, lost)
    return event


def _undecodable(reason: str, error: Exception, lost: bytes | msgspec.Raw) -> Undecodable:
    return Undecodable(reason, str(error)[:200], bytes(memoryview(lost)[:MAX_EXCERPT]))
