"""The application of the workers of ``in_worker``: one task that does nothing.

``BENCH_IN_WORKER`` is a JSON object: ``broker_url``, ``metrics`` (whether workers report for themselves) and ``file``,
which gets thread times in seconds: of ``tasks``, what their events cost; of ``looks``, what goes on whatever the tasks
are; and ``life``, the seconds for which the worker ran.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import local
from typing import Any, Final

from celery import Celery
from celery.events.dispatcher import EventDispatcher
from celery.signals import worker_shutdown

VARIABLE: Final = "BENCH_IN_WORKER"
TASK: Final = "nothing"

#: Seconds of thread time: by what they went into, see :data:`SPENT`.
_spent: defaultdict[str, float] = defaultdict(float)
_within = local()


def _timed(owner: type[Any], name: str, into: str = "tasks") -> None:
    """Add up the thread time of a method, unless it is called by one that is timed."""
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def timed(*arguments: Any, **named: Any) -> Any:
        if getattr(_within, "one", False):
            return original(*arguments, **named)
        _within.one = True
        began = time.thread_time()
        try:
            return original(*arguments, **named)
        finally:
            _spent[into] += time.thread_time() - began
            _within.one = False

    setattr(owner, name, timed)


def _application(settings: dict[str, Any]) -> Celery:
    made = Celery("bench", broker=settings.get("broker_url"), set_as_current=False)
    made.conf.update(task_ignore_result=True, worker_prefetch_multiplier=16)
    made.task(name=TASK, shared=False)(_nothing)
    _timed(EventDispatcher, "send")
    _timed(EventDispatcher, "flush")
    if settings.get("metrics"):
        _measure_ours(made)
    began = time.monotonic()
    worker_shutdown.connect(
        lambda **_: Path(settings["file"]).write_text(
            json.dumps({**_spent, "life": time.monotonic() - began})
        ),
        weak=False,
    )
    return made


def _nothing() -> None:
    pass


def _measure_ours(app: Celery) -> None:
    from celery_metrics_exporter.events.dispatch import Dispatcher  # noqa: PLC0415 - a worker without has none of it
    from celery_metrics_exporter.in_worker import install  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.in_worker.eventer import Eventer  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.in_worker.feed import Feed  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.in_worker.identity import Identity  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.in_worker.reporter import Reporter  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.status_page.survey import Survey  # noqa: PLC0415 - likewise

    install(app)
    _timed(Eventer, "send")
    _timed(Identity, "on_received")
    _timed(Feed, "flush")
    _timed(Dispatcher, "sweep", "looks")
    _timed(Reporter, "_look_at", "looks")
    _timed(Survey, "sweep", "looks")


app = _application(json.loads(os.environ.get(VARIABLE, "{}")))
