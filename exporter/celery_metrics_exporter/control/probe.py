"""Probe the event stream: send an event of our own, which every receiver of events must receive too.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher._prepare_event``, ``_publish``): fields, headers
and the routing key of an event. Other consumers see a custom event.
"""

from __future__ import annotations

import os
import socket
import time
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
from celery.utils import uuid
from celery.utils.time import utcoffset

from celery_metrics_exporter.control.transport import Message
from celery_metrics_exporter.facts import PROBE

ROUTING_KEY: Final = PROBE.replace("-", ".")


def probe_of(app: Any) -> Message:
    """A new probe, for the event exchange of a ``celery.Celery``."""
    hostname = f"celery-exporter@{socket.gethostname()}"
    event = {
        "type": PROBE,
        "hostname": hostname,
        "utcoffset": utcoffset(),
        "pid": os.getpid(),
        "clock": app.clock.forward(),
        "uuid": uuid(),
        "timestamp": time.time(),
    }
    return Message(msgspec.json.encode(event).decode(), "application/json", "utf-8", {"hostname": hostname})


def reaches(routing_key: str) -> bool:
    """Whether a subscription with this routing key receives probes: over AMQP, and as a channel pattern of Redis."""
    return _matches(routing_key.split("."), ROUTING_KEY.split(".")) and fnmatchcase(
        ROUTING_KEY, routing_key.replace("#", "*")
    )


def _matches(pattern: list[str], words: list[str]) -> bool:
    """Match as a topic exchange of AMQP: ``*`` stands for one word, ``#`` for any number of words."""
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(_matches(rest, words[begin:]) for begin in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])
