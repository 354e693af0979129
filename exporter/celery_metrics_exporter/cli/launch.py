"""Runs an exporter in this process: from its configuration to the exit code.

Owns signals until the exporter handles them itself, logging, and how an error ends the program: in one line on
standard error. The commands `celery-exporter run` and `celery exporter` share it.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

from celery_metrics_exporter import logs
from celery_metrics_exporter.cli.celery_command import loading_failure
from celery_metrics_exporter.config.config import Config, secrets
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.redaction import Redaction
from celery_metrics_exporter.web.listening import ListenError

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130  # as shells report Ctrl-C

log = logging.getLogger(__name__)


def open_standard_streams() -> None:
    """Connect those that are closed to nothing: writing to them fails no more, and no socket gets their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(number, True)  # noqa: FBT003 - as it is called
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115


class EarlySignals:
    """Ends the program on SIGTERM and Ctrl-C from now on, until something runs that handles them better.

    Not by KeyboardInterrupt: CPython can exit as killed by SIGINT although that was caught, when it was raised within
    `exec`, which makes dataclasses (Python/pythonrun.c, run_eval_code_obj).
    """

    def __init__(self) -> None:
        #: The exit code then: a service that is told to stop has done its work, an examination has not.
        self.exit_code = 0
        self._received = False
        atexit.register(_ignore_signals)
        signal.signal(signal.SIGTERM, self._exit)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as by nohup
            signal.signal(signal.SIGINT, self._exit)

    def _exit(self, *_: object) -> NoReturn:
        self._received = True
        raise SystemExit(self.exit_code)

    def exit_if_received(self) -> None:
        """Exit if an import swallowed the handler's exception, as one raised in a weak reference's callback is."""
        if self._received:
            raise SystemExit(self.exit_code)


def launch(
    config: Config,
    signals: EarlySignals,
    *,
    program: str,
    unknown: Mapping[str, str],
    check_only: bool = False,
    app: Any = None,
) -> int:
    """Run an exporter until it is told to stop; returns the exit code.

    Args:
        config: what users set.
        signals: the handler of signals up to now.
        program: what was called, for the line that tells of an error.
        unknown: variables of the environment that carry our prefix and mean nothing, each with the nearest that does.
        check_only: say that the configuration can work, and end.
        app: the application that ``config.app`` names, if that is loaded already.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it means to read again what has not been read yet
    redaction = Redaction(secrets(config))
    # What has set up logging before us is the project of an application that is loaded already.
    logs.configure(config.log_level, config.log_format, redaction, alone=app is not None)
    for name, nearest in unknown.items():
        log.warning(
            "unknown environment variable, ignored", extra=logs.fields(variable=name, nearest=nearest)
        )
    code = EXIT_FAILURE
    try:  # only now: celery takes a second to import, for which --help and bad usage need not wait
        from celery_metrics_exporter.app import Exporter  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001 - a broken dependency may raise anything
        fail(program, loading_failure(error), code)
    else:
        try:
            exporter = Exporter(config, app)
            redaction.add(exporter.secrets)
            logs.configure(config.log_level, config.log_format, redaction, alone=config.app is not None)
            signals.exit_if_received()
            if not check_only:
                _leave(exporter.run())
            sys.stdout.write("configuration is valid\n")
            code = 0
        except ListenError as error:
            fail(program, redaction(str(error)), code)
        except ConfigError as error:
            code = fail(program, redaction(str(error)), EXIT_USAGE)
    # A project, or a client library, may have started threads that the interpreter would wait for.
    alive = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if not all(thread.daemon for thread in alive):
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the process at once.

    All is stopped and told. The interpreter would take another 0.3 s of CPU time to free what there is: many seconds on
    a busy machine, after which whoever stops us may kill us.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def fail(program: str, message: str, code: int) -> int:
    """Write the one line that says what is wrong; returns the exit code."""
    sys.stderr.write(f"{program}: error: {' '.join(message.split())}\n")
    return code


def _ignore_signals() -> None:
    """Let nothing interrupt the interpreter's own end.

    Before that is over it gives signals that are not ignored their default action back (CPython's
    Modules/signalmodule.c, _PySignal_Fini): who presses Ctrl-C twice would see us killed after a clean stop.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
