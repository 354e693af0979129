"""A living Celery on this machine to look at: a Valkey server, workers, a client, and the exporter watching them.

Owns the demo's entry point and how it ends. The parts stand in files of their own: `broker` (the server), `shop` (the
application), `worker` and `client` (what the child processes run), `children` and `sweeper` (their lives), `console`
(what is printed) and `supervisor` (the order of it all). Worker processes import this package too, so it must stay
light: what imports the exporter is imported late.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.demo.errors import DemoError
from celery_metrics_exporter.demo.stopping import StopRequest

__all__ = ("run_demo",)


def run_demo(*, duration: float | None, listen: Sequence[ListenAddress], out: TextIO | None = None) -> int:
    """Run the demo for `duration` seconds (None: until SIGINT, SIGTERM or SIGHUP) and return the exit code.

    Serves on `listen`, writes what to open and live figures to `out` (standard output when None) and problems to
    standard error. Must be called from the main thread, since it handles signals. When it returns, every process and
    file that it made is gone.
    """
    if os.name != "posix":
        return _fail("the demo needs a POSIX system (Linux, macOS): Celery's prefork pool runs nowhere else")
    screen = out or sys.stdout
    with StopRequest() as stop:
        if screen.isatty():  # nothing else is seen for two seconds
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
