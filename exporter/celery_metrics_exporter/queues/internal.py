"""Tell Celery's own queues, such as those of events and remote control, from queues of tasks.

Source of the facts: ``celery/events/receiver.py`` (``EventReceiver``: prefix ``celeryev``), ``kombu/pidbox.py``
(``Mailbox``: a mailbox for each worker and a reply queue for each client), ``celery/backends/rpc.py`` (``RPCBackend``:
results return through a queue whose name is a UUID), ``kombu/transport/native_delayed_delivery.py`` (``level_name``; an
application may put a prefix before it).
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
