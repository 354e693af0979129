"""A real server that speaks the protocols of Amazon SQS and STS, in memory: moto."""

import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import boto3

from tests.integration.servers.ports import HOST, free_port
from tests.integration.servers.process import ServerProcess

_START_S = 60.0
_KEYS: Mapping[str, str] = MappingProxyType(
    {"aws_access_key_id": "TESTKEY", "aws_secret_access_key": "test-secret"}
)


class Moto:
    """One server on 127.0.0.1; a context manager that starts and stops it. Any keys do, until told otherwise."""

    REGION = "eu-west-1"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        argv = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]
        self.process = ServerProcess(argv, log=folder / "moto.log", cwd=folder, env=dict(os.environ))

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def url(self, secret: str = "hunter%2F2", key: str = "AKIAKEY") -> str:
        """The broker URL with these keys, percent-encoded."""
        return f"sqs://{key}:{secret}@{HOST}:{self.port}"

    def client(self, region: str = REGION, service: str = "sqs") -> Any:
        """A client of boto3."""
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint, **_KEYS)

    def queues(self, region: str = REGION) -> list[str]:
        """The names of all queues."""
        urls = self.client(region).list_queues().get("QueueUrls", [])
        return sorted(url.rpartition("/")[2] for url in urls)

    def check_keys(self) -> None:
        """Refuse keys that nobody was given, from now on."""
        self._post("reset-auth", b"0")

    def reset(self) -> None:
        """Forget all queues, and take any keys; start it if a test has left it stopped."""
        if not self.process.running:
            self.start()
        self._post("reset-auth", b"inf")
        self._post("reset", b"")

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(  # noqa: S310 - http on 127.0.0.1
            f"{self.endpoint}/moto-api/{path}", data=body, headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - see above

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.process.start()
        self.process.wait_until(self._answers, timeout=_START_S, what="an answer of moto")

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5).close()  # noqa: S310 - see above
        except OSError:
            return False
        return True

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
        """Stop."""
        self.process.stop()
