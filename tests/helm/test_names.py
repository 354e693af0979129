"""Names, labels, selectors and namespaces of all objects."""

import re

import pytest

from tests.helm.chart import (
    ALL_CASES,
    NAMESPACE,
    RELEASE,
    Object,
    of_kind,
    one,
    template,
)

pytestmark = pytest.mark.needs("helm")

LONG = "a-very-long-name-that-somebody-gave-to-a-release-of-this-chart-and-liked"


@pytest.mark.parametrize("case", ALL_CASES)
def test_labels_keep_the_convention(case: str) -> None:
    """Every object of ours has the recommended labels; selectors find the pods, and no pod of `helm test`."""
    objects = template(case)
    ours = [item for item in objects if item["metadata"].get("labels")]
    for item in ours:
        labels = item["metadata"]["labels"]
        for name in ("name", "instance", "version", "component", "managed-by"):
            assert labels[f"app.kubernetes.io/{name}"]
        assert labels["helm.sh/chart"].startswith("celery-exporter-")
    tests = [item["metadata"]["labels"] for item in objects if item["kind"] == "Pod"]
    for deployment in of_kind(objects, "Deployment"):
        selector = deployment["spec"]["selector"]["matchLabels"]
        pod = deployment["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= pod.items()
        assert "app.kubernetes.io/version" not in selector
        assert not any(selector.items() <= labels.items() for labels in tests)
        # A Service, a budget and a policy of the same name select the same pods.
        for item in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy"):
            if item["metadata"]["name"] == deployment["metadata"]["name"]:
                spec = item["spec"]
                chosen = spec.get("podSelector", spec.get("selector", {}))
                assert chosen.get("matchLabels", chosen) == selector


def test_selectors_never_change() -> None:
    """A Deployment's selector is immutable: neither the version nor a label that users may change is in it."""
    plain, changed = (
        one(template(values), "Deployment")["spec"]["selector"]
        for values in ({}, {"commonLabels": {"a": "b"}, "podLabels": {"c": "d"}, "image": {"tag": "9"}})
    )
    assert (
        plain
        == changed
        == {
            "matchLabels": {
                "app.kubernetes.io/name": "celery-exporter",
                "app.kubernetes.io/instance": RELEASE,
                "app.kubernetes.io/component": "exporter",
            }
        }
    )


def test_users_cannot_break_the_selector() -> None:
    """A pod's label of the user never beats one that selects it."""
    values = {
        "podLabels": {"app.kubernetes.io/name": "x"},
        "commonLabels": {"app.kubernetes.io/instance": "y"},
    }
    deployment = one(template(values), "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    "values", [{}, {"brokers": [{"name": "a"}, {"name": "b" * 30}]}, {"dashboards": {"enabled": True}}]
)
def test_names_fit(values: Object) -> None:
    """With the longest release name every name and label's value has at most 63 characters, and none is there twice."""
    everything = {
        **values,
        "fullnameOverride": LONG,
        "networkPolicy": {"enabled": True},
        "serviceMonitor": {"enabled": True},
    }
    objects = template({**everything, "podDisruptionBudget": {"enabled": True}})
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(set(names)) == len(names)
    for _, name in names:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)
    for item in objects:
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("rel", {}, "rel-celery-exporter"),
        ("celery-exporter", {}, "celery-exporter"),
        ("my-celery-exporter", {}, "my-celery-exporter"),
        ("rel", {"nameOverride": "watch"}, "rel-watch"),
        ("rel", {"fullnameOverride": "watch"}, "watch"),
        ("42", {"fullnameOverride": "42"}, "42"),
    ],
)
def test_names_come_from_the_release(release: str, values: Object, name: str) -> None:
    """As in other charts; a name of digits stays text."""
    deployment = one(template(values, release=release), "Deployment")
    assert deployment["metadata"]["name"] == name
    assert deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == release


def test_namespaces() -> None:
    """Of the release, or another for all, or another for what a Prometheus or Grafana looks for elsewhere."""
    assert {item["metadata"]["namespace"] for item in template("minimal")} == {NAMESPACE}
    assert {item["metadata"]["namespace"] for item in template("existing-secret")} == {"watch"}
    elsewhere = {"ServiceMonitor", "PodMonitor", "ScrapeConfig", "PrometheusRule"}
    for item in template("everything"):
        if (
            item["metadata"]["labels" if "labels" in item["metadata"] else "name"]
            and "namespace" in item["metadata"]
        ):
            there = item["kind"] in elsewhere or "dashboard" in item["metadata"]["name"]
            assert item["metadata"]["namespace"] == ("monitoring" if there else NAMESPACE)
