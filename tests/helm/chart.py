"""The chart rendered by real helm: values in, Kubernetes objects out.

Owns how helm is called. ``template`` remembers what it rendered, so that tests may ask for the same again.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.integration.servers.requirements import HELM

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "celery-exporter"

#: Major versions of helm.
MAJORS: Final = ("3", "4")
#: Value files of the matrix, by what stands before -values.yaml.
CASES: Final = {
    path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))
}
#: The chart's own default values are a case too.
DEFAULTS: Final = "default"
ALL_CASES: Final = (DEFAULTS, *CASES)

RELEASE: Final = "rel"
NAMESPACE: Final = "apps"

#: A Kubernetes object.
Object = dict[str, Any]


def helm(major: str, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run helm, with a home of its own that it finds empty."""
    home = {name: str(HELM / "home") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    return subprocess.run(
        [HELM / major / "helm", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | home,
    )


@cache
def _rendered(major: str, release: str, chart: Path, values: str, arguments: tuple[str, ...]) -> str:
    done = helm(
        major,
        "template",
        release,
        chart,
        *("--namespace", NAMESPACE, "--api-versions", "monitoring.coreos.com/v1"),
        *arguments,
        *("--values", "-"),
        stdin=values,
    )
    assert done.returncode == 0, done.stderr
    # Dashboards are long: parsed once by C, and copied through JSON.
    return json.dumps([document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document])


def values_of(case: str) -> dict[str, Any]:
    """The values of a case of the matrix."""
    return {} if case == DEFAULTS else yaml.safe_load(CASES[case].read_text(encoding="utf-8"))


def template(
    values: Mapping[str, Any] | str,
    *arguments: str,
    major: str = "3",
    release: str = RELEASE,
    chart: Path = CHART,
) -> list[Object]:
    """The objects that a chart renders with these values, or those of a case."""
    chosen = values_of(values) if isinstance(values, str) else values
    objects: list[Object] = json.loads(_rendered(major, release, chart, json.dumps(chosen), arguments))
    return objects


def refusal(values: Mapping[str, Any], *, major: str = "3") -> str:
    """What helm says when it refuses these values."""
    done = helm(major, "template", RELEASE, CHART, "--values", "-", stdin=json.dumps(values))
    assert done.returncode != 0, "helm took the values"
    return done.stderr


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of these kinds; the pods of `helm test` are no part of an installation and left out."""
    return [
        item
        for item in objects
        if item["kind"] in kinds and "helm.sh/hook" not in item["metadata"].get("annotations", {})
    ]


def one(objects: list[Object], kind: str) -> Object:
    """The only one of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def pod_templates(objects: list[Object]) -> list[Object]:
    """The pods of Deployments, and those of `helm test`."""
    return [item["spec"]["template"] for item in of_kind(objects, "Deployment")] + [
        item for item in objects if item["kind"] == "Pod"
    ]


def container(template_or_pod: Object) -> Object:
    """The exporter's container."""
    found: Object = template_or_pod["spec"]["containers"][0]
    return found
