"""compose.yaml and what it mounts: valid by schema and tools, and its parts find each other. Nothing is started."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from celery_metrics_exporter.demo.shop import WORKERS
from tests.alerts.hurried import ALERTS
from tests.integration.servers import amtool, promtool
from tests.integration.servers.exporter import REPOSITORY

COMPOSE = REPOSITORY / "compose.yaml"
PROVISIONING = REPOSITORY / "grafana" / "provisioning"


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services by name, with what they share merged in."""
    found: dict[str, Any] = _yaml(COMPOSE)["services"]
    return found


def _mounts(service: dict[str, Any]) -> dict[str, Path]:
    """Path in the container -> path here."""
    mounts = (volume.split(":") for volume in service.get("volumes", ()))
    return {target: REPOSITORY / source for source, target, _mode in mounts}


def test_compose_file_is_valid() -> None:
    """The file obeys the schema of the compose specification."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_what_is_mounted_and_built_is_there(services: dict[str, Any]) -> None:
    """Docker makes an empty folder of a mount that is missing, and says nothing."""
    mounted = [path for service in services.values() for path in _mounts(service).values()]
    assert len(mounted) == 5
    assert not [path for path in mounted if not path.exists()]
    assert (REPOSITORY / "Dockerfile").exists()


def test_the_shop_is_complete(services: dict[str, Any]) -> None:
    """Each worker of the demo's shop has its service, and all speak to the one broker."""
    commands = [service["entrypoint"] for service in services.values() if "entrypoint" in service]
    workers = [["python", "-m", "celery_metrics_exporter.demo.worker", name] for name in WORKERS]
    assert sorted(commands) == sorted([*workers, ["python", "-m", "celery_metrics_exporter.demo.client"]])
    ours = [one for one in services.values() if one["image"] == services["exporter"]["image"]]
    assert len(ours) == len(commands) + 1
    brokers = {urlsplit(one["environment"]["CELERY_BROKER_URL"]) for one in ours}
    assert [(url.scheme, url.hostname, url.port) for url in brokers] == [("redis", "valkey", 6379)]


def test_one_service_builds_the_image(services: dict[str, Any]) -> None:
    """Docker builds each `build` at once, and the second export of one name fails; the others start after the one."""
    assert [name for name, service in services.items() if "build" in service] == ["exporter"]
    for service in services.values():
        if service["image"] == services["exporter"]["image"] and "build" not in service:
            assert service["pull_policy"] == "never"
            assert service["depends_on"].keys() == {"exporter", "valkey"}


@pytest.mark.needs("prometheus")
def test_prometheus_finds_rules_exporter_and_alertmanager(services: dict[str, Any], tmp_path: Path) -> None:
    """Its configuration is valid with our rules in their place, and names services that exist."""
    mounts = _mounts(services["prometheus"])
    source = mounts["/etc/prometheus/prometheus.yml"]
    config = tmp_path / "prometheus.yaml"
    config.write_text(
        source.read_text().replace("/etc/prometheus/celery", str(mounts["/etc/prometheus/celery"]))
    )
    checked = promtool("check", "config", config)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("rules found") == len(list(ALERTS.glob("*.yaml")))
    told = _yaml(source)
    assert told["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    assert told["scrape_configs"][0]["static_configs"] == [{"targets": ["exporter:9808"]}]
    assert {"alertmanager", "exporter"} <= services.keys()


@pytest.mark.needs("alertmanager")
def test_alertmanager_takes_its_configuration(services: dict[str, Any]) -> None:
    """Its configuration is valid, and its inhibitions name alerts that exist."""
    config = _mounts(services["alertmanager"])["/etc/alertmanager/alertmanager.yml"]
    checked = amtool("check-config", config)
    assert checked.returncode == 0, checked.stdout
    named = set(re.findall(r"\bCelery\w+", config.read_text()))
    rules = "".join(path.read_text() for path in ALERTS.glob("*.yaml"))
    assert named <= set(re.findall(r"alert: (\w+)", rules))


def test_grafana_is_provisioned(services: dict[str, Any]) -> None:
    """Its data sources are services of ours, and its dashboards lie where they are mounted."""
    grafana = services["grafana"]
    mounts = _mounts(grafana)
    assert mounts["/etc/grafana/provisioning"] == PROVISIONING
    (sources,) = [_yaml(path) for path in (PROVISIONING / "datasources").iterdir()]
    assert [
        (one["type"], urlsplit(one["url"]).hostname, one.get("isDefault", False))
        for one in sources["datasources"]
    ] == [("prometheus", "prometheus", True), ("alertmanager", "alertmanager", False)]
    for one in sources["datasources"]:
        url = urlsplit(one["url"])
        assert any(port.endswith(f":{url.port}") for port in services[url.hostname]["ports"])
    (providers,) = [_yaml(path) for path in (PROVISIONING / "dashboards").iterdir()]
    (provider,) = providers["providers"]
    assert provider["type"] == "file"
    folder = mounts[provider["options"]["path"]]
    assert list(folder.glob("*.json"))
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (folder / home.relative_to(provider["options"]["path"])).exists()
    scraped = _yaml(_mounts(services["prometheus"])["/etc/prometheus/prometheus.yml"])["global"][
        "scrape_interval"
    ]
    assert sources["datasources"][0]["jsonData"]["timeInterval"] == scraped
