"""Every case of the matrix renders with helm 3 and helm 4 to objects that Kubernetes and the operator know."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from tests.helm.chart import (
    ALL_CASES,
    CASES,
    CHART,
    MAJORS,
    Object,
    helm,
    of_kind,
    template,
    values_of,
)
from tests.helm.validation import Invalid, validate

pytestmark = pytest.mark.needs("helm")

#: The oldest that the chart says it works with, and each from one that is still in use to the newest with schemas.
KUBERNETES = ("1.26", *(f"1.{minor}" for minor in range(29, 38)))
#: One object of each kind that the chart can make.
KINDS = {
    "ConfigMap",
    "Deployment",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "PodMonitor",
    "PrometheusRule",
    "ScrapeConfig",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
}


@pytest.mark.parametrize("case", ALL_CASES)
def test_every_document_is_valid(case: str) -> None:
    """Of known kinds, without an unknown field, in all these versions of Kubernetes."""
    objects = template(case)
    assert objects
    for version in KUBERNETES:
        for item in objects:
            validate(item, version)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_kubernetes_gets_the_same(version: str, major: str) -> None:
    """What is validated above is what each of them gets: no template asks for the version."""
    assert template("everything", "--kube-version", version, major=major) == template("everything")
    for file in (CHART / "templates").rglob("*"):
        assert file.is_dir() or "KubeVersion" not in file.read_text(encoding="utf-8"), file


@pytest.mark.parametrize("major", MAJORS)
def test_an_older_kubernetes_is_refused(major: str) -> None:
    """The oldest version above is the one that Chart.yaml names."""
    refused = helm(major, "template", "rel", CHART, "--kube-version", "1.25.16")
    assert f">={KUBERNETES[0]}.0-0 which is incompatible" in refused.stderr


def test_the_matrix_has_every_kind() -> None:
    """What the chart can make is validated above; a template that no case renders would not be."""
    assert {item["kind"] for item in template("everything")} == KINDS
    rendered = {path.name for path in (CHART / "templates").rglob("*.yaml")}
    text = helm("3", "template", "rel", CHART, "--values", CASES["everything"]).stdout
    assert {Path(line.split()[-1]).name for line in text.splitlines() if "# Source:" in line} == rendered


@pytest.mark.parametrize("case", ALL_CASES)
def test_both_helms_render_the_same(case: str) -> None:
    """Whoever moves from helm 3 to helm 4 sees no difference."""
    assert template(case, major="3") == template(case, major="4")


@pytest.mark.parametrize("case", ALL_CASES)
def test_no_object_is_there_twice(case: str) -> None:
    """Two of the same kind and name would overwrite each other."""
    objects = template(case)
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("case", ALL_CASES)
def test_lint_finds_nothing(case: str, major: str) -> None:
    """`helm lint --strict` takes the chart with these values."""
    values = ("--values", CASES[case]) if case in CASES else ()
    linted = helm(major, "lint", "--strict", CHART, *values)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "[WARNING]" not in linted.stdout
    assert "[ERROR]" not in linted.stdout


@pytest.mark.parametrize(
    "path",
    [
        *(CHART / "values.yaml", CHART / "Chart.yaml", *CASES.values()),
        *(path for folder in ("examples", "files/compatibility") for path in (CHART / folder).iterdir()),
    ],
    ids=lambda path: path.name,
)
def test_files_are_clean_yaml(path: Path) -> None:
    """No key twice, no trailing blanks, one way to indent."""
    rules = {"line-length": {"max": 130}, "document-start": "disable", "braces": {"max-spaces-inside": 0}}
    config = YamlLintConfig(yaml.safe_dump({"extends": "default", "rules": rules}))
    assert list(linter.run(path.read_text(encoding="utf-8"), config)) == []


@pytest.mark.parametrize("case", ALL_CASES)
def test_rendered_text_is_clean(case: str) -> None:
    """No trailing blank and no tab: what people read in `helm get manifest`."""
    values = ("--values", CASES[case]) if case in CASES else ()
    lines = helm("3", "template", "rel", CHART, *values).stdout.splitlines()
    assert [line for line in lines if line != line.rstrip() or "\t" in line] == []


def _wrong_kind(item: Object) -> None:
    item["kind"] = f"{item['kind']}s"


def _unknown_field(item: Object) -> None:
    item["spec"]["replcas"] = 1


def _unknown_field_deep_down(item: Object) -> None:
    nested: dict[str, tuple[str | int, ...]] = {
        "Deployment": ("template", "spec"),
        "ServiceMonitor": ("endpoints", 0),
        "PodMonitor": ("podMetricsEndpoints", 0),
        "ScrapeConfig": ("staticConfigs", 0),
        "PrometheusRule": ("groups", 1, "rules", 0),
    }
    place = item["spec"]
    for step in nested[item["kind"]]:
        place = place[step]
    place["livenesProbe"] = {}


def _wrong_type(item: Object) -> None:
    item["metadata"]["labels"] = {"a": 1}


@pytest.mark.parametrize(
    "kind", ["Deployment", "ServiceMonitor", "PodMonitor", "ScrapeConfig", "PrometheusRule"]
)
@pytest.mark.parametrize("spoil", [_wrong_kind, _unknown_field, _unknown_field_deep_down, _wrong_type])
def test_validation_can_fail(kind: str, spoil: Callable[[Object], None]) -> None:
    """What is right is taken; an unknown kind, an unknown field and a wrong type are found."""
    item = copy.deepcopy(of_kind(template("everything"), kind)[0])
    validate(item, KUBERNETES[0])
    spoil(item)
    with pytest.raises(Invalid):
        validate(item, KUBERNETES[0])


def test_an_unknown_group_is_found() -> None:
    """An object of an API that nobody knows is an error, not a warning."""
    with pytest.raises(Invalid):
        validate({"apiVersion": "example.org/v1", "kind": "Deployment", "metadata": {"name": "a"}}, "1.33")


def test_cases_say_what_they_are_for() -> None:
    """A value file begins with a comment, and holds values."""
    for case, path in CASES.items():
        assert path.read_text(encoding="utf-8").startswith("# ")
        assert values_of(case)
