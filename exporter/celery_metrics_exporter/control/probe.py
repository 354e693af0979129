"""The event that we send to ourselves: whoever receives events has to receive it too.

Owns: what it looks like, and which subscriptions it reaches. Must not know: why it is sent, who receives it.

Source of the facts: ``celery/events/dispatcher.py`` (``EventDispatcher._prepare_event``, ``_publish``): fields, headers
and the routing key of an event. Other consumers take it for a custom event.
"""

from __future__ import annotations

import os
import socket
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from celery.utils import uuid
from celery.utils.time import utcoffset

from celery_metrics_exporter.control.post import Letter
from celery_metrics_exporter.facts import PROBE

if TYPE_CHECKING:
    from celery_metrics_exporter.control.post import Post

ROUTING_KEY: Final = PROBE.replace("-", ".")


class Probed(Protocol):
    """Is told what became of a probe; called by the thread that sends."""

    def published(self) -> None:
        """The broker has it."""

    def refused(self) -> None:
        """The broker does not let us, or it would not come back with this kind of broker."""

    def failed(self) -> None:
        """The broker cannot be reached, or does not answer."""


def send_through(post: Post, app: Any) -> bool:
    """Send one to the event exchange of a ``celery.Celery``; returns whether it can come back."""
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
    letter = Letter(msgspec.json.encode(event).decode(), "application/json", "utf-8")
    return post.send_event(letter, app.conf.event_exchange, ROUTING_KEY, {"hostname": hostname})


def reaches(routing_key: str) -> bool:
    """Whether a probe reaches a subscription with this routing key: on AMQP, and as a channel pattern on Redis."""
    return _matches(routing_key.split("."), ROUTING_KEY.split(".")) and fnmatchcase(
        ROUTING_KEY, routing_key.replace("#", "*")
    )


def _matches(pattern: list[str], words: list[str]) -> bool:
    """As a topic exchange of AMQP compares: ``*`` stands for one word, ``#`` for any number of them."""
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(_matches(rest, words[begin:]) for begin in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])
