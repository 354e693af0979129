"""`celery -A proj exporter`: the exporter as a command of Celery's own command line (entry point ``celery.commands``).

Owns: how Celery's options and ours come together. Must not do anything at import: every `celery` command loads this
module, and shows a warning if that fails. What takes time is imported by the one command that needs it.

Source of the facts: ``celery/bin/celery.py`` (the options of the group; -b is handed down as CELERY_BROKER_URL;
``preload_options`` are added to ``params``, and ``callback`` is wrapped to deliver them).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "exporter"
_COMMAND = "celery_metrics_exporter.cli.celery_command"  # where a context keeps the command that parsed it


class _Exporter(click.Command):
    """Stands for the command until it is called for; only then its options are made."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        command = self._command()
        # Else click would read variables for --help and --version too, by the prefix that celery sets.
        extra["auto_envvar_prefix"] = "CELERY_EXPORTER_"
        with _refusals():
            ctx = command.make_context(info_name, args, parent, **extra)
        if not ctx.resilient_parsing:  # a shell that completes words asks the real command for its options
            ctx.meta[_COMMAND] = command
            ctx.command = self
        return ctx

    def invoke(self, ctx: click.Context) -> None:
        with _refusals():
            code = ctx.meta[_COMMAND].invoke(ctx)
        ctx.exit(code)

    def _command(self) -> click.Command:
        from celery_metrics_exporter import __version__  # noqa: PLC0415 - see the module's docstring
        from celery_metrics_exporter.cli.commands import Command  # noqa: PLC0415 - see the module's docstring
        from celery_metrics_exporter.cli.options import check_option, run_options, version_option  # noqa: PLC0415 - likewise

        return Command(
            _NAME,
            lambda ctx: int(ctx.invoke(self.callback, **ctx.params)) if self.callback else 0,
            summary=self.short_help or "",
            details="The application is the one of celery -A; its settings are the defaults of these options. "
            "A flag beats its environment variable.",
            sections=run_options(),
            others=[check_option(), version_option(__version__), *self.params],
        )


def _run(**_: object) -> int:
    from celery_metrics_exporter.cli.commands import unknown_variables  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.cli.launch import End, launch  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.cli.main import commands  # noqa: PLC0415 - see the module's docstring
    from celery_metrics_exporter.cli.option_types import ENV_PREFIX  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.cli.options import config_from  # noqa: PLC0415 - likewise

    end = End()
    end.install()
    ctx = click.get_current_context()
    name, app = _application(ctx)
    config = config_from(ctx, os.environ, app=name)
    url = _celerys_broker(ctx)
    return launch(
        config if url is None else replace(config, broker_url=url),
        end,
        program=f"celery {_NAME}",
        unknown=unknown_variables(os.environ, commands(), ENV_PREFIX),
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
def _refusals() -> Iterator[None]:
    """What is used wrongly ends the program as it does in `celery-exporter`: with one line and exit code 2."""
    from celery_metrics_exporter.cli.commands import usage_line  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.cli.launch import BAD_USAGE, fail  # noqa: PLC0415 - likewise
    from celery_metrics_exporter.cli.main import commands  # noqa: PLC0415 - see the module's docstring
    from celery_metrics_exporter.errors import ConfigError  # noqa: PLC0415 - likewise

    try:
        yield
    except click.UsageError as error:
        raise click.exceptions.Exit(
            fail(f"celery {_NAME}", usage_line(error, commands()), BAD_USAGE)
        ) from None
    except ConfigError as error:
        raise click.exceptions.Exit(fail(f"celery {_NAME}", str(error), BAD_USAGE)) from None


exporter = _Exporter(_NAME, callback=_run, short_help="Listen to the broker's events and serve metrics.")
