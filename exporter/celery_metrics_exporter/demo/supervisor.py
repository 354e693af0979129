"""Start the demo's broker, exporter, workers and client, print figures, and stop them all in reverse order."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final, TextIO

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.config.config import Config, ListenAddress, secrets
from celery_metrics_exporter.demo.broker import start_broker
from celery_metrics_exporter.demo.children import Child, Children, python_environment
from celery_metrics_exporter.demo.console import Console, read_figures
from celery_metrics_exporter.demo.errors import DemoError
from celery_metrics_exporter.demo.shop import WORKERS
from celery_metrics_exporter.demo.stop_request import StopRequest
from celery_metrics_exporter.logs import hide
from celery_metrics_exporter.web.listening import ListenError
from celery_metrics_exporter.web.listening import listen as listen_on

_ROW_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 3.0  # for the tasks that run at the end


def supervise(
    *, duration: float | None, listen: Sequence[ListenAddress], out: TextIO, stop: StopRequest
) -> None:
    """Run the demo until `duration` seconds have passed or a stop is requested. Raises DemoError."""
    try:
        _check_addresses(listen)
        children = Children()
    except ListenError as error:
        raise DemoError(str(error)) from error
    except OSError as error:
        raise DemoError(f"cannot start: {error}") from error
    with children:
        url = start_broker(children, stop)
        if url is None or stop.asked:
            return
        config = Config(broker_url=url, listen=tuple(listen), log_level="warning")
        hide(secrets(config))
        exporter = Exporter(config)
        try:
            exporter.start()
        except ListenError as error:
            raise DemoError(str(error)) from error
        actors: list[Child] = []
        console = Console(out)
        try:
            actors += _start_actors(children, url)
            console.welcome(exporter.urls, len(WORKERS), endless=duration is None)
            _watch(children, exporter, console, duration, stop)
            console.say("Stopping the client, the workers and the broker ...")
        finally:
            children.ask_to_end(actors)
            exporter.stop()  # before the broker ends, so that it logs no lost connection
            children.stop(actors, grace=_GRACE_SECONDS, hurry=lambda: stop.asked_again)


def _check_addresses(addresses: Sequence[ListenAddress]) -> None:
    """Raise ListenError before anything is started, if an address is in use."""
    for address in addresses:
        listen_on(address).close()


def _start_actors(children: Children, url: str) -> list[Child]:
    environment = python_environment() | {"CELERY_BROKER_URL": url}
    actors = []
    for worker in WORKERS:
        command = [sys.executable, "-m", "celery_metrics_exporter.demo.worker", worker.name]
        actors.append(children.start(f"{worker.name} worker", command, environment))
    actors.append(
        children.start("client", [sys.executable, "-m", "celery_metrics_exporter.demo.client"], environment)
    )
    return actors


def _watch(
    children: Children, exporter: Exporter, console: Console, duration: float | None, stop: StopRequest
) -> None:
    start = time.monotonic()
    end = start + duration if duration is not None else float("inf")
    row_due = start + _ROW_SECONDS
    while not console.gone and time.monotonic() < end:
        if stop.wait(min(_WATCH_SECONDS, end - time.monotonic())):
            break
        ended = children.ended()
        if ended is not None:
            raise DemoError(f"the {ended.title} {ended.end()}; its last lines:", ended.last_lines())
        if time.monotonic() >= row_due:
            row_due += _ROW_SECONDS
            console.row(time.monotonic() - start, read_figures(exporter.registry))
    if time.monotonic() - row_due > 1.0 - _ROW_SECONDS:  # not within a second after the last row
        console.row(time.monotonic() - start, read_figures(exporter.registry))
