"""Decode the bodies of event messages into typed events; nothing else in the exporter decodes events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from celery_metrics_exporter.events.salvage import TooManyPartsError, salvage
from celery_metrics_exporter.events.types import (
    MAX_NAME,
    WIRE_NAMES,
    Event,
    TaskIdentified,
    Undecodable,
    UnknownEvent,
)
from celery_metrics_exporter.ids import id_text

#: Bytes of an undecodable event that the log shows.
MAX_EXCERPT: Final = 100

_KNOWN = frozenset(WIRE_NAMES.values())

_decode_event = msgspec.json.Decoder(Event).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_unknown = msgspec.json.Decoder(UnknownEvent).decode

# RecursionError: deep nesting (msgspec, ``Py_EnterRecursiveCall`` in its JSON skipper).
# ValueError: Python refuses integers of more than 4300 digits; UnicodeDecodeError is a ValueError too.
_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


def decode(body: bytes) -> Sequence[Event | UnknownEvent | Undecodable]:
    """Decode the JSON body of one event message. Never raises.

    Args:
        body: one event (an object) or a list of events, as ``task.multi`` messages carry them, in UTF-8.

    Returns:
        The events in their order, with an :class:`Undecodable` in place of each that could not be read; nothing for an
        empty list.
    """
    try:
        if body[:1] == b"[":
            decoded: list[Event] = _decode_events(body)
            return decoded
        event: Event = _decode_event(body)
        return (event,)
    except _ERRORS:
        return list(_decode_apart(body))


def checked(
    events: Sequence[Mapping[str, Any]],
) -> Sequence[Event | TaskIdentified | UnknownEvent | Undecodable]:
    """Make typed events of what a worker would send, within the same bounds as :func:`decode`. Never raises."""
    try:
        return msgspec.convert(events, list[Event | TaskIdentified])
    except _ERRORS:
        return [_check_apart(event) for event in events]


def _check_apart(event: Mapping[str, Any]) -> Event | TaskIdentified | UnknownEvent | Undecodable:
    try:
        return msgspec.convert(event, Event | TaskIdentified)  # type: ignore[no-any-return]  # a union is no type
    except _ERRORS:
        return _convert(dict(event), str(event.get("type", "")).encode("utf-8", "replace"))


def _decode_apart(body: bytes) -> Iterator[Event | UnknownEvent | Undecodable]:
    """Decode a body item by item."""
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
    short = len(memoryview(item)) <= MAX_NAME  # no field of it is too long
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
    try:
        content = json.loads(bytes(item))
    except _ERRORS as error:
        return _undecodable("undecodable", error, item)
    return _convert(content, item)


def _convert(item: object, lost: bytes | msgspec.Raw) -> Event | UnknownEvent | Undecodable:
    kind = None
    if isinstance(item, dict):
        kind = item.get("type")
        for field in ("name", "queue", "exchange", "routing_key"):  # they become labels, which may be cut
            value = item.get(field)
            if isinstance(value, str):
                item[field] = value[:MAX_NAME]
            elif field in ("exchange", "routing_key"):  # nothing of the event depends on them
                item.pop(field, None)
        for field in ("uuid", "parent_id"):
            if item.get(field) is not None:
                item[field] = id_text(item[field])
    target = Event if not isinstance(kind, str) or kind in _KNOWN else UnknownEvent
    try:
        event: Event | UnknownEvent = msgspec.convert(item, type=target)
    except _ERRORS as error:
        return _undecodable("invalid", error, lost)
    return event


def _undecodable(reason: str, error: Exception, lost: bytes | msgspec.Raw) -> Undecodable:
    return Undecodable(reason, str(error)[:200], bytes(memoryview(lost)[:MAX_EXCERPT]))
