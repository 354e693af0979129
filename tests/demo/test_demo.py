"""The demo as a newcomer runs it: a process that shows a living Celery, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.servers import HOST, ExporterProcess, require
from tests.integration.servers.exporter import clean_environment
from tests.waiting import wait_for

_START_S = 60.0
_STOP_S = 12.0
_METRICS = re.compile(r"metrics +(http://\S+/metrics)")


OUTCOMES = {
    ("celery_task_rejected_total", "requeue"): ("true", "false"),
    ("celery_task_revoked_total", "reason"): ("revoked", "expired", "terminated"),
    ("celery_task_exceptions_total", "exception"): (
        "CardDeclined",
        "GatewayTimeout",
        "MailboxFull",
        "SoftTimeLimitExceeded",
        "UnsupportedImage",
    ),
    ("celery_task_started_total", "queue"): ("orders", "mail", "media", "reports"),
}


class Demo(ExporterProcess):
    """`python -m celery_metrics_exporter demo`, with its temporary files below a folder of the test."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        own = {"TMPDIR": str(self.temporary), "TEST_DEMO": str(folder)}
        super().__init__(folder, ("demo", *arguments), env={**own, **(env or {})})

    def start(self) -> None:
        """Start it; returns when it has told what to open."""
        self.process.start()
        self.url = self.process.wait_until(
            self._told_url, timeout=_START_S, what="a demo that tells what to open"
        )

    def _told_url(self) -> str:
        match = _METRICS.search(self.process.output)
        return match[1] if match else ""

    def wait_until_total(self, name: str, least: float = 1, /, **labels: str) -> None:
        """Wait until the samples of this name and these labels sum up to at least this."""
        self.process.wait_until(
            lambda: self.total(name, **labels) >= least,
            timeout=_START_S,
            what=f"{name}{labels or ''} of at least {least}",
        )

    def sent_tasks(self) -> set[str]:
        """Scrape, and return the names of the tasks that were sent."""
        return {dict(labels)["task"] for name, labels in self.scrape() if name == "celery_task_sent_total"}

    def family(self) -> list[int]:
        """List the processes that the demo is or has started, by the environment that they inherited."""
        return processes_with(f"TEST_DEMO={self._folder}")

    def assert_nothing_left(self) -> None:
        """Fail unless every process and file is gone."""
        wait_for(lambda: not self.family(), timeout=_STOP_S, what=lambda: f"the end of {self.family()}")
        assert list(self.temporary.iterdir()) == []


def processes_with(variable: str) -> list[int]:
    """List the processes whose environment holds this NAME=VALUE, from /proc."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if variable.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


@pytest.fixture(autouse=True)
def _needs_valkey() -> None:
    require("valkey")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo that runs until the test stops it, in an environment that names another broker."""
    running = Demo(tmp_path, env={"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"})
    try:
        running.start()
        yield running
    finally:
        running.process.stop(timeout=_STOP_S)


def test_every_outcome_shows_and_ctrl_c_ends_it(demo: Demo) -> None:
    """A newcomer sees every outcome, ten tasks, four queues and two workers, and Ctrl-C removes everything."""
    for name, least in (
        ("celery_task_succeeded_total", 50),
        ("celery_task_retried_total", 2),
        ("celery_task_queue_wait_seconds_count", 50),
        ("celery_worker_up", 2),
    ):
        demo.wait_until_total(name, least)
    for (name, label), values in OUTCOMES.items():
        for value in values:
            demo.wait_until_total(name, **{label: value})
    demo.process.wait_until(lambda: len(demo.sent_tasks()) == 10, timeout=_START_S, what="ten tasks")
    demo.process.wait_until(
        lambda: "  0:05 " in demo.process.output, timeout=_START_S, what="a row of figures"
    )

    assert demo.process.stop(number=signal.SIGINT, timeout=_STOP_S) == 0
    assert "Traceback" not in demo.process.output
    demo.assert_nothing_left()


def test_ends_by_itself_after_its_duration(tmp_path: Path) -> None:
    """`--duration` ends the demo with exit code 0 and a last row of figures."""
    demo = Demo(tmp_path, "--duration", "4")
    demo.start()

    wait_for(lambda: not demo.process.running, timeout=_START_S, what="the end of the demo")

    assert demo.process.returncode == 0, demo.process.describe()
    assert re.search(r"^  0:0[4-9] ", demo.process.output, re.MULTILINE)
    demo.assert_nothing_left()


def test_sigterm_while_starting(tmp_path: Path) -> None:
    """SIGTERM ends the demo with exit code 0 even before its workers are up."""
    demo = Demo(tmp_path)
    demo.start()

    demo.stop()

    demo.assert_nothing_left()


def test_killed_hard_it_takes_its_children_along(demo: Demo) -> None:
    """After SIGKILL no worker, pool process, server or file stays."""
    demo.wait_until_total("celery_worker_up", 2)
    assert len(demo.family()) >= 5

    demo.process.send_signal(signal.SIGKILL)

    demo.assert_nothing_left()
    demo.process.kill()


def test_a_worker_that_dies_is_reported(demo: Demo) -> None:
    """When a worker dies by itself the demo says which, and ends with exit code 1."""
    demo.wait_until_total("celery_worker_up", 2)
    worker = min(
        pid for pid in demo.family() if "celery_metrics_exporter.demo.worker shop" in _command_line(pid)
    )

    os.kill(worker, signal.SIGKILL)

    wait_for(lambda: not demo.process.running, timeout=_STOP_S, what="the end of the demo")
    demo.stop(code=1)
    assert "celery-exporter: error: the shop worker was killed by signal 9" in demo.process.output
    demo.assert_nothing_left()


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """A taken port ends the demo with one line and exit code 1."""
    with socket.create_server((HOST, 0)) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        demo = Demo(tmp_path, "--web.listen-address", address)
        demo.process.start()
        wait_for(lambda: not demo.process.running, timeout=_START_S, what="the end of the demo")

    assert demo.process.returncode == 1
    assert len(demo.process.output.splitlines()) == 1
    assert f"cannot listen on {address}: address already in use" in demo.process.output
    demo.assert_nothing_left()


def test_a_reader_that_goes_away_ends_it(tmp_path: Path) -> None:
    """`celery-exporter demo | head` ends cleanly: exit code 0 and not a word on standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "celery_metrics_exporter", "demo", "--web.listen-address", f"{HOST}:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment({"TMPDIR": str(tmp_path)}),
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        problems = process.stderr.read()

    assert (process.returncode, problems) == (0, b"")
    assert list(tmp_path.iterdir()) == []
