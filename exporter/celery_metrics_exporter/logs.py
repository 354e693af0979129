"""Format log lines: logfmt or JSON on stderr, one line per record, without secrets.

A module logs with ``log.info("listening", extra=fields(url=url))``. The line has time, level and logger, and then::

    msg="listening" url=http://localhost:9808/metrics
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.redaction import SHORT, Redaction

_OWN: Final = "celery_metrics_exporter"
#: Shortest time between two lines of one kind that a stranger can cause ...
THROTTLE_SECONDS: Final = 60.0
#: ... and the longest text of a stranger that they show.
MAX_SHOWN: Final = 200
#: A UUID, or an id of MongoDB's client.
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{24}\b")
_BARE: Final = re.compile(r"[^\s\"=\\]+")


def fields(**values: object) -> dict[str, object]:
    """The ``extra`` argument of a logger's methods that adds ``name=value`` to the line for each of these."""
    return {"fields": values}


def configure(level: str, form: str, redaction: Redaction, *, alone: bool = False) -> None:
    """Log to stderr in this form, redacted; also uncaught exceptions and Python's warnings.

    Args:
        level: debug, info, warning or error, for our own loggers; those of libraries log from warning on.
        form: logfmt or json.
        redaction: hides secrets.
        alone: undo what a loaded project has configured by ``logging.config``: remove other handlers of the root
            logger, and enable our loggers again.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(redaction, form))
    handler.setLevel(level.upper())
    root = logging.getLogger()
    for old in [old for old in root.handlers if alone or isinstance(old.formatter, _Formatter)]:
        root.removeHandler(old)
    for name, logger in root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == _OWN:
            logger.disabled = False
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(level.upper())
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_uncaught_in_thread


def hide(secrets: Iterable[str]) -> None:
    """Hide more secrets from now on: those that became known after :func:`configure`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Formatter):
            handler.formatter.redaction.add(secrets)


class ThrottledLog:
    """Logs what strangers can cause, with at most one line per message and minute. Thread-safe.

    A line says how many events it stands for. Those in between are logged at debug.
    """

    def __init__(self, log: logging.Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: By message: the time of its last line, and the warnings since then.
        self._lines: dict[str, tuple[float, int]] = {}

    def log(self, level: int, message: str, *, exc_info: bool = False, **details: object) -> None:
        """Log the message, or count it for the next line with this message."""
        now = self._monotonic()
        with self._lock:
            logged, held_back = self._lines.get(message, (-THROTTLE_SECONDS, 0))
            due = now - logged >= THROTTLE_SECONDS
            self._lines[message] = (now, 0) if due else (logged, held_back + 1)
        if not due:
            level = logging.DEBUG
        if self._log.isEnabledFor(level):
            shown = {name: _plain(value) for name, value in details.items()}
            if due:
                shown["since_last_line"] = held_back + 1
            self._log.log(level, message, exc_info=exc_info or None, extra=fields(**shown))


class OutageLog:
    """Warns when something fails, again when the reason changes, and says when it works again.

    The reason is the error's class and text, without what is new each time: addresses of objects, and ids such as those
    in the names of our queues.
    """

    def __init__(
        self, log: logging.Logger, failing: str, working: str | None = None, **details: object
    ) -> None:
        """``failing`` and ``working`` are the messages (None for no message), ``details`` the fields of each line."""
        self._log = log
        self._failing = failing
        self._working = working
        self._details = details
        self._last_reason: str | None = None

    def fail(self, error: Exception) -> None:
        """Log the error, unless it is the same as last time."""
        text = one_line(error)
        reason = _ID.sub("", text)
        if reason == self._last_reason:
            self._log.debug("still %s", self._failing, exc_info=error)
            return
        self._last_reason = reason
        self._log.warning(self._failing, extra=fields(**self._details, error=text))

    def recover(self) -> None:
        """Note that it works, for the first time or again."""
        if self._last_reason is not None and self._working is not None:
            self._log.info(self._working, extra=fields(**self._details))
        self._last_reason = None


class _Formatter(logging.Formatter):
    def __init__(self, redaction: Redaction, form: str) -> None:
        super().__init__()
        self.redaction = redaction
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        # Secrets are hidden before anything is escaped: an escaped secret might not be recognised.
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, object] = {
            "ts": moment.removesuffix("+00:00") + "Z",
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix(f"{_OWN}."),
            "msg": self.redaction(_message(record)),
        }
        extra = getattr(record, "fields", None)
        for name, value in (extra if isinstance(extra, dict) else {}).items():
            entry.setdefault(
                str(name), self._shown(value, self.redaction.brief if name == "error" else self.redaction)
            )
        if record.exc_info:
            entry["traceback"] = self.redaction(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = self.redaction(record.stack_info)
        if self._form == "json":
            return json.dumps(entry)
        return " ".join(f"{name}={_logfmt(value, quoted=name == 'msg')}" for name, value in entry.items())

    def _shown(self, value: object, redact: Callable[[str], str]) -> object:
        text = str(value)
        redacted = redact(text)
        plain = isinstance(value, bool | int | float) or value is None
        # A small number is no password, whatever the password is.
        return value if plain and (redacted == text or len(text) < SHORT) else redacted


def _logfmt(value: object, *, quoted: bool) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    if not quoted and text.isprintable() and _BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in escaped)}"'


def _plain(value: object) -> object:
    """The beginning of a stranger's text, as one printable line; other values as they are."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return ascii(text[:MAX_SHOWN])[1:-1][:MAX_SHOWN]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().strip()
    except (KeyError, TypeError, ValueError):
        return f"{record.msg} {record.args!r}"


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    logging.getLogger(_OWN).critical(
        "the process ends after an unexpected error", exc_info=(kind, error, traceback)
    )


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    """What Python would write to stderr as it is, such as the error of a library's ``__del__``."""
    error = args.exc_value
    logging.getLogger(_OWN).warning(
        "an error was ignored",
        exc_info=None if error is None else (args.exc_type, error, args.exc_traceback),
    )


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    name = args.thread.name if args.thread is not None else "unknown"
    logging.getLogger(_OWN).critical(
        "a thread ended after an unexpected error",
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        extra=fields(thread=name),
    )
