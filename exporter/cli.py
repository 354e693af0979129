"""The command line: the commands run (the default), demo and metrics, and the exit codes.

Owns what each command calls and how the program ends: 0 for a clean end, also by SIGTERM and Ctrl-C; 1 when something
outside hinders us, such as a port in use; 2 for bad usage. An error is one line on standard error.
"""

import atexit
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from exporter import __version__, logs
from exporter.command_line import Command, Commands, unknown_variables, usage_line
from exporter.config import DEFAULT_LISTEN, secrets
from exporter.errors import ConfigError
from exporter.options import (
    ENV_PREFIX,
    config_from,
    duration_option,
    format_option,
    listen_option,
    run_options,
    version_option,
)

_NAME = "celery-exporter"
_log = logging.getLogger(__name__)
_HINDERED = 1
_BAD_USAGE = 2


class _End:
    """Ends the program on SIGTERM and Ctrl-C while nothing runs yet that handles them better.

    Not by KeyboardInterrupt: CPython can exit as killed by SIGINT although that was caught, when it was raised within
    `exec`, which dataclasses are made by (Python/pythonrun.c, run_eval_code_obj).
    """

    def __init__(self) -> None:
        self._wanted = False

    def __call__(self, *_: object) -> NoReturn:
        """Handle the signal."""
        self._wanted = True
        raise SystemExit(0)

    def check(self) -> None:
        """End, if an import swallowed the handler's exception, as one raised in a weak reference's callback is."""
        if self._wanted:
            raise SystemExit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own arguments) and return the exit code."""
    end = _End()
    atexit.register(_ignore_signals)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as by nohup
        signal.signal(signal.SIGINT, end)
    tree = commands()
    try:
        with tree.make_context(_NAME, list(sys.argv[1:] if argv is None else argv), obj=end) as ctx:
            code: int = tree.invoke(ctx)
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        return _fail(usage_line(error, tree), _BAD_USAGE)
    except ConfigError as error:
        return _fail(str(error), _BAD_USAGE)
    except BrokenPipeError:
        # Who reads us has seen enough; what Python would still flush at exit needs a place to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _ignore_signals() -> None:
    """Let nothing interrupt the interpreter's own end.

    Before that is over it gives signals that are not ignored their default action back (CPython's
    Modules/signalmodule.c, _PySignal_Fini): who presses Ctrl-C twice would see us killed after a clean stop.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


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
            others=[version_option(__version__)],
        ),
        Command(
            "demo",
            _demo,
            summary="Show live metrics of a real broker, workers and workload, all started here.",
            sections={"Options": [duration_option(), listen_option()]},
        ),
        Command(
            "metrics",
            _metrics,
            summary="List every metric with its labels and meaning.",
            sections={"Options": [format_option()]},
        ),
        summary="Prometheus exporter for Celery.",
        version=version_option(__version__),
    )


def _run(ctx: click.Context) -> int:
    config = config_from(ctx, os.environ)
    redaction = logs.Redaction(secrets(config))
    logs.configure(config.log_level, config.log_format, redaction)
    _warn_of_unknown_variables()

    # celery takes a second to import; --help and bad usage need not wait for it.
    from exporter.app import Exporter  # noqa: PLC0415
    from exporter.web import ListenError  # noqa: PLC0415

    try:
        exporter = Exporter(config)
        redaction.add(exporter.secrets)
        logs.configure(config.log_level, config.log_format, redaction, alone=config.app is not None)
        ctx.obj.check()
        return exporter.run()
    except ListenError as error:
        return _fail(redaction(str(error)), _HINDERED)
    except ConfigError as error:
        return _fail(redaction(str(error)), _BAD_USAGE)


def _demo(ctx: click.Context) -> int:
    logs.configure("warning", "logfmt", logs.Redaction())
    from exporter.demo import run_demo  # noqa: PLC0415 - as in _run

    ctx.obj.check()
    return run_demo(
        duration=ctx.params["duration"], listen=ctx.params["web_listen_address"] or DEFAULT_LISTEN
    )


def _metrics(ctx: click.Context) -> int:
    from exporter.collectors import CATALOGUE  # noqa: PLC0415 - as in _run
    from exporter.reference import as_markdown, as_text  # noqa: PLC0415

    write = as_markdown if ctx.params["format"] == "markdown" else as_text
    click.echo(write(CATALOGUE), nl=False)
    return 0


def _warn_of_unknown_variables() -> None:
    for name, nearest in unknown_variables(os.environ, commands(), ENV_PREFIX).items():
        _log.warning(
            "unknown environment variable, ignored", extra=logs.fields(variable=name, nearest=nearest)
        )


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{_NAME}: error: {' '.join(message.split())}\n")
    return code
