"""Several brokers by a list: one of each for each, what they share, and what tells their metrics apart."""

from typing import Any

import pytest

from tests.helm.chart import Object, container, of_kind, one, template

pytestmark = pytest.mark.needs("helm")

NAMES = ("orders", "mail", "reports")


def pods(values: dict[str, Any] | str) -> dict[str, Object]:
    """The exporter's containers by the name of their Deployment."""
    return {
        item["metadata"]["name"].removeprefix("rel-celery-exporter-"): container(item["spec"]["template"])
        for item in of_kind(template(values), "Deployment")
    }


def env(item: Object) -> dict[str, Any]:
    """The variables of a container."""
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in item["env"]}


@pytest.mark.parametrize("kind", ["Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"])
def test_each_broker_has_its_own(kind: str) -> None:
    """One object a broker, which selects the pod of that broker alone."""
    found = of_kind(template("brokers"), kind)
    assert [item["metadata"]["name"] for item in found] == [f"rel-celery-exporter-{name}" for name in NAMES]
    for item, name in zip(found, NAMES, strict=True):
        assert item["metadata"]["labels"]["celery-exporter/broker"] == name
        spec = item["spec"]
        chosen = spec.get("podSelector", spec.get("selector"))
        assert chosen.get("matchLabels", chosen)["celery-exporter/broker"] == name


def test_a_broker_takes_what_it_does_not_say() -> None:
    """From `broker`, `config` and the others of all; what it says is laid over."""
    found = pods("brokers")
    assert env(found["orders"])["CELERY_EXPORTER_BROKER_URL"] == {
        "secretKeyRef": {"name": "celery-brokers", "key": "orders"}
    }
    assert env(found["mail"])["CELERY_EXPORTER_BROKER_URL"]["secretKeyRef"]["key"] == "mail"
    assert env(found["reports"])["CELERY_EXPORTER_BROKER_URL"] == {
        "secretKeyRef": {"name": "rel-celery-exporter-reports", "key": "broker-url"}
    }
    for item in found.values():
        assert env(item)["CELERY_EXPORTER_WORKER_TIMEOUT"] == "2m"
        assert item["args"] == ["run", "--event-queue-prefix=watch"]
    assert env(found["orders"])["CELERY_EXPORTER_MAX_IN_FLIGHT"] == "3000000"
    assert env(found["mail"])["CELERY_EXPORTER_QUEUE"] == "mail bounces"
    assert env(found["mail"])["TEAM"] == "mail"
    assert "TEAM" not in env(found["orders"])
    assert found["orders"]["resources"]["limits"] == {"memory": "2Gi"}
    assert found["orders"]["resources"]["requests"] == found["mail"]["resources"]["requests"]


def test_false_beats_true() -> None:
    """An item may turn off what all others have on, and empty what is set."""
    values = {
        "broker": {"tls": {"secretName": "s", "serverName": "a"}},
        "config": {"enable-events": True},
        "brokers": [
            {"name": "a"},
            {"name": "b", "tls": {"verify": False, "serverName": ""}, "config": {"enable-events": False}},
        ],
    }
    found = pods(values)
    assert "CELERY_EXPORTER_BROKER_TLS_VERIFY" not in env(found["a"])
    assert env(found["b"])["CELERY_EXPORTER_BROKER_TLS_VERIFY"] == "false"
    assert "CELERY_EXPORTER_BROKER_TLS_SERVER_NAME" not in env(found["b"])
    assert env(found["b"])["CELERY_EXPORTER_ENABLE_EVENTS"] == "false"
    for item in found.values():
        assert env(item)["CELERY_EXPORTER_BROKER_TLS_CA_FILE"] == "/etc/celery-exporter/broker-tls/ca.crt"


def test_without_a_secret_each_expects_its_own() -> None:
    """The Secrets that are expected have names that differ."""
    found = pods({"brokers": [{"name": "a"}, {"name": "b"}]})
    assert [env(found[name])["CELERY_EXPORTER_BROKER_URL"]["secretKeyRef"]["name"] for name in "ab"] == [
        "rel-celery-exporter-a-broker",
        "rel-celery-exporter-b-broker",
    ]


def test_one_broker_of_a_list_is_a_list() -> None:
    """Its name stands in all names, so that another can be added without a change to the first."""
    one_, two = (template({"brokers": [{"name": name} for name in names]}) for names in ("a", "ab"))
    assert of_kind(one_, "Deployment")[0] == of_kind(two, "Deployment")[0]


@pytest.mark.parametrize(
    ("kind", "endpoints"), [("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")]
)
def test_the_label_broker_comes_by_relabeling(kind: str, endpoints: str) -> None:
    """One monitor for all; the pod's label becomes `broker`, before relabelings of the user."""
    own = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
    monitor = {kind[0].lower() + kind[1:]: {"enabled": True, "relabelings": [own]}}
    several = one(template({**monitor, "brokers": [{"name": "a"}, {"name": "b"}]}), kind)
    (endpoint,) = several["spec"][endpoints]
    assert endpoint["relabelings"] == [
        # As Prometheus writes the label celery-exporter/broker of a pod (its kubernetes_sd_config).
        {
            "sourceLabels": ["__meta_kubernetes_pod_label_celery_exporter_broker"],
            "targetLabel": "broker",
            "action": "replace",
        },
        own,
    ]
    assert "celery-exporter/broker" not in several["spec"]["selector"]["matchLabels"]
    (endpoint,) = one(template(monitor), kind)["spec"][endpoints]
    assert endpoint["relabelings"] == [own]


def test_a_scrape_config_has_one_target_a_broker() -> None:
    """Each Service is a target, with the label `broker`."""
    found = one(template("brokers"), "ScrapeConfig")["spec"]["staticConfigs"]
    assert [(item["targets"], item["labels"]["broker"]) for item in found] == [
        ([f"rel-celery-exporter-{name}.apps.svc:9808"], name) for name in NAMES
    ]
