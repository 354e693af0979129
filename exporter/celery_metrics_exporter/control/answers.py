"""Decode the answers of workers into facts, and refuse what no worker would send.

Everybody who may publish to the broker can send us an answer.

Source of the facts: ``kombu/pidbox.py`` (``Node.dispatch``: an answer is ``{nodename: value}``, or
``{nodename: {"error": text}}``), ``celery/worker/worker.py`` (``stats``), ``celery/concurrency/`` (``_get_info`` of
each pool) and ``celery/worker/control.py`` (``active_queues``, ``enable_events``, ``registered``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from celery_metrics_exporter.control.commands import ACTIVE_QUEUES, ENABLE_EVENTS, STATS
from celery_metrics_exporter.facts import Binding, WorkerFacts

#: The size of a pool, or a prefetch limit.
_Number = Annotated[int, Meta(ge=0, le=10_000_000)]
_Name = Annotated[str, Meta(min_length=1, max_length=255)]
_Answer = Annotated[dict[_Name, Any], Meta(min_length=1, max_length=1)]


class _Pool(Struct, frozen=True, gc=False):
    max_concurrency: _Number | None = msgspec.field(default=None, name="max-concurrency")
    processes: list[int] | None = None  # prefork and solo only


class _Stats(Struct, frozen=True, gc=False):
    pool: _Pool | str | None = None
    prefetch_count: _Number | str | None = None  # "N/A" while the worker connects


class _Queue(Struct, frozen=True, gc=False):
    name: _Name


_Key = Annotated[str, Meta(max_length=255)]


class _Exchange(Struct, frozen=True, gc=False):
    name: _Name
    type: _Key | None = None


class _Bound(Struct, frozen=True, gc=False):
    exchange: _Exchange | None = None
    routing_key: _Key | None = None


class _BoundQueue(_Bound, frozen=True, gc=False):
    name: _Name = ""
    bindings: Annotated[list[_Bound], Meta(max_length=100)] = []


#: Bindings of one worker that are read.
_MAX_BINDINGS: Final = 1_000

_Queues = Annotated[list[_Queue], Meta(max_length=10_000)]


class _Done(Struct, frozen=True, gc=False):
    ok: str


_Tasks = Annotated[list[Annotated[str, Meta(min_length=1, max_length=10_000)]], Meta(max_length=100_000)]


def facts_of(command: str, answer: Any) -> WorkerFacts:
    """Decode the deserialized answer to a command.

    Raises:
        msgspec.ValidationError: it is not an answer to this command, or it reports an error.
    """
    ((worker, value),) = msgspec.convert(answer, _Answer).items()
    return _READERS[command](_printable(worker), value)


def tasks_in(answer: Any) -> tuple[str, frozenset[str]]:
    """The worker and the names of its registered tasks, from its answer to ``registered``.

    The answer can hold settings behind a name, as in ``mail.send [rate_limit=10/m]``. Raises as :func:`facts_of`.
    """
    ((worker, value),) = msgspec.convert(answer, _Answer).items()
    return _printable(worker), frozenset(entry.partition(" [")[0] for entry in msgspec.convert(value, _Tasks))


def _stats(worker: str, value: Any) -> WorkerFacts:
    stats = msgspec.convert(value, _Stats)
    pool_size = None
    if isinstance(stats.pool, _Pool):
        # For prefork max-concurrency is the initial size; autoscaling and pool_grow change the number of processes.
        pool_size = len(stats.pool.processes or ()) or stats.pool.max_concurrency
    limit = stats.prefetch_count if isinstance(stats.prefetch_count, int) else None
    return WorkerFacts(worker, pool_size=pool_size, prefetch_limit=limit)


def _active_queues(worker: str, value: Any) -> WorkerFacts:
    queues = msgspec.convert(value, _Queues)
    return WorkerFacts(
        worker,
        queues=tuple(dict.fromkeys(_printable(queue.name) for queue in queues)),
        bindings=tuple(islice(chain.from_iterable(map(_bindings, value)), _MAX_BINDINGS)),
    )


def _bindings(value: Any) -> Iterator[Binding]:
    """The bindings of one queue (``kombu/entity.py``, ``Queue.as_dict``); none if they cannot be read."""
    with suppress(msgspec.ValidationError):
        queue = msgspec.convert(value, _BoundQueue)
        for bound in (queue, *queue.bindings):
            if bound.exchange is not None:
                yield Binding(
                    queue.name, bound.exchange.name, bound.exchange.type or "direct", bound.routing_key or ""
                )


def _enable_events(worker: str, value: Any) -> WorkerFacts:
    done = msgspec.convert(value, _Done)  # "task events enabled" or "task events already enabled"
    return WorkerFacts(worker, events_enabled=True, events_were_on="already" in done.ok)


def _printable(name: str) -> str:
    if not name.isprintable():
        raise msgspec.ValidationError("a name with control characters")
    return name


_READERS: Final[dict[str, Callable[[str, Any], WorkerFacts]]] = {
    STATS: _stats,
    ACTIVE_QUEUES: _active_queues,
    ENABLE_EVENTS: _enable_events,
}
