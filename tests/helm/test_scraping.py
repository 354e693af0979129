"""Who scrapes and how, and who may talk to whom."""

from typing import Any

import pytest

from tests.helm.chart import CASES, CHART, Object, helm, of_kind, one, template

pytestmark = pytest.mark.needs("helm")

MONITORS = {"ServiceMonitor": "serviceMonitor", "PodMonitor": "podMonitor", "ScrapeConfig": "scrapeConfig"}
SELECTED = {
    "app.kubernetes.io/name": "celery-exporter",
    "app.kubernetes.io/instance": "rel",
    "app.kubernetes.io/component": "exporter",
}


def endpoint(item: Object) -> dict[str, Any]:
    """The part of a monitor that says how to scrape, with the names that a ServiceMonitor gives it."""
    spec = item["spec"]
    if item["kind"] == "ScrapeConfig":
        names = {"metricsPath": "path", "scrapeInterval": "interval"}
        found = {names.get(key, key): value for key, value in spec.items()}
        return {**found, "scheme": spec["scheme"].lower()}
    (only,) = spec["endpoints" if item["kind"] == "ServiceMonitor" else "podMetricsEndpoints"]
    return dict(only)


@pytest.mark.parametrize("kind", MONITORS)
def test_nobody_scrapes_unasked(kind: str) -> None:
    """Without the operator's types in the cluster the default values install."""
    assert of_kind(template({}), kind) == []
    assert len(of_kind(template({MONITORS[kind]: {"enabled": True}}), *MONITORS)) == 1


@pytest.mark.parametrize("kind", MONITORS)
def test_a_monitor_finds_the_exporter(kind: str) -> None:
    """By labels and port of the Service or the pod, in its namespace; the job is the release."""
    objects = template({MONITORS[kind]: {"enabled": True, "namespace": "monitoring"}})
    item = one(objects, kind)
    assert item["metadata"]["namespace"] == "monitoring"
    if kind == "ScrapeConfig":
        service = one(objects, "Service")
        port = service["spec"]["ports"][0]["port"]
        name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{port}"
        assert item["spec"]["staticConfigs"][0]["targets"] == [name]
        assert item["spec"]["jobName"] == "rel"
        return
    assert item["spec"]["selector"] == {"matchLabels": SELECTED}
    assert item["spec"]["namespaceSelector"] == {"matchNames": ["apps"]}
    assert endpoint(item)["port"] == "http"
    found = one(objects, "Service" if kind == "ServiceMonitor" else "Deployment")
    labels = found["metadata" if kind == "ServiceMonitor" else "spec"]
    labels = labels["labels"] if kind == "ServiceMonitor" else labels["template"]["metadata"]["labels"]
    assert SELECTED.items() <= labels.items()
    assert labels[item["spec"]["jobLabel"]] == "rel"


@pytest.mark.parametrize("kind", MONITORS)
def test_a_monitor_says_all_that_it_is_told(kind: str) -> None:
    """Interval, timeout, TLS, user, relabelings, limits; path and scheme follow the exporter's own values."""
    item = next(
        item for item in of_kind(template("everything"), kind) if item["metadata"]["name"] == "watch-celery"
    )
    found = endpoint(item)
    told = {
        "path": "/prometheus",
        "scheme": "https",
        "interval": "30s",
        "scrapeTimeout": "10s",
        "tlsConfig": {"insecureSkipVerify": True},
        "basicAuth": {
            "username": {"name": "scraper", "key": "user"},
            "password": {"name": "scraper", "key": "password"},
        },
        "honorLabels": True,
        "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
        "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "python_.*", "action": "drop"}],
    }
    assert {key: found[key] for key in told} == told
    limits = {
        "sampleLimit": 200000,
        "targetLimit": 10,
        "labelLimit": 40,
        "labelNameLengthLimit": 200,
        "labelValueLengthLimit": 300,
        "keepDroppedTargets": 5,
    }
    assert limits.items() <= item["spec"].items()
    assert item["metadata"]["labels"]["release"] == "prometheus"
    assert item["metadata"]["annotations"]["monitor"] == "annotated"


