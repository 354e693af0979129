"""Which queues are Celery's own: what it talks to itself through, never work that waits.

Owns: that one question, for every broker. Must not know: a broker, events, metrics.

Source of the facts: ``celery/events/receiver.py`` (``EventReceiver``: prefix ``celeryev``), ``kombu/pidbox.py``
(``Mailbox``: a mailbox for each worker and a reply queue for each asker), ``celery/backends/rpc.py`` (``RPCBackend``:
results come back through a queue that is named by a bare UUID), ``kombu/transport/native_delayed_delivery.py``
(``level_name``; an application may put a prefix before it).
"""

from __future__ import annotations

import re
from typing import Final

_INTERNAL: Final = re.compile(
    r"celeryev(\..*)?"
    r"|.*\.pidbox"
    r"|(.+_)?celery_delayed_(\d+|delivery)"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.DOTALL,
)


def is_internal(name: str) -> bool:
    """Whether this queue (or exchange) carries events, remote control, replies, results or delays, not tasks."""
    return _INTERNAL.fullmatch(name) is not None
