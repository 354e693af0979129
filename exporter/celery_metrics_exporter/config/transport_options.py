"""The options of kombu's transport, from `key=value` items and JSON objects.

Owns these two notations. A message names keys and lines and never repeats a value: any of them may be a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from celery_metrics_exporter.config.broker_url import is_secret_name
from celery_metrics_exporter.config.parse import shown
from celery_metrics_exporter.errors import ConfigError

KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_EXAMPLE: Final = "write for example visibility_timeout=3600"
#: What these options must be, and how one writes that; a library's error would not name the option.
_TYPES: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "sentinel_kwargs": (dict, "a mapping: write for example sentinel_kwargs.password=..."),
    "global_keyprefix": (str, 'a text: write for example global_keyprefix="7"'),
    "sep": (str, "a text"),
    "master_name": (str, "a text"),
    "priority_steps": (list, "a list of numbers: write for example priority_steps=[0,3,6,9]"),
    "socket_timeout": ((int, float), "a number of seconds"),
    "socket_connect_timeout": ((int, float), "a number of seconds"),
    "visibility_timeout": ((int, float), "a number of seconds"),
    "region": (str, "a text: write for example region=eu-west-1"),
    "queue_name_prefix": (str, 'a text: write for example queue_name_prefix="7-"'),
    "predefined_queues": (dict, 'a mapping: write {"predefined_queues": {"celery": {"url": "https://..."}}}'),
}


def transport_options(items: Iterable[str]) -> dict[str, object]:
    """The options that `key=value` items or JSON objects give.

    A dotted key nests. A value is JSON where it parses as JSON, else text. A password is always text, so that `0123`
    and `1e5` stay what they are.
    """
    options: dict[str, object] = {}
    for item in items:
        lay_over(options, _of_item(item, options))
    return options


def _of_item(item: str, before: Mapping[str, object]) -> dict[str, object]:
    if item.lstrip().startswith("{"):
        return from_json(item)
    key, equals, value = item.partition("=")
    *path, name = key.strip().split(".")
    if not equals or KEY.fullmatch(key.strip()) is None:
        raise ConfigError(f"a transport option must be key=value or a JSON object: {_EXAMPLE}")
    place: object = before
    for step in path:
        place = place.get(step, {}) if isinstance(place, Mapping) else place
        if not isinstance(place, Mapping):
            raise ConfigError(
                f"transport option {shown(key)}: {shown(step)} has a plain value already: write one of both"
            )
    return nested(path, name, from_text(name, value))


def from_json(text: str) -> dict[str, object]:
    """The options in a JSON object."""
    try:
        found = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, json.JSONDecodeError):
            where = f", and is none at line {error.lineno}, column {error.colno}"
        raise ConfigError(
            f"what begins with {{ must be one JSON object with each name once{where}: "
            'write for example {"visibility_timeout": 3600}'
        ) from None
    options: dict[str, object] = {}
    for key, value in found.items():
        if KEY.fullmatch(key) is None:
            raise ConfigError(f"{shown(key)} cannot name a transport option: {_EXAMPLE}")
        *path, name = key.split(".")
        lay_over(options, nested(path, name, _secrets_as_text(name, value)))
    return options


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(names := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return names


def from_text(name: str, text: str) -> object:
    """The value of the option of this name: JSON or text, see :func:`transport_options`."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if is_secret_name(name) and not isinstance(value, str | dict | list):
        return text
    return _secrets_as_text(name, value)


def _secrets_as_text(name: str, value: object) -> object:
    """The value with numbers that stand under a secret name as texts."""
    if isinstance(value, dict):
        return {
            key: _secrets_as_text(name if is_secret_name(name) else key, item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_secrets_as_text(name, item) for item in value]
    if is_secret_name(name) and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def nested(path: Sequence[str], name: str, value: object) -> dict[str, object]:
    """An option below others."""
    options: dict[str, object] = {name: value}
    for step in reversed(path):
        options = {step: options}
    return options


def check_types(options: Mapping[str, object]) -> None:
    """Raise ConfigError for an option of a type with which kombu would fail later."""
    for name, (wanted, words) in _TYPES.items():
        value = options.get(name)
        if value is not None and not isinstance(value, wanted):
            raise ConfigError(f"transport option {name} must be {words}")


def lay_over(options: dict[str, object], over: Mapping[str, object]) -> None:
    """Add options, or replace those of the same name, down to what is no mapping."""
    for key, value in over.items():
        below = options.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            lay_over(below, value)
        else:
            options[key] = value
