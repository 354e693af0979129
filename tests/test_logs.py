"""Log lines: their form, that a record is one line, and that secrets are hidden in every part of it."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celery_metrics_exporter import logs
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.redaction import Redaction

MARK = "pW9xQ"
CONFIGURED: list[logging.Formatter | None] = []
log = logging.getLogger("celery_metrics_exporter.app")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Give the process its own logging back afterwards."""
    root, own = logging.getLogger(), logging.getLogger("celery_metrics_exporter")
    levels, hooks = (root.level, own.level), (sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = [handler for handler in root.handlers if handler.formatter not in CONFIGURED]
    CONFIGURED.clear()
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def configure(level: str, form: str, redaction: Redaction) -> None:
    """Configure logging as the program does; pytest's own handlers are put away first."""
    logging.getLogger().handlers.clear()
    logs.configure(level, form, redaction)
    CONFIGURED.extend(handler.formatter for handler in logging.getLogger().handlers)


def test_logfmt_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The message is always quoted, a field where it has to be; the logger has its short name."""
    configure("info", "logfmt", Redaction())
    log.info("listening", extra=fields(url="http://127.0.0.1:43211/metrics", port=43211, ok=True, error=None))
    line = capsys.readouterr().err
    assert ' level=info logger=app msg="listening" url=http://127.0.0.1:43211/metrics ' in line
    assert line.endswith(" port=43211 ok=true error=null\n")
    assert line.startswith("ts=20")
    assert line.split(" ", 1)[0].endswith("Z")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\nlines"'),
        ("bell\a \x1b[31m", '"bell\\u0007 \\u001b[31m"'),
        ("häuser", "häuser"),
        ("\ud800", '"\\ud800"'),
        (1.5, "1.5"),
        (["a"], "['a']"),
    ],
)
def test_logfmt_quotes_what_would_break_the_line(
    capsys: pytest.CaptureFixture[str], value: object, written: str
) -> None:
    """A value cannot forge a field, a line or a terminal's colours."""
    configure("info", "logfmt", Redaction())
    log.info("x", extra=fields(value=value))
    assert capsys.readouterr().err.split('msg="x" ')[1] == f"value={written}\n"


def test_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The same record as one JSON object; numbers stay numbers."""
    configure("debug", "json", Redaction())
    log.debug("two\n%s", "lines", extra=fields(port=1, ok=False, text="x"))
    entry = json.loads(capsys.readouterr().err)
    assert entry.pop("ts").endswith("Z")
    assert entry == {
        "level": "debug",
        "logger": "app",
        "msg": "two\nlines",
        "port": 1,
        "ok": False,
        "text": "x",
    }


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_exception_is_one_field_of_one_line(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """A traceback does not spread over lines."""
    configure("info", form, Redaction())
    log.error("failed", exc_info=ValueError("went\nwrong"))
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "ValueError: went\\nwrong" in line


def test_level_rules_our_loggers_and_warnings_of_others_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries are heard from warnings on, whatever we log ourselves; nothing passes below the level."""
    configure("debug", "logfmt", Redaction())
    log.debug("ours")
    logging.getLogger("kombu.connection").info("chatter")
    logging.getLogger("amqp").warning("theirs")
    configure("error", "logfmt", Redaction())
    logging.getLogger("amqp").warning("not an error")
    log.warning("no error either")
    assert [line.split("msg=")[1] for line in capsys.readouterr().err.splitlines()] == ['"ours"', '"theirs"']


def test_warnings_of_python_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """They come as lines of the same form."""
    configure("info", "logfmt", Redaction())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
    line = capsys.readouterr().err
    assert "logger=py.warnings" in line
    assert line.count("\n") == 1


def test_unexpected_end_of_a_thread_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a thread nor the program dies with a bare traceback, which could show a password."""
    configure("info", "logfmt", Redaction(["hunter22"]))

    def fail() -> None:
        raise RuntimeError("hunter22")

    thread = threading.Thread(target=fail, name="receiver")
    thread.start()
    thread.join()
    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    in_thread, in_program = capsys.readouterr().err.splitlines()
    assert "thread=receiver" in in_thread
    assert all("RuntimeError: ***" in line and "hunter22" not in line for line in (in_thread, in_program))


def test_what_python_ignores_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """An error in a destructor, which Python would write as it is."""
    configure("info", "logfmt", Redaction(["hunter22"]))

    class Failing:
        def __del__(self) -> None:
            raise RuntimeError("hunter22")

    Failing()
    (line,) = capsys.readouterr().err.splitlines()
    assert 'msg="an error was ignored"' in line
    assert "RuntimeError: ***" in line
    assert "hunter22" not in line


def test_a_long_error_is_cut_after_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """No line holds more of an error than a person reads, nor the beginning of a secret at its end."""
    secret = "hunter" * 50
    configure("info", "json", Redaction([secret]))
    log.warning("failed", extra=fields(error="x" * 250 + secret + "y" * 100, other="z" * 1000))
    entry = json.loads(capsys.readouterr().err)
    assert entry["error"] == "x" * 250 + "***" + "yyyy" + "..."
    assert entry["other"] == "z" * 1000


def test_a_small_number_is_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """A password of one digit does not take the numbers out of the log."""
    configure("info", "logfmt", Redaction(["1", "123456"]))
    log.info("x", extra=fields(count=1, text="1", id=123456))
    assert capsys.readouterr().err.endswith(" count=1 text=*** id=***\n")


def test_arguments_that_do_not_fit_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's wrong format string does not end in a traceback of logging itself."""
    configure("info", "logfmt", Redaction(["hunter22"]))
    logging.getLogger("kombu").warning("%d tasks", "hunter22")
    assert "msg=\"%d tasks ('***',)\"" in capsys.readouterr().err


def test_secret_learnt_later_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    """An app's configuration is read after logging has begun."""
    redaction = Redaction()
    configure("info", "logfmt", redaction)
    logs.hide({"hunter22"})
    log.info("the password is %s", "hunter22", extra=fields(number=1))
    assert 'msg="the password is ***" number=1' in capsys.readouterr().err
    assert redaction("hunter22") == "***"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=st.text(min_size=1, max_size=12).map(lambda text: MARK + text + MARK),
    form=st.sampled_from(["logfmt", "json"]),
)
def test_no_form_of_a_secret_reaches_a_line(
    capsys: pytest.CaptureFixture[str], secret: str, form: str
) -> None:
    """Raw, quoted, escaped, as bytes, in the message, in fields, in a traceback: it never shows."""
    configure("info", form, Redaction([secret]))
    raw = secret.encode(errors="surrogatepass")
    shapes = [
        secret,
        repr(secret),
        ascii(secret),
        json.dumps(secret),
        repr(raw),
        quote(raw, safe=""),
        quote(raw),
    ]
    message = " ".join(["%s"] * len(shapes))
    log.error(
        message, *shapes, exc_info=ValueError(*shapes), extra=fields(one=secret, all=shapes, dict={1: raw})
    )
    line = capsys.readouterr().err
    assert "***" in line
    assert MARK not in line
    assert len(line.splitlines()) == 1
    if form == "json":
        assert set(json.loads(line)) == {"ts", "level", "logger", "msg", "one", "all", "dict", "traceback"}
