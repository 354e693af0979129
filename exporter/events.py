"""The events of Celery as typed objects, and the one place where bodies become events.

Owns: one frozen struct an event type, holding only the fields that somebody uses, and :func:`decode`.
Must not know: metrics, brokers, correlation.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher``), ``celery/worker/request.py``,
``celery/worker/heartbeat.py`` and ``celery/app/amqp.py`` (task-sent) of Celery 4.4 to 5.7; the recordings under
``tests/recordings`` hold real bodies of five versions. Every ``timestamp`` is absolute epoch seconds by the sender's
clock and is never shifted by ``utcoffset``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Epoch seconds; 0.0 marks an unseen event elsewhere. The bounds keep NaN and infinity out, of which one would poison
#: the sum of a histogram for good.
Timestamp: TypeAlias = Annotated[float, Meta(gt=0, le=1e11)]
Duration: TypeAlias = Annotated[float, Meta(ge=0, le=1e11)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]


class _TaskEvent(Struct, frozen=True, gc=False, tag_field="type"):
    uuid: str
    timestamp: Timestamp
    hostname: str = ""


class _WorkerEvent(Struct, frozen=True, gc=False, tag_field="type"):
    hostname: str
    timestamp: Timestamp
    pid: int | None = None


class TaskSent(_TaskEvent, frozen=True, gc=False, tag="task-sent"):
    """A client published a task; the only event that names the queue. May arrive after the worker's events."""

    name: str | None = None
    queue: str | None = None
    retries: int | None = None
    eta: str | None = None
    parent_id: str | None = None


class TaskReceived(_TaskEvent, frozen=True, gc=False, tag="task-received"):
    """A worker fetched a task; repeated for each retry and redelivery."""

    name: str | None = None
    retries: int | None = None
    eta: str | None = None
    parent_id: str | None = None


class TaskStarted(_TaskEvent, frozen=True, gc=False, tag="task-started"):
    """A pool process, thread or greenlet accepted the task; ``pid`` is the worker's, not the pool process's."""

    pid: int | None = None


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
    loadavg: tuple[float, float, float] | None = None
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


class Undecodable(Struct, frozen=True, gc=False):
    """What stands in a decoded body where an event was lost.

    ``reason`` is ``undecodable`` (no JSON in UTF-8) or ``invalid`` (JSON, but no event: not an object, no type, a
    field of the wrong type); ``detail`` is the decoder's message.
    """

    reason: str
    detail: str


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
AnyEvent: TypeAlias = Event | UnknownEvent

#: Wire name of each event type, e.g. ``{TaskSent: "task-sent", ...}``.
WIRE_NAMES: dict[type[Event], str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(Event)}
_KNOWN = frozenset(WIRE_NAMES.values())

_decode_event = msgspec.json.Decoder(Event).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_unknown = msgspec.json.Decoder(UnknownEvent).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode

# RecursionError: msgspec gives up on deep nesting this way (msgspec, ``Py_EnterRecursiveCall`` in its JSON skipper).
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decode(body: bytes) -> Sequence[AnyEvent | Undecodable]:
    """Turn the JSON body of one event message into events.

    Args:
        body: one event (an object) or a list of events, as ``task.multi`` messages carry them, in UTF-8.

    Returns:
        The events in their order; where one could not be read, an :class:`Undecodable` stands in its place, so that
        one bad event never loses its neighbours. An empty list gives an empty sequence. Never raises.
    """
    try:
        if body[:1] == b"[":
            decoded: list[Event] = _decode_events(body)
            return decoded
        event: Event = _decode_event(body)
        return (event,)
    except _ERRORS:
        return _decode_apart(body)


def _decode_apart(body: bytes) -> Sequence[AnyEvent | Undecodable]:
    """Decode item by item what did not decode in one go."""
    try:
        items = _split(body) if body.lstrip()[:1] == b"[" else [msgspec.Raw(body)]
    except _ERRORS:
        return _decode_leniently(body)
    return [_decode_item(item) for item in items]


def _decode_item(item: msgspec.Raw) -> AnyEvent | Undecodable:
    try:
        event: Event = _decode_event(item)
    except msgspec.ValidationError as error:
        invalid = Undecodable("invalid", str(error))
    except _ERRORS:
        return _decode_leniently(bytes(item))[0]
    else:
        return event
    try:
        unknown: UnknownEvent = _decode_unknown(item)
    except _ERRORS:
        return invalid
    return invalid if unknown.type in _KNOWN else unknown


def _decode_leniently(body: bytes) -> Sequence[AnyEvent | Undecodable]:
    """Decode what Python's own ``json`` writes and no JSON is (NaN, lone surrogates), or give the body up."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        return (Undecodable("undecodable", str(error)),)
    return [_convert(item) for item in (content if isinstance(content, list) else [content])]


def _convert(item: object) -> AnyEvent | Undecodable:
    kind = item.get("type") if isinstance(item, dict) else None
    target = Event if not isinstance(kind, str) or kind in _KNOWN else UnknownEvent
    try:
        event: AnyEvent = msgspec.convert(item, type=target)
    except (msgspec.ValidationError, RecursionError) as error:
        return Undecodable("invalid", str(error))
    return event
