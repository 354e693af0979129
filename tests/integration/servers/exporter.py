"""The exporter itself, as its users run it: a process started from the command line."""

import os
import re
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.servers.ports import HOST
from tests.integration.servers.process import ServerProcess

#: A scrape: (sample name, labels) -> value.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

REPOSITORY = Path(__file__).resolve().parents[3]

#: How the exporter is run.
COMMAND = (sys.executable, "-m", "celery_metrics_exporter")

_START_S = 30.0
_STOP_S = 10.0
_REQUEST_S = 10.0
_LISTENING = re.compile(r'msg="?listening"?.*? url="?(http\S+?)"?(?:\s|$)')


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child Python process: without settings for Celery or the exporter, plus ``extra``.

    The repository is on the path, so that a worker can import applications from ``tests``.
    """
    env = {name: value for name, value in os.environ.items() if "CELERY" not in name}
    return env | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | dict(extra or {})


class ExporterProcess:
    """``python -m celery_metrics_exporter`` with ``arguments``; a context manager that asserts exit code 0.

    It listens on a free port of 127.0.0.1 unless the arguments say otherwise; what it writes goes to ``folder``.
    ``command`` runs it in another way.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.url = ""
        self._stopped = True
        where = () if "--web.listen-address" in arguments else ("--web.listen-address", f"{HOST}:0")
        self.process = ServerProcess(
            [*command, *arguments, *where],
            log=folder / "exporter.log",
            env=clean_environment(env),
            cwd=folder,
        )

    @property
    def stderr(self) -> str:
        """Everything that the exporter logged so far."""
        return self.process.output

    @property
    def pid(self) -> int:
        """The exporter's process id."""
        return self.process.pid

    def start(self) -> None:
        """Start it; returns when it serves, with :attr:`url` set to its metrics page."""
        seen = len(self.stderr)
        self.process.start()
        self._stopped = False
        self.url = self.process.wait_until(
            lambda: _listening_url(self.stderr[seen:]), timeout=_START_S, what="an exporter that listens"
        )

    def text(self, accept: str = "text/plain") -> str:
        """Read the metrics page as it is."""
        request = urllib.request.Request(self.url, headers={"Accept": accept})  # noqa: S310 - http on 127.0.0.1
        with urllib.request.urlopen(request, timeout=_REQUEST_S) as response:  # noqa: S310 - see above
            return str(response.read(), "utf-8")

    def scrape(self) -> Samples:
        """Read the metrics page, parsed by prometheus_client."""
        return _samples(self.text())

    def value(self, name: str, **labels: str) -> float | None:
        """Scrape, and return the sample with exactly this name and these labels; None when there is none."""
        return self._named(name).get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """Scrape, and sum the samples of this name that carry at least these labels; 0 when there are none."""
        wanted = set(labels.items())
        return sum(
            value for (found, has), value in self._named(name).items() if found == name and wanted <= has
        )

    def _named(self, name: str) -> Samples:
        """Samples of this name, and of longer ones; who waits for one asks often, and parsing all takes longest."""
        return _samples("".join(line for line in self.text().splitlines(True) if line.startswith(name)))

    def stop(self, *, code: int = 0) -> None:
        """Send SIGTERM and assert that it ended by itself with ``code``."""
        self._stopped = True
        ended = self.process.stop(timeout=_STOP_S)
        assert ended == code, f"exit code {code} expected: {self.process.describe()}"

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._stopped = True
        self.process.kill()

    def pause(self) -> None:
        """Freeze it: its connections stay open, nothing is read."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.process.resume()

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop unless the test did; the exit code counts only when nothing failed before."""
        if error is not None:
            self.kill()
        elif not self._stopped:
            self.stop()


def _samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _listening_url(log: str) -> str:
    match = _LISTENING.search(log)
    return match[1] if match else ""
