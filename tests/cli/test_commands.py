"""The command line within this process: help, version, and what is said of arguments and variables."""

import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_metrics_exporter import __version__
from celery_metrics_exporter.cli.commands import unknown_variables
from celery_metrics_exporter.cli.main import commands, main
from celery_metrics_exporter.in_worker.settings import worker_options


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Give the process its own handling of signals back, which `main` takes over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("args", [["--version"], ["run", "--version"], ["--broker-url", "x", "--version"]])
def test_version(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The version, wherever it is asked for."""
    assert main(args) == 0
    assert capsys.readouterr().out == f"celery-exporter {__version__}\n"


@pytest.mark.parametrize("command", ["run", "demo", "metrics"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also by the short option."""
    assert main([command, "-h"]) == 0
    assert f"Usage: celery-exporter {command} [OPTIONS]" in capsys.readouterr().out


def test_catalogue_of_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    """As text by default, as Markdown on request."""
    assert main(["metrics"]) == 0
    assert "  celery_task_sent_total{task, queue} (counter)\n" in capsys.readouterr().out
    assert main(["metrics", "--format", "markdown"]) == 0
    assert "| `celery_task_sent_total` | counter | `task`, `queue` |" in capsys.readouterr().out


def test_variables_of_kubernetes_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service called celery-exporter gives every pod variables with our prefix."""
    of_kubernetes = [
        "CELERY_EXPORTER_SERVICE_HOST",
        "CELERY_EXPORTER_SERVICE_PORT",
        "CELERY_EXPORTER_SERVICE_PORT_HTTP_METRICS",
        "CELERY_EXPORTER_PORT",
        "CELERY_EXPORTER_PORT_9808_TCP",
        "CELERY_EXPORTER_PORT_9808_TCP_ADDR",
        "CELERY_EXPORTER_OTHER_PORT_9808_TCP_PROTO",
        "CELERY_EXPORTER_OTHER_SERVICE_HOST",
    ]
    ours = {"CELERY_EXPORTER_LOG_LEVEL": "debug", "CELERY_BROKER_URL": "memory://", "PATH": ""}
    of_workers = {str(option.envvar): "1" for option in worker_options()}
    environ = {
        **dict.fromkeys(of_kubernetes, "tcp://10.0.0.1:9808"),
        **ours,
        **of_workers,
        "CELERY_EXPORTER_LISTEN": ":1",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert unknown_variables(commands()) == {"CELERY_EXPORTER_LISTEN": "CELERY_EXPORTER_WEB_LISTEN_ADDRESS"}


words = st.sampled_from(
    ["--broker-url", "-A", "--log.level", "--web.listen-address", "--enable-events", "-", "--", "run"]
)


@given(
    args=st.lists(words | st.text().filter(lambda text: not text.startswith("-h")), max_size=4),
    password=st.text(min_size=1).map(lambda text: "pW9xQ" + text),
)
def test_any_arguments_that_cannot_run_end_in_one_line(args: list[str], password: str) -> None:
    """Whatever is written wrongly gives 2 and one line without the password; `--max-series 0` makes all wrong."""
    capture = pytest.MonkeyPatch()
    lines: list[str] = []
    capture.setattr(sys.stderr, "write", lines.append)
    try:
        code = main(["--broker-url", f"redis://:{password}@host", "--max-series", "0", *args])
    finally:
        capture.undo()
    assert code == 2
    assert len("".join(lines).splitlines()) == 1
    assert "pW9xQ" not in "".join(lines)
