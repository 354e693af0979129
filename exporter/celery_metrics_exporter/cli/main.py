"""The command line `celery-exporter`: its commands (`run` is the default) and their exit codes.

0 for a clean end, also by SIGTERM and Ctrl-C, except for the doctor: an interrupted examination has no result (130).
1 for a failure that is nobody's bad usage, such as a port in use, or a check that failed; 2 for bad usage. An error is
one line on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click
from click.shell_completion import shell_complete

from celery_metrics_exporter import logs
from celery_metrics_exporter.cli.celery_command import loading_failure
from celery_metrics_exporter.cli.commands import Command, Commands, unknown_variables, usage_line
from celery_metrics_exporter.cli.launch import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    EarlySignals,
    fail,
    launch,
    open_standard_streams,
)
from celery_metrics_exporter.cli.options import (
    DURATION,
    check_option,
    doctor_options,
    listen_option,
    run_options,
    version_option,
    web_config_option,
)
from celery_metrics_exporter.cli.settings import choice, config_from, option
from celery_metrics_exporter.config.config import secrets
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.redaction import Redaction

_SHELLS: Final = ("bash", "zsh", "fish")
_NAME: Final = "celery-exporter"
_COMPLETE: Final = "_CELERY_EXPORTER_COMPLETE"  # where a shell says what it wants, as click's scripts do


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own arguments) and return the exit code."""
    open_standard_streams()
    signals = EarlySignals()
    tree = commands()
    if wanted := os.environ.get(_COMPLETE):
        return shell_complete(tree, {}, _NAME, _COMPLETE, wanted)
    try:
        with tree.make_context(_NAME, list(sys.argv[1:] if argv is None else argv), obj=signals) as ctx:
            code: int = tree.invoke(ctx)
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.UsageError, ConfigError) as error:
        return fail(_NAME, usage_line(error, tree), EXIT_USAGE)
    except BrokenPipeError:
        # Who reads us has seen enough; what Python would still flush at exit needs a place to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return signals.exit_code
    return code


def commands() -> Commands:
    """The command tree."""
    return Commands(
        _NAME,
        Command(
            "run",
            _run,
            summary="Listen to a broker's events and serve metrics (the default command).",
            details="A flag beats its environment variable. The broker is taken from --broker-url or "
            "--broker-url-file, then from their variables, then from CELERY_BROKER_URL, then from the app.",
            sections=run_options(),
            others=[check_option(), version_option()],
        ),
        Command(
            "demo",
            _demo,
            summary="Show live metrics of a real broker, workers and workload, all started here.",
            sections={
                "Options": [option("--duration", DURATION, "End by itself after this time."), listen_option()]
            },
        ),
        Command(
            "doctor",
            _doctor,
            summary="Check everything between the tasks and their metrics, and say what to change.",
            details="Takes the options and variables of run. Exit code 1 when a check failed.",
            sections=doctor_options(),
        ),
        Command(
            "metrics",
            _metrics,
            summary="List every metric with its labels and meaning.",
            sections={
                "Options": [
                    option("--format", choice("text", "markdown"), "Format to write.", default="text")
                ]
            },
        ),
        Command(
            "healthcheck",
            _healthcheck,
            summary="Ask the exporter on this machine whether it is healthy (for containers).",
            sections={"Options": [listen_option(), web_config_option()]},
        ),
        Command(
            "completion",
            _completion,
            summary="Write the completion script for a shell.",
            details=f"For bash: source <({_NAME} completion --shell bash)",
            sections={"Options": [option("--shell", choice(*_SHELLS), "Shell to write the script for.")]},
        ),
        summary="Prometheus exporter for Celery.",
        version=version_option(),
    )


@contextmanager
def _importing() -> Iterator[None]:
    """Import what one command alone needs, which takes long; a broken dependency ends the program in one line."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a broken dependency may raise anything
        raise click.exceptions.Exit(fail(_NAME, loading_failure(error), EXIT_FAILURE)) from None


def _run(ctx: click.Context) -> int:
    return launch(
        config_from(ctx),
        ctx.obj,
        program=_NAME,
        unknown=unknown_variables(commands()),
        check_only=bool(ctx.params["check_config"]),
    )


def _doctor(ctx: click.Context) -> int:
    ctx.obj.exit_code = EXIT_INTERRUPTED
    config = config_from(ctx)
    logs.configure("error", config.log_format, Redaction(secrets(config)))
    with _importing():
        from celery_metrics_exporter.doctor import run_doctor  # noqa: PLC0415 - see _importing

    colour = ctx.params["color"]
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        return run_doctor(config, as_json=ctx.params["json"], wait=ctx.params["wait"], colour=colour)
    except ConfigError as error:
        return fail(_NAME, Redaction(secrets(config))(str(error)), EXIT_USAGE)


def _healthcheck(ctx: click.Context) -> int:
    with _importing():
        from celery_metrics_exporter.cli.healthcheck import check_health  # noqa: PLC0415 - see _importing

    healthy, text = check_health(ctx.params["listen"], ctx.params["web_config_file"])
    click.echo(text, err=not healthy)
    return 0 if healthy else EXIT_FAILURE


def _completion(ctx: click.Context) -> int:
    shell = ctx.params["shell"]
    if shell is None:
        raise ConfigError(f"--shell is missing: write one of {', '.join(_SHELLS)}")
    return shell_complete(commands(), {}, _NAME, _COMPLETE, f"{shell}_source")


def _demo(ctx: click.Context) -> int:
    logs.configure("warning", "logfmt", Redaction())
    if sys.stdout.isatty():  # the first output comes after two seconds
        click.echo("Starting a broker, workers and a client ...")
    with _importing():
        from celery_metrics_exporter.demo.children import DemoError  # noqa: PLC0415 - see _importing
        from celery_metrics_exporter.demo.supervisor import run_demo  # noqa: PLC0415 - see _importing

    ctx.obj.exit_if_received()
    try:
        run_demo(duration=ctx.params["duration"], listen=ctx.params["listen"])
    except DemoError as error:
        fail(_NAME, str(error), EXIT_FAILURE)
        sys.stderr.write(error.details)
        return EXIT_FAILURE
    return 0


def _metrics(ctx: click.Context) -> int:
    with _importing():
        from celery_metrics_exporter.cli.reference import as_markdown, as_text  # noqa: PLC0415 - see _importing
        from celery_metrics_exporter.collectors import CATALOGUE  # noqa: PLC0415 - see _importing

    write = as_markdown if ctx.params["format"] == "markdown" else as_text
    click.echo(write(CATALOGUE), nl=False)
    return 0
