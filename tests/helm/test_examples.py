"""The examples beside the chart: values that render, objects that Kubernetes and KEDA know, queries that are PromQL."""

import copy
from collections.abc import Callable

import promql_parser
import pytest
import yaml

from tests.helm.chart import CHART, MAJORS, Object, helm, of_kind, one, template
from tests.helm.queries import EXAMPLES, adapter_rules, queries
from tests.helm.test_matrix import KUBERNETES
from tests.helm.validation import Invalid, validate

# File -> the kind that it adds.
SCALERS = {"keda": "ScaledObject", "hpa": "HorizontalPodAutoscaler"}


def rendered(name: str, major: str = "3") -> list[Object]:
    """The objects that the chart makes with an example."""
    return template(yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8")), major=major)


def test_every_example_is_known() -> None:
    """Each file is either for this chart, or for that of prometheus-adapter."""
    assert EXAMPLES.keys() == {*SCALERS, "prometheus-adapter"}


@pytest.mark.needs("helm")
@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("name", SCALERS)
def test_an_example_is_valid(name: str, major: str) -> None:
    """All of its objects, in all versions of Kubernetes; helm finds nothing to lint."""
    objects = rendered(name, major)
    assert one(objects, SCALERS[name])
    for version in KUBERNETES:
        for item in objects:
            validate(item, version)
    linted = helm(major, "lint", "--strict", CHART, "--values", EXAMPLES[name])
    assert linted.returncode == 0, linted.stdout + linted.stderr


def _misspelt(item: Object) -> None:
    item["spec"]["maxReplicasCount"] = 3


def _deep_down(item: Object) -> None:
    (item["spec"].get("triggers") or item["spec"]["metrics"])[0]["metricTyp"] = "Value"


def _without_target(item: Object) -> None:
    del item["spec"]["scaleTargetRef"]


@pytest.mark.needs("helm")
@pytest.mark.parametrize("spoil", [_misspelt, _deep_down, _without_target])
@pytest.mark.parametrize("name", SCALERS)
def test_a_wrong_example_is_found(name: str, spoil: Callable[[Object], None]) -> None:
    """The schemas refuse unknown fields, and objects without what they need."""
    item = copy.deepcopy(one(rendered(name), SCALERS[name]))
    spoil(item)
    with pytest.raises(Invalid):
        validate(item, KUBERNETES[-1])


@pytest.mark.needs("helm")
def test_scalers_agree() -> None:
    """Both scale by the same two numbers, with the same thresholds, and know their queue without workers."""
    keda, hpa = (one(rendered(name), kind)["spec"] for name, kind in SCALERS.items())
    assert [trigger["metadata"]["threshold"] for trigger in keda["triggers"]] == [
        metric["external"]["target"]["averageValue"] for metric in hpa["metrics"]
    ]
    assert {trigger["metadata"]["ignoreNullValues"] for trigger in keda["triggers"]} == {"false"}
    asked = [metric["external"]["metric"] for metric in hpa["metrics"]]
    assert [metric["name"] for metric in asked] == [rule["name"]["as"] for rule in adapter_rules()]
    assert [trigger["metadata"]["query"] for trigger in keda["triggers"]] == [
        rule["metricsQuery"].replace("<<.LabelMatchers>>", 'queue="mail"') for rule in adapter_rules()
    ]
    for name in SCALERS:
        env = one(rendered(name), "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "CELERY_EXPORTER_QUEUE", "value": "mail"} in env
        assert len(of_kind(rendered(name), "ServiceMonitor")) == 1


@pytest.mark.parametrize("query", queries().values(), ids=queries())
def test_queries_are_promql(query: str) -> None:
    """Each query of an example parses."""
    promql_parser.parse(query)
