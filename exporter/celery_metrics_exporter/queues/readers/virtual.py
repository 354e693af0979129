"""The queue reader for kombu's transports without a server: memory:// and filesystem://.

Source of the facts: ``kombu/transport/virtual/base.py`` (``Channel.queue_declare``, ``get_exchanges``, ``get_table``),
``kombu/transport/memory.py`` (a queue exists from its declaration on; queues and bindings are those of this process),
``kombu/transport/filesystem.py`` (a message is a file in ``data_folder_in``, a binding is a line of
``control_folder/<exchange>.exchange``; a queue without either leaves no trace).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kombu.exceptions import ChannelError

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.labels import has_shared_label
from celery_metrics_exporter.queues.internal import is_internal

_SUFFIX: Final = ".exchange"


class VirtualReader:
    """Reads the queues of a folder, or of this process; a :class:`queues.readers.BrokerReader`."""

    def __init__(self, broker: Broker, *, accepts: Callable[[str], bool], max_queues: int) -> None:
        """See :func:`queues.readers.choosing.reader_for`."""
        self._broker = broker
        self._accepts = accepts
        self._max_queues = max_queues
        self._connection: Any = None

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues and those that are bound.

        Raises:
            OSError: a folder of the filesystem transport is missing, or may not be read.
        """
        began = time.monotonic()
        if self._connection is None:
            self._connection = self._broker.connect(heartbeat=0)
        channel = self._connection.default_channel
        folder = getattr(channel, "control_folder", None)  # of filesystem:// only
        bound = _bound(channel, folder)
        found = sorted(name for name in bound if not is_internal(name) and self._accepts(name))
        names = list(dict.fromkeys((*wanted, *sorted(found, key=has_shared_label))))[: self._max_queues]
        queues = {name: _facts(channel, name) for name in names}
        if folder is not None:  # filesystem:// answers for every name as if the queue existed
            for name, facts in queues.items():
                queues[name] = replace(facts, exists=name in bound or facts.ready > 0)
        return BrokerFacts(queues=queues, round_trip=time.monotonic() - began)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


def _bound(channel: Any, folder: Path | None) -> set[str]:
    """The names of all queues that are bound to an exchange."""
    exchanges = list(channel.get_exchanges())
    if folder is not None:  # bindings of other processes are only in the folder
        exchanges += [file.name.removesuffix(_SUFFIX) for file in folder.glob(f"*{_SUFFIX}")]
    bound: set[str] = set()
    for exchange in exchanges:
        # a table that is being written or deleted; a file that is no table
        with suppress(ChannelError, KeyError, TypeError, ValueError):
            bound.update(queue for _, _, queue in channel.get_table(exchange))
    return bound


def _facts(channel: Any, name: str) -> QueueFacts:
    try:
        ready = channel.queue_declare(name, passive=True).message_count  # passive: nothing is created
    except ChannelError:  # memory:// knows that the queue does not exist
        return QueueFacts(exists=False, ready=0)
    return QueueFacts(exists=True, ready=ready)
