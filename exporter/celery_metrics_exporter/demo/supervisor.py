"""Start the demo's broker, exporter, workers and client, print figures, and stop them all in reverse order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.config.config import Config, ListenAddress, secrets
from celery_metrics_exporter.demo.broker import start_broker
from celery_metrics_exporter.demo.children import Child, Children, DemoError, python_environment
from celery_metrics_exporter.demo.console import Console
from celery_metrics_exporter.demo.shop import WORKERS
from celery_metrics_exporter.demo.stop_request import StopRequest
from celery_metrics_exporter.logs import hide
from celery_metrics_exporter.web.listening import ListenError

_ROW_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 3.0  # for the tasks that run at the end
_POLL_SECONDS: Final = 0.05


def run_demo(*, duration: float | None, listen: Sequence[ListenAddress]) -> None:
    """Run the demo for `duration` seconds (None: until SIGINT, SIGTERM or SIGHUP), serving on `listen`.

    Call it from the main thread, because it handles signals. When it returns, all its processes and files are gone.
    Raises DemoError, and BrokenPipeError when nobody reads standard output any more.
    """
    if os.name != "posix":
        raise DemoError("the demo needs Linux or macOS: Celery's prefork pool does not run on other systems")
    stop = StopRequest()
    try:
        children = Children()
    except OSError as error:
        raise DemoError(f"cannot start: {error}") from error
    with children:
        url = start_broker(children, stop)
        if url is None or stop.count:
            return
        config = Config(broker_url=url, listen=tuple(listen))
        hide(secrets(config))
        exporter = Exporter(config)
        try:
            exporter.start()
        except ListenError as error:
            raise DemoError(str(error)) from error
        actors: list[Child] = []
        console = Console(exporter.registry, sys.stdout)
        try:
            actors.extend(_start(children, url, f"{name} worker", "worker", name) for name in WORKERS)
            actors.append(_start(children, url, "client", "client"))
            console.welcome(exporter.urls, len(WORKERS), endless=duration is None)
            _watch(children, console, duration, stop)
            console.say("Stopping the client, the workers and the broker ...")
        finally:
            for actor in actors:
                actor.process.terminate()  # the pool of a worker continues the tasks that run
            exporter.stop()  # before the broker ends, so that it logs no lost connection
            _wait_for_end(actors, stop)


def _start(children: Children, url: str, title: str, module: str, *arguments: str) -> Child:
    command = [sys.executable, "-m", f"celery_metrics_exporter.demo.{module}", *arguments]
    return children.start(title, command, python_environment() | {"CELERY_BROKER_URL": url})


def _watch(children: Children, console: Console, duration: float | None, stop: StopRequest) -> None:
    start = time.monotonic()
    end = start + duration if duration is not None else float("inf")
    row_due = start + _ROW_SECONDS
    while time.monotonic() < end and not stop.wait(min(_WATCH_SECONDS, end - time.monotonic())):
        children.raise_if_ended()
        if time.monotonic() >= row_due:
            row_due += _ROW_SECONDS
            console.row(time.monotonic() - start)
    if time.monotonic() - row_due > 1.0 - _ROW_SECONDS:  # not within a second after the last row
        console.row(time.monotonic() - start)


def _wait_for_end(actors: Sequence[Child], stop: StopRequest) -> None:
    """Wait until the actors have ended, the time is up or the user asks again."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(actor.process.poll() is None for actor in actors):
        if time.monotonic() > deadline or stop.count > 1:
            break
        time.sleep(_POLL_SECONDS)
