"""Decode what workers answer about their tasks, without the arguments of the tasks, and leave out what is odd.

Source of the facts: ``celery/worker/control.py`` (``scheduled``, ``reserved``, ``active``) and
``celery/worker/request.py`` (``Request.info``) of Celery 4.4 to 5.7.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from celery_metrics_exporter.control.answers import MAX_NAME
from celery_metrics_exporter.control.commands import ACTIVE, SCHEDULED
from celery_metrics_exporter.facts import HeldTask
from celery_metrics_exporter.ids import id_text

#: Tasks of an answer that are taken: more than any worker is asked about.
MAX_TASKS: Final = 20_000

_Entries = Annotated[list[msgspec.Raw], Meta(max_length=MAX_TASKS)]
_decode_entries: Final = msgspec.json.Decoder(_Entries).decode


class _Delivery(Struct, frozen=True, gc=False):
    exchange: str | None = None
    routing_key: str | None = None


class _Request(Struct, frozen=True, gc=False):
    id: Any
    name: str | None = None
    time_start: Annotated[float, Meta(gt=0, le=1e10)] | None = None
    delivery_info: _Delivery | None = None


class _Scheduled(Struct, frozen=True, gc=False):
    request: _Request
    eta: str | None = None


_EntryT = TypeVar("_EntryT", _Scheduled, _Request)
_JSON: Final = frozenset({"json", "application/json"})
_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def held_tasks(command: str, answer: Any) -> tuple[str, list[HeldTask]]:
    """The worker, and the tasks that its answer to this command tells of.

    Args:
        command: what was asked.
        answer: ``{nodename: tasks}``, deserialized, or with the tasks as ``msgspec.Raw`` of JSON.

    Raises:
        msgspec.ValidationError: it is no such answer, or has too many entries.
    """
    ((worker, value),) = msgspec.convert(
        answer, Annotated[dict[str, Any], Meta(min_length=1, max_length=1)]
    ).items()
    if isinstance(value, msgspec.Raw):
        try:
            entries: list[Any] = _decode_entries(value)
        except msgspec.DecodeError as error:
            raise msgspec.ValidationError(str(error)) from error
    else:
        entries = msgspec.convert(value, Annotated[list[Any], Meta(max_length=MAX_TASKS)])
    return worker, [task for task in (_held_task(command, entry) for entry in entries) if task is not None]


def is_json_only(answer: Any) -> tuple[str, bool]:
    """The worker, and whether it accepts messages in JSON alone, as it does by default, by its answer to ``conf``.

    Raises msgspec.ValidationError if it is no such answer.
    """
    ((worker, value),) = msgspec.convert(
        answer, Annotated[dict[str, Any], Meta(min_length=1, max_length=1)]
    ).items()
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    told = msgspec.convert(value, dict[str, Any])
    # The old names, CELERY_ACCEPT_CONTENT, and those with the prefix of a namespace end in the same way.
    accepted = [
        _names(kinds)
        for name, kinds in told.items()
        if name.lower().endswith("accept_content") and not name.lower().endswith("result_accept_content")
    ]
    return worker, all(names <= _JSON for names in accepted)


def _names(kinds: Any) -> set[str]:
    if isinstance(kinds, str):
        return {kinds}
    return msgspec.convert(kinds, set[str] | None) or set()  # none: Celery's default


def _held_task(command: str, entry: Any) -> HeldTask | None:
    if command == SCHEDULED:
        scheduled = _read(entry, _Scheduled)
        return None if scheduled is None else _taken(scheduled.request, eta=scheduled.eta)
    request = _read(entry, _Request)
    if request is None or (command == ACTIVE and request.time_start is None):
        return None
    return _taken(request, started=request.time_start if command == ACTIVE else None)


def _taken(request: _Request, *, started: float | None = None, eta: str | None = None) -> HeldTask | None:
    uuid = id_text(request.id)
    if uuid is None or not 0 < len(uuid) <= MAX_NAME:
        return None
    delivery = request.delivery_info or _Delivery()
    return HeldTask(
        uuid,
        _cut(request.name),
        _cut(delivery.exchange),
        _cut(delivery.routing_key),
        started,
        eta,
    )


def _read(entry: Any, kind: type[_EntryT]) -> _EntryT | None:
    with suppress(*_ERRORS):
        return (
            msgspec.json.decode(entry, type=kind)
            if isinstance(entry, msgspec.Raw)
            else msgspec.convert(entry, kind)
        )
    return None


def _cut(name: str | None) -> str | None:
    return name and name[:MAX_NAME]
