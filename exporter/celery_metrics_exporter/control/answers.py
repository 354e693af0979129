"""Decode the answers of workers into facts, and leave out what no worker would send.

Everybody who may publish to the broker can send us an answer. Names are kept as they are, to be compared with those of
events and brokers; who shows one cleans it. What is odd in an answer costs only itself.

Source of the facts: ``kombu/pidbox.py`` (``Node.dispatch``: an answer is ``{nodename: value}``, or
``{nodename: {"error": text}}``), ``celery/worker/worker.py`` (``stats``), ``celery/concurrency/`` (``_get_info`` of
each pool) and ``celery/worker/control.py`` (``active_queues``, ``enable_events``, ``registered``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from celery_metrics_exporter.control.commands import ACTIVE_QUEUES, ENABLE_EVENTS, STATS
from celery_metrics_exporter.facts import Binding, WorkerFacts
from celery_metrics_exporter.labels import clean

#: Longest name that is kept, as in events.
MAX_NAME: Final = 500
#: Most queues that are kept of an answer ...
MAX_QUEUES: Final = 10_000
#: ... and most of their bindings.
_MAX_BINDINGS: Final = 1_000

KindT = TypeVar("KindT")

#: The size of a pool, or a prefetch limit.
_Number = Annotated[int, Meta(ge=0, le=10_000_000)]
_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Key = Annotated[str, Meta(max_length=255)]
_Answer = Annotated[dict[_Name, Any], Meta(min_length=1, max_length=1)]


class _Stats(Struct, frozen=True, gc=False):
    pool: Any = None
    prefetch_count: Any = None  # "N/A" while the worker connects


class _Pool(Struct, frozen=True, gc=False):
    size: Any = msgspec.field(default=None, name="max-concurrency")
    processes: Any = None  # prefork and solo only


class _Exchange(Struct, frozen=True, gc=False):
    name: _Name
    type: _Key | None = None


class _Bound(Struct, frozen=True, gc=False):
    exchange: _Exchange | None = None
    routing_key: _Key | None = None


class _Queue(_Bound, frozen=True, gc=False):
    name: _Name = ""
    bindings: Annotated[list[_Bound], Meta(max_length=100)] = []


class _Done(Struct, frozen=True, gc=False):
    ok: str


_Tasks = Annotated[list[Any], Meta(max_length=100_000)]


def facts_of(command: str, answer: Any) -> WorkerFacts:
    """Decode the deserialized answer to a command.

    Raises:
        msgspec.ValidationError: it is not an answer to this command, or it reports an error.
    """
    ((worker, value),) = msgspec.convert(answer, _Answer).items()
    return _READERS[command](worker, value)


def tasks_in(answer: Any) -> tuple[str, frozenset[str]]:
    """The worker and the names of its registered tasks, from its answer to ``registered``, as labels show them.

    The answer can hold settings behind a name, as in ``mail.send [rate_limit=10/m]``. Raises as :func:`facts_of`.
    """
    ((worker, value),) = msgspec.convert(answer, _Answer).items()
    names = _names(msgspec.convert(value, _Tasks))
    return clean(worker), frozenset(clean(name.partition(" [")[0]) for name in names)


def _stats(worker: str, value: Any) -> WorkerFacts:
    stats = msgspec.convert(value, _Stats)
    pool = _valid(stats.pool, _Pool)
    pool_size = None
    if pool is not None:
        # For prefork max-concurrency is the initial size; autoscaling and pool_grow change the number of processes.
        pool_size = len(_valid(pool.processes, list[int]) or ()) or _valid(pool.size, _Number)
    limit = _valid(stats.prefetch_count, _Number)
    if pool_size is limit is None and any(
        each not in (None, "N/A") for each in (stats.pool, stats.prefetch_count)
    ):
        raise msgspec.ValidationError("neither a pool nor a prefetch limit")
    return WorkerFacts(worker, pool_size=pool_size, prefetch_limit=limit)


def _active_queues(worker: str, value: Any) -> WorkerFacts:
    entries = msgspec.convert(value, list[Any])
    names = _names(entry.get("name") for entry in entries if isinstance(entry, dict))
    return WorkerFacts(
        worker,
        queues=tuple(dict.fromkeys(names))[:MAX_QUEUES],
        bindings=tuple(islice(chain.from_iterable(map(_bindings, entries)), _MAX_BINDINGS)),
    )


def _bindings(entry: Any) -> Iterator[Binding]:
    """The bindings of one queue (``kombu/entity.py``, ``Queue.as_dict``); none if they cannot be read."""
    with suppress(msgspec.ValidationError):
        queue = msgspec.convert(entry, _Queue)
        for bound in (queue, *queue.bindings):
            if bound.exchange is not None:
                yield Binding(
                    queue.name, bound.exchange.name, bound.exchange.type or "direct", bound.routing_key or ""
                )


def _enable_events(worker: str, value: Any) -> WorkerFacts:
    done = msgspec.convert(value, _Done)  # "task events enabled" or "task events already enabled"
    return WorkerFacts(worker, events_enabled=True, events_were_on="already" in done.ok)


def _names(values: Iterable[Any]) -> Iterator[str]:
    return (value[:MAX_NAME] for value in values if isinstance(value, str) and value)


def _valid(value: Any, kind: type[KindT]) -> KindT | None:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


_READERS: Final[dict[str, Callable[[str, Any], WorkerFacts]]] = {
    STATS: _stats,
    ACTIVE_QUEUES: _active_queues,
    ENABLE_EVENTS: _enable_events,
}
