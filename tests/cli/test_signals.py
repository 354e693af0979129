"""Signals that reach a running exporter, with standard streams that are closed or broken: how it ends, or goes on."""

import os
import pty
import signal
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.command import COMMAND
from tests.integration.servers import HOST, ServerProcess, free_port
from tests.integration.servers.exporter import clean_environment
from tests.waiting import wait_for
from tests.web_files import HASH, users

TIMEOUT_S = 30.0
STOP_S = 5.0
CELERY = [COMMAND[0], "-m", "celery", "-A", "tests.integration.bare_app", "exporter"]
#: What a shell does with the streams before it starts the exporter.
REDIRECTIONS = (
    *(">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"),
    *(">/dev/full", "2>/dev/full", ">/dev/full 2>&1"),
    *("> >(true)", "2> >(true)"),  # whose readers have gone
)


@contextmanager
def running(
    folder: Path, *options: str, redirection: str = "", command: Sequence[str] = COMMAND
) -> Iterator[ServerProcess]:
    """An exporter, started by a shell, which serves; killed at the end if it has not ended."""
    port = free_port()
    arguments = ["--broker-url", f"redis://{HOST}:1/0", "--web.listen-address", f"{HOST}:{port}", *options]
    shell = ["bash", "-c", f'exec "$@" {redirection}', "bash"]
    process = ServerProcess(
        [*shell, *command, *arguments], log=folder / "log", env=clean_environment(), cwd=folder
    )
    process.start()
    try:
        process.wait_until(lambda: serves(port), timeout=TIMEOUT_S, what="an exporter that serves")
        yield process
    finally:
        process.kill()


def serves(port: int) -> bool:
    """Whether it answers."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/-/healthy", timeout=STOP_S) as response:
            return bool(response.status == 200)
    except HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_stop_without_streams_is_clean(tmp_path: Path, redirection: str, number: signal.Signals) -> None:
    """Whatever became of the streams, the exporter ends with 0 when it is told to."""
    with running(tmp_path, redirection=redirection) as process:
        process.send_signal(number)
        wait_for(lambda: not process.running, timeout=STOP_S, what="the end")
        assert process.returncode == 0, process.describe()
        assert "Traceback" not in process.output


@pytest.mark.parametrize("redirection", [">&-", "<&- >&- 2>&-"])
def test_celerys_command_stops_cleanly_without_streams(tmp_path: Path, redirection: str) -> None:
    """So does the command of Celery."""
    with running(tmp_path, redirection=redirection, command=CELERY) as process:
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: not process.running, timeout=STOP_S, what="the end")
        assert process.returncode == 0, process.describe()


def test_closed_streams_get_no_socket(tmp_path: Path) -> None:
    """The numbers of closed streams lead to nothing, so that nobody who writes there writes to a client."""
    with running(tmp_path, redirection="<&- >&- 2>&-") as process:
        streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
    assert streams == [os.devnull] * 3


def test_hangup_reads_the_web_configuration_again(tmp_path: Path) -> None:
    """SIGHUP is logged with what comes of it, and the exporter goes on, as Prometheus does."""
    web = tmp_path / "web.yml"
    web.write_text(users("alice"))
    with running(tmp_path, "--web.config.file", str(web)) as process:
        for text, line in (
            (users("alice", "bob"), "web configuration read again"),
            ("nonsense: 1\n", "unknown key nonsense"),
        ):
            web.write_text(text)
            seen = len(process.output)
            process.send_signal(signal.SIGHUP)
            process.wait_until(
                lambda: line in process.output[seen:],  # noqa: B023 - called at once
                timeout=TIMEOUT_S,
                what=line,
            )
            assert "SIGHUP: the web configuration is read again" in process.output[seen:]
        assert HASH[7:] not in process.output
        assert process.stop() == 0


def test_hangup_without_a_web_configuration_changes_nothing(tmp_path: Path) -> None:
    """Where there is nothing to read again, the log says so, and the exporter goes on."""
    with running(tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        process.wait_until(
            lambda: "SIGHUP: there is no --web.config.file" in process.output,
            timeout=TIMEOUT_S,
            what="a line",
        )
        assert process.stop() == 0


def test_hangup_of_its_terminal_ends_it(tmp_path: Path) -> None:
    """An exporter that was started in a terminal ends cleanly with it, and says why."""
    terminal, side = pty.openpty()
    try:
        with running(tmp_path, redirection=f"<{os.ttyname(side)}") as process:
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: not process.running, timeout=STOP_S, what="the end")
            assert process.returncode == 0, process.describe()
            assert 'msg="stopping" signal=SIGHUP' in process.output
    finally:
        os.close(terminal)
        os.close(side)
