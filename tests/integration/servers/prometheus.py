"""A real Prometheus server that scrapes the exporter."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError

from tests.integration.servers.ports import HOST, free_port
from tests.integration.servers.process import ServerProcess
from tests.integration.servers.programs import command

_START_S = 30.0
_REQUEST_S = 10.0


class Sample(NamedTuple):
    """One element of an instant vector: its labels (with ``__name__`` where there is one) and its value."""

    labels: dict[str, str]
    value: float


def promtool(*arguments: str | Path, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run promtool; its standard error is part of ``stdout``."""
    return subprocess.run(
        [*command("promtool"), *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


class Prometheus:
    """One server on 127.0.0.1 with its data in ``folder``; a context manager.

    ``scrape_targets`` are addresses of metrics pages (``http://127.0.0.1:9808/metrics``); ``rules`` are files
    with alert or recording rules, which are evaluated as often as targets are scraped. ``target_labels`` are added to
    every series, as service discovery would; alerts go to ``alertmanagers`` (``127.0.0.1:9093``). ``scrape_settings``
    are more of each scrape's configuration, such as ``tls_config`` and ``basic_auth``; ``options`` are more flags.
    """

    def __init__(
        self,
        folder: Path,
        scrape_targets: Sequence[str],
        *,
        scrape_interval: str = "1s",
        rules: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        target_labels: Mapping[str, str] = MappingProxyType({}),
        scrape_settings: Mapping[str, object] = MappingProxyType({}),
        options: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        # Prometheus reads YAML, and JSON is YAML.
        config = folder / "prometheus.json"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval},
                    "rule_files": [str(rule) for rule in rules],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
                    "scrape_configs": [
                        {**_scrape(number, url, target_labels), **scrape_settings}
                        for number, url in enumerate(scrape_targets)
                    ],
                },
                indent=1,
            )
        )
        self.process = ServerProcess(
            [
                *command("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{self.port}",
                *options,
            ],
            log=folder / "prometheus.log",
            cwd=folder,
        )

    @property
    def url(self) -> str:
        """The address of its web interface."""
        return f"http://{HOST}:{self.port}"

    @property
    def major_version(self) -> int:
        """The first part of its version; it must be running."""
        return int(self.api("status/buildinfo")["version"].partition(".")[0])

    def query(self, promql: str) -> list[Sample]:
        """Evaluate an instant query now; a scalar comes as one sample without labels."""
        data = self.api("query", query=promql)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(element["metric"], float(element["value"][1])) for element in data["result"]]

    def value(self, promql: str) -> float | None:
        """Evaluate a query that gives at most one sample; None when it gives none."""
        samples = self.query(promql)
        assert len(samples) <= 1, f"{promql} gave {len(samples)} samples: {samples}"
        return samples[0].value if samples else None

    def api(self, path: str, **parameters: str) -> Any:
        """Read from its HTTP API, for example ``api("targets")``; returns the answer's ``data``."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=_REQUEST_S) as response:  # noqa: S310 - always http on 127.0.0.1
            return json.load(response)["data"]

    def start(self) -> None:
        """Start the server, on the same port each time; returns when it is ready."""
        self.process.start()
        self.process.wait_until(self._ready, timeout=_START_S, what=f"a ready Prometheus on {self.port}")

    def stop(self) -> None:
        """Stop the server; its data stays."""
        self.process.stop()

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=_REQUEST_S) as response:  # noqa: S310 - as above
                return bool(response.status == HTTPStatus.OK)
        except HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


def _scrape(number: int, url: str, labels: Mapping[str, str]) -> dict[str, object]:
    parts = urllib.parse.urlsplit(url)
    return {
        "job_name": f"exporter-{number}",
        "scheme": parts.scheme,
        "metrics_path": parts.path or "/metrics",
        "static_configs": [{"targets": [parts.netloc], "labels": dict(labels)}],
    }