@pytest.mark.parametrize("kind", MONITORS)
def test_a_monitor_says_nothing_that_it_is_not_told(kind: str) -> None:
    """The defaults of Prometheus hold; an Authorization header may stand for a user."""
    header = {"credentials": {"name": "scraper", "key": "token"}}
    found = endpoint(one(template({MONITORS[kind]: {"enabled": True, "authorization": header}}), kind))
    assert found["scheme"] == "http"
    assert found["path"] == "/metrics"
    assert found["authorization"] == header
    assert not found.keys() & {
        "interval",
        "scrapeTimeout",
        "tlsConfig",
        "basicAuth",
        "honorLabels",
        "relabelings",
    }


WORKERS = {"enabled": True, "selector": {"matchLabels": {"app": "worker"}}}
PORT = "__meta_kubernetes_pod_container_port_number"


def of_workers(objects: list[Object]) -> Object:
    """The PodMonitor of the workers."""
    (found,) = [
        item for item in of_kind(objects, "PodMonitor") if item["metadata"]["name"].endswith("-workers")
    ]
    return found


def test_workers_are_scraped_by_the_number_of_their_port() -> None:
    """Whatever the pods call it, in the release's namespace; all of them are one job, which is not the exporter's."""
    item = of_workers(template({"workers": {"podMonitor": WORKERS}}))
    assert item["metadata"]["namespace"] == "apps"
    assert item["spec"] == {
        "namespaceSelector": {"matchNames": ["apps"]},
        "selector": {"matchLabels": {"app": "worker"}},
        "podMetricsEndpoints": [
            {
                "path": "/metrics",
                "scheme": "http",
                "relabelings": [{"sourceLabels": [PORT], "regex": "9809", "action": "keep"}],
            }
        ],
    }


def test_workers_are_scraped_as_they_are_told() -> None:
    """Everything that the monitors of the exporter can say, and where the workers are."""
    item = of_workers(template("everything"))
    assert item["metadata"]["namespace"] == "monitoring"
    assert item["metadata"]["labels"]["release"] == "prometheus"
    assert item["metadata"]["annotations"]["monitor"] == "annotated"
    spec = item["spec"]
    assert spec["namespaceSelector"] == {"any": True}
    assert spec["selector"] == {
        "matchLabels": {"app.kubernetes.io/component": "worker"},
        "matchExpressions": [{"key": "canary", "operator": "DoesNotExist"}],
    }
    assert (spec["jobLabel"], spec["podTargetLabels"]) == ("app.kubernetes.io/part-of", ["team"])
    assert spec["sampleLimit"] == 200000
    found = endpoint(item)
    told = {
        "path": "/worker",
        "scheme": "https",
        "interval": "30s",
        "scrapeTimeout": "10s",
        "honorLabels": True,
    }
    assert told.items() <= found.items()
    assert found["tlsConfig"] == {"insecureSkipVerify": True}
    assert found["basicAuth"]["username"] == {"name": "scraper", "key": "user"}
    assert found["metricRelabelings"][0]["action"] == "drop"
    assert [rule.get("regex", rule.get("targetLabel")) for rule in found["relabelings"]] == ["19809", "node"]


def test_workers_are_scraped_by_the_name_of_their_port() -> None:
    """Then the operator chooses it."""
    found = endpoint(of_workers(template({"workers": {"podMonitor": {**WORKERS, "port": "metrics"}}})))
    assert found == {"path": "/metrics", "scheme": "http", "port": "metrics"}


def test_workers_need_no_exporter() -> None:
    """Without it there are the PodMonitor, alerts and dashboards, and nothing that leads to a pod of ours."""
    objects = template("workers")
    assert {item["kind"] for item in objects} == {"ConfigMap", "PodMonitor", "PrometheusRule"}
    assert of_workers(objects) == one(objects, "PodMonitor")
    assert {"exporter", "alerts", "dashboards", "monitoring"} >= {
        item["metadata"]["labels"]["app.kubernetes.io/component"] for item in objects
    }
    text = notes("--values", str(CASES["workers"]))
    assert "The exporter is not installed" in text
    assert "kubectl" not in text


