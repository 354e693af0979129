"""The user's Celery application: found by its name, or given, and its task modules imported.

Owns: whatever a project may do while it is imported. Must not know: brokers, events, metrics.

Source of the facts: ``celery/app/utils.py`` (``find_app``), ``celery/loaders/base.py`` (``import_default_modules``,
what a worker imports: the settings ``imports`` and ``include``, and what ``autodiscover_tasks`` asked for).
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from celery_metrics_exporter.config.broker_url import masked_text
from celery_metrics_exporter.errors import ConfigError, one_line

_EXAMPLE = "write it like project.celery:app"


def load_app(name: str) -> Any:
    """Find the application as `celery -A` does, and read its settings. Raises ConfigError."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):  # what a project prints is no part of our output
            app = find_app(name)
    except (Exception, SystemExit) as error:  # a project may raise anything while it is imported
        raise ConfigError(
            f"--app {name} cannot be loaded ({_reason(error)}): {_EXAMPLE}, "
            "and start where the project can be imported"
        ) from error
    return checked_app(app, name)


def checked_app(app: Any, name: str) -> Any:
    """The application, once it is known that it is one, and that its settings can be read. Raises ConfigError."""
    if not isinstance(app, Celery):
        kind = type(app).__name__
        hint = "; give one that a module has made, Celery calls no function" if callable(app) else ""
        raise ConfigError(f"--app {name} is no Celery application but a {kind}: {_EXAMPLE}{hint}")
    try:
        with redirect_stdout(sys.stderr):
            str(app.conf.broker_url)  # the settings are read, and may fail, only now
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"--app {name} cannot be loaded ({_reason(error)}): its settings cannot be read"
        ) from error
    return app


def import_tasks(app: Any) -> str | None:
    """Import the modules that a worker of this application would; returns what went wrong, in one line."""
    try:
        with redirect_stdout(sys.stderr):
            app.loader.import_default_modules()
            app.finalize()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        return _reason(error)
    return None


def _reason(error: BaseException) -> str:
    return masked_text(one_line(error))
