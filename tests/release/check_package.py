"""The built packages and chart: complete, and alike wherever they are built. Started by `make release-check`."""

import email
import email.message
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trove_classifiers
import yaml
from packaging.utils import canonicalize_name

from celery_metrics_exporter import __version__
from tests.checkout import ROOT, export, files
from tests.docs.pages import links
from tests.helm.chart import template
from tests.image.distributions import ON_OLDER_PYTHON, licence_families, listed, pinned
from tests.release.artifacts import DISTRIBUTION, Artifacts, build_package, tool
from tests.release.pythons import PROJECT, VERSIONS

_LINKED = "helm/celery-exporter/files/"


def in_sdist(artifacts: Artifacts) -> dict[str, bytes]:
    """The files of the source distribution, without its own folder."""
    with tarfile.open(artifacts.sdist) as archive:
        assert all(one.isreg() for one in archive), "links do not survive on every system"
        return {
            one.name.partition("/")[2]: content.read()
            for one in archive
            if (content := archive.extractfile(one))
        }


def in_wheel(artifacts: Artifacts) -> dict[str, bytes]:
    """The files of the wheel."""
    with zipfile.ZipFile(artifacts.wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def info(artifacts: Artifacts, name: str) -> bytes:
    """A file of the wheel's .dist-info."""
    return in_wheel(artifacts)[f"{DISTRIBUTION.replace('-', '_')}-{__version__}.dist-info/{name}"]


@pytest.fixture
def metadata(artifacts: Artifacts) -> email.message.Message:
    """What the package index shows."""
    return email.message_from_bytes(info(artifacts, "METADATA"))


def test_twine_finds_nothing(artifacts: Artifacts) -> None:
    """The index takes the metadata, and can draw the description."""
    checked = tool("twine", "--no-color", "check", "--strict", artifacts.sdist, artifacts.wheel)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("PASSED") == 2


def test_the_source_distribution_is_the_repository(artifacts: Artifacts) -> None:
    """Whoever builds, tests or patches from it has every file of the tag; what is linked is there as files."""
    held = in_sdist(artifacts)
    expected = {name: ROOT / name for name in files() if (ROOT / name).is_file()}
    for link in (ROOT / _LINKED).iterdir():
        expected |= {
            f"{_LINKED}{link.name}/{path.relative_to(link)}": path
            for path in link.rglob("*")
            if path.is_file()
        }
    assert held.keys() - {"PKG-INFO"} == expected.keys()
    assert not [name for name, path in expected.items() if held[name] != path.read_bytes()]


def test_the_tests_of_the_source_distribution_can_be_collected(artifacts: Artifacts, tmp_path: Path) -> None:
    """Nothing that a test imports is missing in it, nor is git or a checkout asked for."""
    with tarfile.open(artifacts.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "tests"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert collected.returncode == 0, collected.stdout[-3000:] + collected.stderr


def test_the_wheel_is_the_package(artifacts: Artifacts) -> None:
    """Each file of the package and no other, with the note that it is typed."""
    held = {name for name in in_wheel(artifacts) if ".dist-info/" not in name}
    assert held == {name.removeprefix("exporter/") for name in files() if name.startswith("exporter/")}
    assert "celery_metrics_exporter/py.typed" in held


def test_metadata(metadata: email.message.Message) -> None:
    """What pip and the index read is what pyproject.toml says, in words that they know."""
    assert (metadata["Name"], metadata["Version"]) == (DISTRIBUTION, __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == f">={VERSIONS[0]}"
    classifiers = set(metadata.get_all("Classifier", []))
    assert classifiers == set(PROJECT["classifiers"]) <= trove_classifiers.classifiers
    assert not [one for one in classifiers if one.startswith("License ::")]  # the expression says it
    assert set(metadata.get_all("Provides-Extra", [])) == PROJECT["optional-dependencies"].keys()


def test_description(metadata: email.message.Message) -> None:
    """The README's links and pictures lead somewhere on the index's page too: to files of this version."""
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = str(metadata.get_payload())
    at_version = re.compile(
        rf"{PROJECT['urls']['Repository']}/(blob|raw)/v{re.escape(__version__)}/([^#]+)(#.*)?"
    )
    found = [link for link in links(description) if not link.startswith("#")]
    ours = [match for link in found if (match := at_version.fullmatch(link))]
    assert len(ours) == len(
        [link for link in links((ROOT / "README.md").read_text()) if not urlsplit(link).scheme]
    )
    assert not [match[2] for match in ours if not (ROOT / match[2]).exists()]
    assert not [link for link in found if not urlsplit(link).scheme]
    assert "](docs/" not in description


def test_licences(artifacts: Artifacts, metadata: email.message.Message) -> None:
    """The licence goes with each thing that is handed on."""
    licence = (ROOT / "LICENSE").read_bytes()
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert info(artifacts, "licenses/LICENSE") == licence
    assert in_sdist(artifacts)["LICENSE"] == licence
    with tarfile.open(artifacts.chart) as archive:
        held = archive.extractfile("celery-exporter/LICENSE")
        assert held is not None
        assert held.read() == licence


def test_the_same_bytes_wherever_it_is_built(artifacts: Artifacts, tmp_path: Path) -> None:
    """From another folder, and the wheel from the checkout instead of the source distribution."""
    checkout = tmp_path / "elsewhere"
    export(checkout)
    for kind, artifact in (("sdist", artifacts.sdist), ("wheel", artifacts.wheel)):
        build_package(kind, checkout, tmp_path / "built")
        assert (tmp_path / "built" / artifact.name).read_bytes() == artifact.read_bytes()


def test_no_path_of_this_machine(artifacts: Artifacts) -> None:
    """No artifact names the folders that it was built in."""
    everything = {
        **in_wheel(artifacts),
        "sbom": artifacts.sbom.read_bytes(),
        "PKG-INFO": in_sdist(artifacts)["PKG-INFO"],
    }
    for name, content in everything.items():
        for path in (ROOT, artifacts.folder.parent):
            assert str(path).encode() not in content, name


def test_bill_of_materials(artifacts: Artifacts) -> None:
    """It names us, and of all that pip installs with us the version, the licence and the address by package name."""
    bill = json.loads(artifacts.sbom.read_text(encoding="utf-8"))
    root = bill["metadata"]["component"]
    assert (bill["bomFormat"], root["name"], root["version"]) == ("CycloneDX", DISTRIBUTION, __version__)
    components: dict[str, Any] = {canonicalize_name(one["name"]): one for one in bill["components"]}
    components.pop(DISTRIBUTION, None)
    assert components.keys() - ON_OLDER_PYTHON == listed().keys() - ON_OLDER_PYTHON
    for name, one in components.items():
        assert one["version"] == pinned()[name]
        assert one["purl"] == f"pkg:pypi/{name}@{one['version']}"
        assert any(family in json.dumps(one["licenses"]) for family in licence_families(name)), name
    told = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert len(told[root["bom-ref"]]) == len(PROJECT["dependencies"])


def test_chart(artifacts: Artifacts) -> None:
    """Chart, package and image are of one version, and the archive renders."""
    with tarfile.open(artifacts.chart) as archive:
        held = archive.extractfile("celery-exporter/Chart.yaml")
        assert held is not None
        told = yaml.safe_load(held)
    assert (told["version"], told["appVersion"]) == (__version__, __version__)
    assert f'"celery-exporter:{__version__}"' in json.dumps(template("default", chart=artifacts.chart))
