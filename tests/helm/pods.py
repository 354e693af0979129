"""A rendered pod on this machine: its variables and files as Kubernetes would give them, run by the real command.

Owns what stands for the kubelet: references to Secrets and ConfigMaps, mounted volumes, probes. A file of a pod is one
below a folder of the test, and what names it in a variable or in a mounted text follows.
"""

import base64
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests import preloaded
from tests.helm.chart import Object, container, of_kind
from tests.integration.servers import HOST, ServerProcess
from tests.integration.servers.exporter import COMMAND, clean_environment

#: Where the chart mounts what it mounts.
MOUNTS: Final = "/etc/celery-exporter"
_PROBE_S: Final = 5.0

#: Name of a Secret or ConfigMap -> its keys and texts.
Stores = Mapping[str, Mapping[str, str]]


def stores_in(objects: list[Object]) -> dict[str, dict[str, str]]:
    """The Secrets and ConfigMaps among rendered objects."""
    found = {item["metadata"]["name"]: dict(item["data"]) for item in of_kind(objects, "ConfigMap")}
    for item in of_kind(objects, "Secret"):
        found[item["metadata"]["name"]] = {
            key: base64.b64decode(text).decode() for key, text in item["data"].items()
        }
    return found


class LocalPod:
    """A pod template of the chart with its files in ``folder``.

    Args:
        pod: the template, or a pod of `helm test`.
        stores: all Secrets and ConfigMaps that it may name.
        folder: where its files go.
    """

    def __init__(self, pod: Object, stores: Stores, folder: Path) -> None:
        self._container = container(pod)
        self._stores = stores
        self._folder = folder
        self._volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for mount in self._container.get("volumeMounts", ()):
            self._mount(mount["mountPath"], self._volumes[mount["name"]])
        self.env = self._environment()

    @property
    def args(self) -> list[str]:
        """The container's arguments."""
        return list(self._container["args"])

    @property
    def port(self) -> int:
        """The port that probes ask."""
        (port,) = (port["containerPort"] for port in self._container["ports"] if port["name"] == "http")
        return int(port)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, as `kubectl exec` would."""
        return preloaded.run([*COMMAND, *args], env=clean_environment(self.env), cwd=self._folder, timeout=60)

    def start(self) -> ServerProcess:
        """Start the container."""
        process = ServerProcess(
            [*COMMAND, *self.args],
            log=self._folder / "exporter.log",
            env=clean_environment(self.env),
            cwd=self._folder,
        )
        process.start()
        return process

    def probe(self, kind: str) -> bool:
        """Ask as the kubelet does, which verifies no certificate and has none."""
        probe = self._container[kind]
        if "exec" in probe:
            program, *args = probe["exec"]["command"]
            assert program == "celery-exporter"
            return self.run(*args).returncode == 0
        asked = probe["httpGet"]
        assert asked["port"] == "http"
        return self.status(asked["path"], scheme=asked["scheme"].lower()) in range(200, 400)

    def status(self, path: str, *, scheme: str = "http") -> int:
        """The status of a page; 0 when nobody answers."""
        return self.page(path, scheme=scheme)[0]

    def page(
        self,
        path: str,
        *,
        scheme: str = "http",
        headers: Mapping[str, str] | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> tuple[int, str]:
        """The status and the text of a page, asked with the files of a certificate and its key if there are any."""
        request = urllib.request.Request(  # noqa: S310 - on 127.0.0.1
            f"{scheme}://{HOST}:{self.port}{path}", headers=dict(headers or {})
        )
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(*certificate)
        try:
            with urllib.request.urlopen(request, timeout=_PROBE_S, context=context) as answer:  # noqa: S310 - as above
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""

    def _environment(self) -> dict[str, str]:
        env: dict[str, str] = {}
        for source in self._container.get("envFrom", ()):
            (reference,) = (source[kind] for kind in ("secretRef", "configMapRef") if kind in source)
            env |= self._stores[reference["name"]]
        for variable in self._container.get("env", ()):
            env[variable["name"]] = self._moved(self._value(variable))
        return env

    def _value(self, variable: Mapping[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        ((kind, reference),) = variable["valueFrom"].items()
        if kind == "fieldRef":
            return "10.0.0.9"
        assert kind in {"secretKeyRef", "configMapKeyRef"}
        return self._stores[reference["name"]][reference["key"]]

    def _mount(self, path: str, volume: Mapping[str, Any]) -> None:
        target = self._folder / path.lstrip("/")
        target.mkdir(parents=True)
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        for source in sources:
            if "emptyDir" in source:
                continue
            (reference,) = (source[kind] for kind in ("secret", "configMap") if kind in source)
            store = self._stores[reference.get("secretName") or reference["name"]]
            items = reference.get("items") or [{"key": key, "path": key} for key in store]
            for item in items:
                (target / item["path"]).write_text(self._moved(store[item["key"]]), encoding="utf-8")

    def _moved(self, text: str) -> str:
        return text.replace(MOUNTS, str(self._folder) + MOUNTS)
