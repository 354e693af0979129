"""Load the user's Celery application, and import its task modules; a project may raise anything on import.

Source of the facts: ``celery/app/utils.py`` (``find_app``), ``celery/loaders/base.py`` (``import_default_modules``: the
modules that a worker imports, from the settings ``imports`` and ``include`` and from ``autodiscover_tasks``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from celery import Celery
from celery.app.utils import find_app

from celery_metrics_exporter.config.broker_url import masked_text
from celery_metrics_exporter.errors import ConfigError, one_line

_EXAMPLE: Final = "write it like project.celery:app"


def load_app(name: str) -> Any:
    """Load the application as `celery -A` does, and read its settings. Raises ConfigError."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    app, error = _tried(lambda: find_app(name))
    if error is not None:
        module, _, attribute = name.partition(":")
        if attribute and module in sys.modules and not hasattr(sys.modules[module], attribute):
            error = f"{module} has no attribute {attribute}"  # Celery says that there is no such module
        raise ConfigError(
            f"--app {name} cannot be loaded ({error}): {_EXAMPLE}, "
            "and start the exporter where the project can be imported"
        )
    return checked_app(app, name)


def checked_app(app: Any, name: str) -> Any:
    """Return the application if it is one and its settings can be read. Raises ConfigError."""
    if not isinstance(app, Celery):
        kind = type(app).__name__
        hint = "; Celery does not call a function that makes one" if callable(app) else ""
        raise ConfigError(f"--app {name} is not a Celery application but a {kind}: {_EXAMPLE}{hint}")
    _, error = _tried(lambda: str(app.conf.broker_url))  # this reads the settings
    if error is not None:
        raise ConfigError(f"--app {name}: its settings cannot be read ({error})")
    return app


def import_tasks(app: Any) -> str | None:
    """Import the modules that a worker of this application would; returns the error in one line, if there is one."""
    return _tried(lambda: (app.loader.import_default_modules(), app.finalize()))[1]


def _tried(call: Callable[[], Any]) -> tuple[Any, str | None]:
    """Run a project's code, and return what it returned; and its error in one line, as it may raise anything."""
    try:
        with redirect_stdout(sys.stderr):  # what a project prints is not part of our output
            return call(), None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - see above
        return None, masked_text(one_line(error))