def test_workers_and_exporter_are_scraped_side_by_side() -> None:
    """One PodMonitor each, of different names."""
    objects = template({"podMonitor": {"enabled": True}, "workers": {"podMonitor": WORKERS}})
    assert {item["metadata"]["name"] for item in of_kind(objects, "PodMonitor")} == {
        "rel-celery-exporter",
        "rel-celery-exporter-workers",
    }
    assert of_kind(objects, "Deployment")


def policy(values: dict[str, Any]) -> dict[str, Any]:
    """The spec of the NetworkPolicy."""
    enabled = {"enabled": True, **values.get("networkPolicy", {})}
    spec: dict[str, Any] = one(template({**values, "networkPolicy": enabled}), "NetworkPolicy")["spec"]
    return spec


def test_only_the_scraper_comes_in() -> None:
    """To the one port; the pod of `helm test` too, while there is one."""
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    tester = {"podSelector": {"matchLabels": {**SELECTED, "app.kubernetes.io/component": "test"}}}
    (rule,) = policy({})["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}], "from": [monitoring, tester]}
    (rule,) = policy({"tests": {"enabled": False}})["ingress"]
    assert rule["from"] == [monitoring]
    (rule,) = policy({"networkPolicy": {"from": []}})["ingress"]
    assert "from" not in rule


def test_only_dns_and_the_broker_are_let_out() -> None:
    """Whatever else the exporter tried, it would fail."""
    spec = policy(
        {"broker": {"networkPolicy": {"ports": [6379], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}}
    )
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["podSelector"] == {"matchLabels": SELECTED}
    dns, broker = spec["egress"]
    assert dns == {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert broker == {
        "ports": [{"port": 6379, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    }


def test_further_rules_are_added() -> None:
    """Beside our own, which stay."""
    spec = policy({"networkPolicy": {"extraIngress": [{"from": [{}]}], "extraEgress": [{"to": [{}]}]}})
    assert spec["ingress"][1:] == [{"from": [{}]}]
    assert spec["egress"][2:] == [{"to": [{}]}]


def test_the_service_leads_to_the_pod() -> None:
    """Its port by the name of the container's; the protocol is told to service meshes."""
    objects = template("everything")
    (port,) = one(objects, "Service")["spec"]["ports"]
    assert port == {
        "name": "http",
        "port": 80,
        "targetPort": "http",
        "protocol": "TCP",
        "appProtocol": "https",
    }
    (port,) = one(template({}), "Service")["spec"]["ports"]
    assert port["appProtocol"] == "http"


def test_an_eviction_is_possible() -> None:
    """The default budget lets a node be drained: of one replica, one may be away."""
    spec = one(template({"podDisruptionBudget": {"enabled": True}}), "PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def notes(*arguments: str) -> str:
    """What helm says after an installation; helm 4 needs no cluster for a dry run."""
    done = helm("4", "install", "rel", CHART, "--namespace", "apps", "--dry-run=client", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_notes_tell_how_to_see_metrics() -> None:
    """Commands that name what was installed; what is missing is said."""
    text = notes("--set", "broker.url=redis://redis")
    assert "kubectl --namespace apps port-forward deployment/rel-celery-exporter 9808:9808" in text
    assert "curl http://localhost:9808/metrics" in text
    assert "exec deployment/rel-celery-exporter --container celery-exporter -- celery-exporter doctor" in text
    assert "Prometheus does not scrape it yet" in text
    assert "No alerts" in text
    assert "No dashboards" in text
    assert "No broker" not in text


def test_notes_tell_which_secret_is_missing() -> None:
    """With the command that makes it."""
    text = " ".join(notes().split())
    assert "create secret generic rel-celery-exporter-broker --from-literal=broker-url=redis://" in text
    text = notes("--set", "brokers[0].name=a,brokers[1].name=b,brokers[1].url=redis://b")
    assert "No broker was given for a" in text
    assert "No broker was given for b" not in text


def test_notes_warn_of_counting_twice() -> None:
    """Two kinds of monitors are two scrapes."""
    text = notes("--values", str(CASES["everything"]))
    assert "WARNING: serviceMonitor, podMonitor, scrapeConfig are enabled" in text
    assert "curl --insecure https://localhost:9808/prometheus" in text
    assert "port-forward deployment/watch-celery 9808:19808" in text
    assert "No alerts" not in text
