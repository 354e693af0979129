"""The version stands in one file; the chart, which helm reads as it is, must name the same, and all else follows."""

import re
import subprocess
import tomllib

import yaml
from packaging.version import Version

from celery_metrics_exporter import __version__
from tests.checkout import ROOT
from tests.release.pythons import PROJECT

CHART = ROOT / "helm" / "celery-exporter"


def test_the_package_takes_it_from_the_code() -> None:
    """pyproject.toml has none of its own; it is what pip, helm and a registry of images all take for a version."""
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    source = (ROOT / tools["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert f'\n__version__ = "{__version__}"\n' in source
    assert str(Version(__version__)) == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_chart_installs_the_image_of_its_version() -> None:
    """Chart and exporter have one version, and values.yaml names no image of another."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    image = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["image"]
    assert (image["tag"], image["digest"]) == ("", "")


def test_make_image_labels_it() -> None:
    """`make image` finds the version."""
    told = subprocess.run(
        ["make", "-n", "image"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (script,) = re.findall(r"VERSION=\$\((.*?)\) ", told)
    found = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found == f"{__version__}\n"


def test_the_chart_has_the_licence() -> None:
    """The copy that goes with the chart's archive is the repository's."""
    assert (CHART / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
