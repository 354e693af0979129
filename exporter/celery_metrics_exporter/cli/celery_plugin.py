"""`celery -A proj exporter`: an exporter with the options of Celery's own command line and ours.

Source of the facts: ``celery/bin/celery.py`` (the options of the group; -b is handed down as CELERY_BROKER_URL;
``preload_options`` are added to ``params``, and ``callback`` is wrapped to deliver them).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import click
from click.core import ParameterSource

from celery_metrics_exporter.cli.commands import Command, unknown_variables, usage_line
from celery_metrics_exporter.cli.launch import EXIT_USAGE, EarlySignals, fail, launch, open_standard_streams
from celery_metrics_exporter.cli.main import commands
from celery_metrics_exporter.cli.options import check_option, run_options, version_option
from celery_metrics_exporter.cli.settings import ENV_PREFIX, config_from
from celery_metrics_exporter.connection.versions import deliver_preload_options
from celery_metrics_exporter.errors import ConfigError

_PROGRAM: Final = "celery exporter"


class ExporterCommand(Command):
    """The command in full, for ``entry``: the command that Celery knows, with what Celery added to it."""

    def __init__(self, entry: click.Command) -> None:
        super().__init__(
            str(entry.name),
            lambda ctx: int(ctx.invoke(entry.callback, **ctx.params)) if entry.callback else 0,
            summary=entry.short_help or "",
            details="The application is the one of celery -A; its settings are the defaults of these options. "
            "A flag beats its environment variable.",
            sections=run_options(),
            others=[check_option(), version_option(), *entry.params],
        )

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments."""
        # Else click would read variables for --help and --version too, by the prefix that celery sets.
        extra["auto_envvar_prefix"] = ENV_PREFIX
        with _one_line_for_bad_usage():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> int:
        """Run the command and exit."""
        with _one_line_for_bad_usage():
            code = super().invoke(ctx)
        ctx.exit(code)


def run(ctx: click.Context) -> int:
    """Run an exporter with these parsed options until it is told to stop; returns the exit code."""
    open_standard_streams()
    signals = EarlySignals()
    deliver_preload_options(ctx.obj.app, ctx.params)
    name, app = _application(ctx)
    config = config_from(ctx, app=name)
    url = _celerys_broker(ctx)
    return launch(
        config if url is None else replace(config, broker_url=url),
        signals,
        program=_PROGRAM,
        unknown=unknown_variables(commands()),
        check_only=bool(ctx.params["check_config"]),
        app=app,
    )


def _application(ctx: click.Context) -> tuple[str | None, Any]:
    """The name of the application and, unless we have to load it ourselves, the application.

    Our own --app is nearest, then celery's -A, then our variable for --app, then celery's default application, whose
    settings are those of `celery --config` or of a module celeryconfig.
    """
    source = ctx.get_parameter_source("app")
    given = None if ctx.parent is None else ctx.parent.params.get("app")
    if source is ParameterSource.COMMANDLINE or (given is None and source is not ParameterSource.DEFAULT):
        return None, None
    app = ctx.obj.app
    return (given if isinstance(given, str) else str(getattr(app, "main", None) or "default")), app


def _celerys_broker(ctx: click.Context) -> str | None:
    """The URL of `celery -b`, which is nearer than our variables, but not than our own options."""
    ours = {ctx.get_parameter_source(name) for name in ("broker_url", "broker_url_file")}
    if ParameterSource.COMMANDLINE in ours or ctx.parent is None:
        return None
    if ctx.parent.get_parameter_source("broker") is not ParameterSource.COMMANDLINE:
        return None
    return str(ctx.parent.params["broker"]).strip()


@contextmanager
def _one_line_for_bad_usage() -> Iterator[None]:
    """Exit as `celery-exporter` does: with one line and exit code 2."""
    try:
        yield
    except (click.UsageError, ConfigError) as error:
        code = fail(_PROGRAM, usage_line(error, commands()), EXIT_USAGE)
        raise click.exceptions.Exit(code) from None
