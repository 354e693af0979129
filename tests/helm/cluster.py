"""What stands for a cluster in the tests: starts rendered pods, with the Secrets that users would have made."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.helm.chart import Object, of_kind, template
from tests.helm.pods import LocalPod, stores_in
from tests.integration.servers import Certificates, ServerProcess, free_port
from tests.waiting import wait_for


def users_stores(certificates: Certificates) -> dict[str, dict[str, str]]:
    """The Secrets and ConfigMaps that the cases of the matrix expect of the user."""
    ca = certificates.ca_file.read_text(encoding="utf-8")
    server = {
        "ca.crt": ca,
        "tls.crt": certificates.server_cert_file.read_text(encoding="utf-8"),
        "tls.key": certificates.server_key_file.read_text(encoding="utf-8"),
    }
    client = {
        "ca.crt": ca,
        "tls.crt": certificates.client_cert_file.read_text(encoding="utf-8"),
        "tls.key": certificates.client_key_file.read_text(encoding="utf-8"),
    }
    files = (
        "{cert_file: /etc/celery-exporter/web-tls/tls.crt, key_file: /etc/celery-exporter/web-tls/tls.key}"
    )
    return {
        "rel-celery-exporter-broker": {"broker-url": "redis://redis:6379/0"},
        "rel-rabbitmq": {
            "url": "amqps://user:hunter2@rabbitmq:5671/shop",
            "management": "https://user:hunter2@rabbitmq:15671",
            "options": "heartbeat=30 confirm_publish=true",
            "options.yaml": "login_method: PLAIN\n",
        },
        "trust": {"bundle.pem": ca},
        "celery-brokers": {"orders": "redis://orders:6379/0", "mail": "amqps://mail"},
        "celery-exporter-tls": server,
        "celery-exporter-web": {"config.yaml": f"tls_server_config: {files}\n"},
        "redis-client-tls": client,
    }


class Cluster:
    """Starts rendered pods, and stops them after the test."""

    def __init__(self, folder: Path, stores: Mapping[str, Mapping[str, str]], stack: ExitStack) -> None:
        self._folder = folder
        self._stores = stores
        self._stack = stack
        self._count = 0

    def pods(self, objects: list[Object]) -> list[LocalPod]:
        """The pods of the Deployments, not started."""
        found = []
        for deployment in of_kind(objects, "Deployment"):
            self._count += 1
            folder = self._folder / f"pod-{self._count}"
            folder.mkdir()
            found.append(
                LocalPod(deployment["spec"]["template"], {**self._stores, **stores_in(objects)}, folder)
            )
        return found

    def start(self, values: Mapping[str, Any]) -> LocalPod:
        """Install with these values; returns when the startup probe is content."""
        (pod,) = self.pods(template({**values, "containerPort": free_port()}))
        process = pod.start()
        self._stack.callback(self._end, process)
        wait_for(
            lambda: process.running and pod.probe("startupProbe"),
            timeout=30,
            what=lambda: f"the startup probe; {process.describe()}",
        )
        return pod

    @staticmethod
    def _end(process: ServerProcess) -> None:
        assert process.stop(timeout=10) == 0
