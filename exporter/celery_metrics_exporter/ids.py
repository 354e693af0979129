"""The ids of tasks as text, whatever an application uses for them.

Celery makes strings, but runs a task under any ``task_id`` that its broker carries: a number, or a ``uuid.UUID``, which
``kombu/utils/json.py`` (``register_type``) writes as ``{"__type__": "uuid", "__value__": {"hex": "..."}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID


def id_text(value: object) -> str | None:
    """The id as Python prints it, so that a UUID and its text are one id; None if this is no id."""
    match value:
        case str():
            return value
        case int() | float():
            return str(value)
        case UUID():
            return str(value)
        case {"__type__": "uuid", "__value__": {"hex": str(digits)}}:
            return _uuid_text(digits)
        case {"__type__": str(), "__value__": inner} if not isinstance(inner, Mapping):
            return id_text(inner)
        case _:
            return None


def _uuid_text(digits: str) -> str | None:
    try:
        return str(UUID(digits))
    except ValueError:
        return None
