"""A real Alertmanager, to which Prometheus sends its alerts; it tells nobody and keeps them to be asked for."""

import json
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.error import HTTPError

from tests.integration.servers.ports import HOST, free_port
from tests.integration.servers.process import ServerProcess
from tests.integration.servers.programs import command

_START_S = 30.0
_REQUEST_S = 10.0

# A receiver without any address: alerts are kept, nothing is sent.
_CONFIG = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


class Alert(NamedTuple):
    """An alert that arrived and has not ended."""

    labels: dict[str, str]
    annotations: dict[str, str]
    inhibited: bool


def amtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run amtool; its standard error is part of ``stdout``."""
    return subprocess.run(
        [*command("amtool"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


class Alertmanager:
    """One server on 127.0.0.1 with its data in ``folder``; a context manager that starts and stops it.

    Its configuration is the file ``config``, or one without any inhibition.
    """

    def __init__(self, folder: Path, config: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = f"{HOST}:{free_port()}"
        if config is None:
            config = folder / "alertmanager.json"  # YAML is read, and JSON is YAML
            config.write_text(json.dumps(_CONFIG))
        self.process = ServerProcess(
            [
                *command("prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",  # no peers, no port for them
            ],
            log=folder / "alertmanager.log",
            cwd=folder,
        )

    def alerts(self) -> list[Alert]:
        """The alerts that are active now."""
        url = f"http://{self.address}/api/v2/alerts?active=true&inhibited=true"
        with urllib.request.urlopen(url, timeout=_REQUEST_S) as response:
            return [
                Alert(alert["labels"], alert["annotations"], bool(alert["status"]["inhibitedBy"]))
                for alert in json.load(response)
            ]

    def send(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Let alerts with these labels fire, as Prometheus would."""
        request = urllib.request.Request(
            f"http://{self.address}/api/v2/alerts",
            data=json.dumps([{"labels": dict(labels)} for labels in alerts]).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_REQUEST_S) as response:  # noqa: S310 - always http on 127.0.0.1
            assert response.status == HTTPStatus.OK

    def __enter__(self) -> Self:
        """Start; returns when it is ready."""
        self.process.start()
        try:
            self.process.wait_until(
                self._ready, timeout=_START_S, what=f"a ready Alertmanager on {self.address}"
            )
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.process.stop()

    def _ready(self) -> bool:
        url = f"http://{self.address}/-/ready"
        try:
            with urllib.request.urlopen(url, timeout=_REQUEST_S) as response:
                return bool(response.status == HTTPStatus.OK)
        except HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
