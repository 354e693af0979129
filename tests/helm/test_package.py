"""The packaged chart: complete without the repository, the same as its folder, and usable as part of another."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from celery_metrics_exporter import __version__
from tests.grafana.board import FOLDER as DASHBOARDS
from tests.helm.chart import (
    ALL_CASES,
    CHART,
    MAJORS,
    ROOT,
    container,
    helm,
    of_kind,
    one,
    pod_templates,
    template,
)

pytestmark = pytest.mark.needs("helm")

SHARED = {name: ROOT / "grafana" / name for name in ("alerts", "compatibility", "dashboards")}


@pytest.fixture(scope="module", params=MAJORS)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that `helm package` makes."""
    folder = tmp_path_factory.mktemp(f"package-{request.param}")
    done = helm(request.param, "package", CHART, "--destination", folder)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("*.tgz")
    return archive


def test_rules_and_dashboards_exist_once() -> None:
    """The chart's folder links to those of grafana/; no file of it is a copy."""
    for name, folder in SHARED.items():
        link = CHART / "files" / name
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        assert link.resolve() == folder
    assert {path.name for path in (CHART / "files").iterdir()} == SHARED.keys()


@pytest.mark.parametrize("part", ["prometheusRule", "dashboards"])
def test_a_chart_without_them_says_so(tmp_path: Path, part: str) -> None:
    """A checkout that made text files of the links renders no empty rule or dashboard."""
    copy = tmp_path / "celery-exporter"
    shutil.copytree(CHART, copy, symlinks=True)
    for name in SHARED:
        (copy / "files" / name).unlink()
        (copy / "files" / name).write_text(f"../../../grafana/{name}")
    refused = helm("3", "template", "rel", copy, "--set", f"{part}.enabled=true")
    assert refused.returncode != 0
    assert "take the packaged chart or a checkout with symbolic links" in refused.stderr


def test_the_package_holds_them(package: Path) -> None:
    """As plain files with the same bytes, and nothing that only the repository needs."""
    with tarfile.open(package) as archive:
        members = {member.name: member for member in archive}
        assert all(member.isreg() for member in members.values())
        for name, folder in SHARED.items():
            prefix = f"celery-exporter/files/{name}/"
            held = {member.removeprefix(prefix) for member in members if member.startswith(prefix)}
            assert held == {path.name for path in folder.iterdir() if path.is_file()}
            for file in held:
                content = archive.extractfile(prefix + file)
                assert isinstance(content, io.BufferedReader)
                assert content.read() == (folder / file).read_bytes()
    assert "celery-exporter/README.md" in members
    assert "celery-exporter/values.schema.json" in members
    assert not any("/ci/" in name or "/files/alerts/tests/" in name for name in members)


@pytest.mark.parametrize("case", ALL_CASES)
def test_the_package_renders_as_its_folder(package: Path, case: str) -> None:
    """Who installs the archive gets what the tests of the folder have seen."""
    assert template(case, chart=package) == template(case)


def test_versions_agree() -> None:
    """The chart installs the exporter that it stands beside."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__
    (pod, *_) = pod_templates(template({}))
    assert container(pod)["image"] == f"celery-exporter:{__version__}"


@pytest.mark.parametrize("major", MAJORS)
def test_it_can_be_part_of_another_chart(package: Path, tmp_path: Path, major: str) -> None:
    """With a parent's condition, its global values, and names that follow its release."""
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / package.name).write_bytes(package.read_bytes())
    dependency = {"name": "celery-exporter", "version": ">=0", "condition": "celery-exporter.enabled"}
    chart = {"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart), encoding="utf-8")
    values: dict[str, Any] = {
        "global": {
            "imageRegistry": "registry.example.org",
            "imagePullSecrets": ["pull"],
            "storageClass": "fast",
        },
        "celery-exporter": {"enabled": True, "broker": {"url": "redis://{{ .Release.Name }}-redis"}},
    }
    pod = one(template(values, major=major, chart=tmp_path), "Deployment")["spec"]["template"]
    assert container(pod)["image"] == f"registry.example.org/celery-exporter:{__version__}"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    values["celery-exporter"]["enabled"] = False
    assert template(values, major=major, chart=tmp_path) == []


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({"image": {"tag": "1.2.3"}}, "celery-exporter:1.2.3"),
        ({"image": {"registry": "r.example.org", "tag": "1"}}, "r.example.org/celery-exporter:1"),
        ({"image": {"tag": "1", "digest": f"sha256:{'a' * 64}"}}, f"celery-exporter@sha256:{'a' * 64}"),
        (
            {
                "image": {"registry": "r.example.org", "repository": "a/b", "tag": "1"},
                "global": {"imageRegistry": "g"},
            },
            "g/a/b:1",
        ),
    ],
)
def test_images(values: dict[str, Any], image: str) -> None:
    """By tag or digest, from a registry of the chart or of all charts; `helm test` takes the same."""
    assert {container(pod)["image"] for pod in pod_templates(template(values))} == {image}


def test_dashboards_become_config_maps() -> None:
    """One each, which Grafana's sidecar finds by its label and puts into a folder; the JSON is that of grafana/."""
    maps = [
        item
        for item in of_kind(template("everything"), "ConfigMap")
        if "dashboard" in item["metadata"]["name"]
    ]
    for item in maps:
        assert item["metadata"]["namespace"] == "monitoring"
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert item["metadata"]["annotations"]["grafana_folder"] == "Celery"
    data = {name: json.loads(text) for item in maps for name, text in item["data"].items()}
    assert data == {
        f"celery-{path.stem}.json": json.loads(path.read_text(encoding="utf-8"))
        for path in DASHBOARDS.glob("*.json")
    }
    # An object must stay below 1 MiB, and what `kubectl apply` notes of it below 256 KiB.
    assert all(len(text) < 256 * 1024 for item in maps for text in item["data"].values())


def test_dashboards_can_be_chosen() -> None:
    """Some of them, or none, as by default."""
    assert of_kind(template({}), "ConfigMap") == []
    (item,) = of_kind(template({"dashboards": {"enabled": True, "include": ["task"]}}), "ConfigMap")
    assert item["data"].keys() == {"celery-task.json"}
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    choice = schema["properties"]["dashboards"]["properties"]["include"]["items"]["enum"]
    assert set(choice) == {path.stem for path in DASHBOARDS.glob("*.json")}
    assert yaml.safe_load((CHART / "values.yaml").read_text())["dashboards"]["include"] == choice
