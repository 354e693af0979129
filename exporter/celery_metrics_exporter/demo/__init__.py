"""Run the demo: a Valkey server, Celery workers, a client that sends tasks, and the exporter watching them.

`supervisor` starts and stops the parts: `broker` (the server), `shop` (the application), `worker` and `client` (child
processes), `children` and `sweeper` (start and end child processes) and `console` (prints). Worker processes import
this package too, so it imports the exporter only when the demo runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.demo.errors import DemoError
from celery_metrics_exporter.demo.stop_request import StopRequest

__all__ = ("run_demo",)


def run_demo(*, duration: float | None, listen: Sequence[ListenAddress], out: TextIO | None = None) -> int:
    """Run the demo for `duration` seconds (None: until SIGINT, SIGTERM or SIGHUP) and return the exit code.

    Serves on `listen`. Writes addresses and live figures to `out` (None: standard output), errors to standard error.
    Call it from the main thread, because it handles signals. When it returns, all its processes and files are gone.
    """
    if os.name != "posix":
        return _fail("the demo needs Linux or macOS: Celery's prefork pool does not run on other systems")
    screen = out or sys.stdout
    with StopRequest() as stop:
        if screen.isatty():  # the first output comes after two seconds
            with suppress(OSError):
                print("Starting a broker, workers and a client ...", file=screen, flush=True)
        from celery_metrics_exporter.demo.supervisor import supervise  # noqa: PLC0415 - see the module's docstring

        try:
            supervise(duration=duration, listen=listen, out=screen, stop=stop)
        except DemoError as error:
            return _fail(str(error), error.details)
    return 0


def _fail(message: str, details: str = "") -> int:
    sys.stderr.write(f"celery-exporter: error: {message}\n{details}")
    return 1
