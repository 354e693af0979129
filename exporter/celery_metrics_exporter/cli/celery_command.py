"""The command `celery exporter`, as Celery's entry point ``celery.commands`` loads it at every start of `celery`.

A failure here must never stop a worker. Celery shows a warning in place of a command that raised an exception while it
was loaded (``with_plugins`` of click-plugins, in ``celery/bin/celery.py`` of Celery 5.3 to 5.7), and nothing but the
standard library and click, which celery needs itself, is imported before the command is called.
"""

from __future__ import annotations

import traceback
from types import ModuleType
from typing import Any

import click


class _ImportedWhenCalled(click.Command):
    """Stands for the command until it is called; only then the exporter is imported."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        command: click.Command = _plugin().ExporterCommand(self)
        return command.make_context(info_name, args, parent, **extra)


def _run(**_: object) -> int:
    code: int = _plugin().run(click.get_current_context())
    return code


def _plugin() -> ModuleType:
    """Import what the command does, or end in one line that says what is broken."""
    try:
        from celery_metrics_exporter.cli import celery_plugin  # noqa: PLC0415 - see the module's docstring
    except Exception as error:  # noqa: BLE001 - a broken dependency may raise anything
        click.echo(f"celery exporter: error: {' '.join(loading_failure(error).split())}", err=True)
        raise click.exceptions.Exit(1) from None
    return celery_plugin


def loading_failure(error: Exception) -> str:
    """One line that names the error of an import of the exporter, where it was raised and what to do."""
    missing = f"install {error.name}, or " if isinstance(error, ModuleNotFoundError) else ""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f" in {frame.filename}, line {frame.lineno}" for frame in frames if frame.filename[:1] != "<"]
    return (
        f"the exporter cannot be imported: {type(error).__name__}: {error}{places[-1] if places else ''}: "
        f"{missing}reinstall the package that this file belongs to"
    )


exporter = _ImportedWhenCalled(
    "exporter", callback=_run, short_help="Listen to the broker's events and serve metrics."
)
