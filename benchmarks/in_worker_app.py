"""The application of the workers of ``in_worker``: one task that does nothing.

``BENCH_IN_WORKER`` is a JSON object: ``broker_url``, ``metrics`` (whether workers report for themselves) and ``file``,
which gets the CPU seconds that went into events by themselves, as their threads tell.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

from celery import Celery
from celery.events.dispatcher import EventDispatcher
from celery.signals import worker_shutdown

VARIABLE: Final = "BENCH_IN_WORKER"
TASK: Final = "nothing"

_spent: Counter[str] = Counter()
_depth = 0


def _timed(owner: type[Any], name: str) -> None:
    """Add up the thread time of a method, unless it is called by one that is timed."""
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def timed(*arguments: Any, **named: Any) -> Any:
        global _depth  # noqa: PLW0603 - the methods are called by the worker's main thread alone
        _depth += 1
        began = time.thread_time()
        try:
            return original(*arguments, **named)
        finally:
            _depth -= 1
            if not _depth:
                _spent[f"{owner.__name__}.{name}"] += time.thread_time() - began

    setattr(owner, name, timed)


def _application(settings: dict[str, Any]) -> Celery:
    made = Celery("bench", broker=settings.get("broker_url"), set_as_current=False)
    made.conf.update(task_ignore_result=True, worker_prefetch_multiplier=16)
    made.task(name=TASK, shared=False)(_nothing)
    _timed(EventDispatcher, "send")
    _timed(EventDispatcher, "flush")
    if settings.get("metrics"):
        _measure_ours(made)
    worker_shutdown.connect(lambda **_: Path(settings["file"]).write_text(json.dumps(_spent)), weak=False)
    return made


def _nothing() -> None:
    pass


def _measure_ours(app: Celery) -> None:
    from celery_metrics_exporter.in_worker import install  # noqa: PLC0415 - a worker without metrics has none of it
    from celery_metrics_exporter.in_worker.eventer import Eventer  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.in_worker.identity import Identity  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.in_worker.reporter import Reporter  # noqa: PLC0415 - likewise

    install(app)
    _timed(Eventer, "send")
    _timed(Identity, "on_received")
    sweep = Reporter._sweep  # noqa: SLF001 - the function of the thread

    def timed_sweep(self: Reporter) -> None:
        sweep(self)
        _spent["Reporter._sweep"] = time.thread_time()

    Reporter._sweep = timed_sweep  # type: ignore[method-assign]  # noqa: SLF001 - to measure it


app = _application(json.loads(os.environ.get(VARIABLE, "{}")))
