"""Find the tasks of an application, and the queue that its routes give for each.

Source of the facts: ``celery/app/routes.py`` (``Router.route``), ``celery/app/amqp.py`` (``send_task_message``: the
queue in a task-sent event), ``celery/app/task.py`` (``extract_exec_options``: a task's own options).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celery.app.task import extract_exec_options
from kombu.common import Broadcast

from celery_metrics_exporter.connection.app_loading import import_tasks
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.logs import fields

log = logging.getLogger(__name__)

_OF_CELERY: Final = "celery."  # celery/worker/control.py, registered, leaves out these tasks too


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """The tasks of an application.

    Attributes:
        queues: by name of each task (without Celery's own): the queue to which ``delay()`` sends it, from the task's
            options, the routes, or the default queue. None where the queue is not known: a router depends on
            arguments or fails, the exchange does not lead to exactly one known queue, or the message goes to all
            workers.
        error: why modules with more tasks could not be imported, in one line.
    """

    queues: Mapping[str, str | None] = field(default_factory=dict)
    error: str | None = None


def plan_of(app: Any) -> TaskPlan:
    """Import the task modules of an application and evaluate its routes; connects to nothing."""
    error = import_tasks(app)
    return TaskPlan(task_queues(app), error)


def task_queues(app: Any) -> Mapping[str, str | None]:
    """By name of each task that is imported, the queue of its route, as in :class:`TaskPlan`; changes nothing."""
    # A route to a queue that is not declared adds it to the queues, and a worker without -Q consumes all of them.
    queues = copy.copy(app.amqp.queues)
    names = sorted(name for name in app.tasks if not name.startswith(_OF_CELERY))
    return {name: _queue(app, queues, name) for name in names}


def consumed_tasks(app: Any) -> Mapping[str, str | None]:
    """Those of :func:`task_queues` that the worker of this process may get, by the queues that it consumes.

    A task whose queue is not known comes from the only queue that is consumed, if there is only one.
    """
    consumed = tuple(app.amqp.queues.consume_from)
    only = consumed[0] if len(consumed) == 1 else None
    return {
        name: queue or only for name, queue in task_queues(app).items() if queue is None or queue in consumed
    }


def declared_queues(app: Any) -> tuple[str, ...]:
    """The names of the application's queues, without ``Broadcast`` queues, which each process has for itself."""
    return tuple(str(queue.name) for queue in app.amqp.queues.values() if not isinstance(queue, Broadcast))


def _queue(app: Any, queues: Any, name: str) -> str | None:
    args, kwargs = _Args(), _Kwargs()
    try:
        queue = _routed(app, queues, app.tasks[name], args, kwargs)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a router is the project's code
        log.debug("cannot evaluate a route", extra=fields(task=name, error=one_line(error)))
        return None
    if queue is None or isinstance(queue, Broadcast) or args.seen or kwargs.seen:
        return None
    return str(queue.name)


def _routed(app: Any, queues: Any, task: Any, args: object, kwargs: object) -> Any:
    """The ``kombu.Queue`` to which a message with these arguments is sent; None if it is not known."""
    options = {key: value for key, value in extract_exec_options(task).items() if value is not None}
    route = app.amqp.Router(queues).route(options, task.name, args, kwargs, task)
    exchange = route.get("exchange")
    if route.get("queue") is not None:
        return route["queue"]
    if not exchange:
        return queues[app.conf.task_default_queue]
    behind = [
        queue
        for queue in queues.values()
        if queue.exchange.name == getattr(exchange, "name", exchange)
        and queue.exchange.type == "direct"
        and queue.routing_key == route.get("routing_key")
    ]
    return behind[0] if len(behind) == 1 else None


def _watching(kind: type, *names: str, **others: object) -> Any:
    """A subclass of ``kind`` whose attribute ``seen`` becomes true when one of these methods is called."""

    def watched(name: str) -> object:
        original = getattr(kind, name)

        def method(self: Any, *args: object) -> object:
            self.seen = True
            return original(self, *args)

        return method

    return type(kind.__name__, (kind,), {"seen": False, **others, **{name: watched(name) for name in names}})


_LOOKS = ("__contains__", "__eq__", "__getitem__", "__iter__", "__len__")
#: Empty arguments that record whether a router reads them: its answer may then depend on them.
_Args = _watching(tuple, *_LOOKS, "__add__", "count", "index")
#: True, because ``Router.route`` replaces false arguments by its own.
_Kwargs = _watching(
    dict, *_LOOKS, "__or__", "copy", "get", "items", "keys", "pop", "values", __bool__=lambda _self: True
)
