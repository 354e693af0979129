"""A real Celery worker that reports for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.servers import CeleryWorker
from tests.integration.servers.exporter import Samples
from tests.integration.servers.ports import HOST

_REQUEST_S = 10.0
PLAIN = ("--without-gossip", "--without-mingle")


class SelfReportingWorker(CeleryWorker):
    """A worker of an application that ``install`` was called for; it serves on a port that the system chooses.

    It sends no events of tasks, unless told to. ``listen`` None leaves the address to the environment.
    """

    def __init__(
        self,
        folder: Path,
        app: str,
        *,
        hostname: str = "worker",
        events: bool = False,
        arguments: Sequence[str] = PLAIN,
        listen: str | None = f"{HOST}:0",
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._port_file = folder / f"{hostname}.port"
        own: tuple[str, ...] = ()
        if listen is not None:
            own = ("--metrics-listen-address", listen, "--metrics-port-file", str(self._port_file))
        super().__init__(
            folder,
            app,
            hostname=hostname,
            events=events,
            arguments=(*arguments, *own),
            env=env,
            **settings,
        )

    @property
    def ports(self) -> list[int]:
        """Those that it listens on; none where it does not serve."""
        if not self._port_file.exists():
            return []
        return [int(line) for line in self._port_file.read_text().splitlines()]

    def open(self, path: str, accept: str = "*/*") -> str:
        """A page that it serves. Raises HTTPError if its status is not a good one."""
        request = Request(f"http://{HOST}:{self.ports[0]}{path}", headers={"Accept": accept})
        with urlopen(request, timeout=_REQUEST_S) as answer:  # noqa: S310 - likewise
            return str(answer.read().decode())

    def page(self, path: str = "/metrics") -> str:
        """A page that it serves, whatever its status is."""
        try:
            return self.open(path)
        except HTTPError as error:
            return error.read().decode()

    def samples(self) -> Samples:
        """All samples of a scrape."""
        return {
            (sample.name, frozenset(sample.labels.items())): float(sample.value)
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a sample, None if there is none."""
        return self.samples().get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        return sum(
            value
            for (sample, found), value in self.samples().items()
            if sample == name and labels.items() <= found
        )
