"""What the chart refuses, and in which words: by its schema, and by templates where values contradict each other."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from celery_metrics_exporter.web.config import _SECTIONS
from tests.helm.chart import CHART, MAJORS, refusal

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

Values = dict[str, Any]


def override(**fields: str) -> Values:
    """Values with one override of a threshold."""
    return {"prometheusRule": {"overrides": [{**fields, "value": 1}]}}


# Values -> what both helms say: the place, and what is wrong there.
REFUSED_BY_SCHEMA: list[tuple[Values, str, str]] = [
    ({"replicas": 2}, "", "replicas"),
    ({"brokr": {}}, "", "brokr"),
    ({"broker": {"URL": "redis://redis"}}, "broker", "URL"),
    ({"broker": {"url": "redis"}}, "broker/url", "pattern"),
    ({"broker": {"managementUrl": "rabbitmq:15672"}}, "broker/managementUrl", "pattern"),
    ({"broker": {"existingSecret": "my-secret"}}, "broker/existingSecret", "object"),
    ({"broker": {"tls": {"verify": "no"}}}, "broker/tls/verify", "boolean"),
    ({"broker": {"networkPolicy": {"ports": []}}}, "broker/networkPolicy/ports", "1"),
    ({"brokers": [{"url": "redis://redis"}]}, "brokers/0", "name"),
    ({"brokers": [{"name": "Orders"}]}, "brokers/0/name", "pattern"),
    ({"brokers": [{"name": "a", "serviceMonitor": {}}]}, "brokers/0", "serviceMonitor"),
    ({"config": {"worker-timout": "2m"}}, "config", "worker-timout"),
    ({"config": {"worker-timeout": "2 minutes"}}, "config/worker-timeout", "pattern"),
    ({"config": {"broker-url": "redis://:secret@redis"}}, "config", "broker-url"),
    ({"config": {"log.level": "trace"}}, "config/log.level", "warning"),
    ({"config": {"enable-events": "yes"}}, "config/enable-events", "boolean"),
    ({"config": {"queue": "celery"}}, "config/queue", "array"),
    ({"config": {"queue": [""]}}, "config/queue/0", "1"),
    ({"config": {"max-series": 0}}, "config/max-series", "1"),
    ({"config": {"runtime-buckets": "0.1,1"}}, "config/runtime-buckets", "array"),
    ({"image": {"tag": 1.1}}, "image/tag", "string"),
    ({"image": {"digest": "0123"}}, "image/digest", "pattern"),
    ({"image": {"pullPolicy": "always"}}, "image/pullPolicy", "IfNotPresent"),
    ({"containerPort": 0}, "containerPort", "1"),
    ({"readinessProbe": {"httpGet": {"path": "/-/ready"}}}, "readinessProbe", "httpGet"),
    ({"probeHandler": "https"}, "probeHandler", "exec"),
    ({"extraEnv": {"A": "b"}}, "extraEnv", "array"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "extraEnv/0/value", "string"),
    ({"webConfig": {"content": {"basic_auth": {}}}}, "webConfig/content", "basic_auth"),
    ({"service": {"type": "clusterIP"}}, "service/type", "ClusterIP"),
    ({"serviceMonitor": {"enabled": True, "intervall": "30s"}}, "serviceMonitor", "intervall"),
    ({"serviceMonitor": {"interval": "30"}}, "serviceMonitor/interval", "pattern"),
    ({"podMonitor": {"limits": {"sampleLimits": 1}}}, "podMonitor/limits", "sampleLimits"),
    ({"workers": {"podMonitor": {"port": 0}}}, "workers/podMonitor/port", "port"),
    ({"workers": {"podMonitor": {"path": "metrics"}}}, "workers/podMonitor/path", "pattern"),
    ({"workers": {"podMonitor": {"selector": {"app": "worker"}}}}, "workers/podMonitor/selector", "app"),
    ({"workers": {"replicas": 2}}, "workers", "replicas"),
    ({"exporter": {"enabled": "no"}}, "exporter/enabled", "boolean"),
    ({"prometheusRule": {"thresholds": {"queue_wait": 1}}}, "prometheusRule/thresholds", "queue_wait"),
    ({"prometheusRule": {"thresholds": {"queue_wait_seconds": "5m"}}}, "thresholds/queue_wait_seconds", "pattern"),
    ({"prometheusRule": {"alerts": {"WorkerLost": {}}}}, "prometheusRule/alerts", "WorkerLost"),
    ({"prometheusRule": {"groups": {"celery-tasks-slow": {}}}}, "prometheusRule/groups", "celery-tasks-slow"),
    (override(threshold="events_missed"), "overrides/0/threshold", "queue_wait_seconds"),
    (override(threshold="queue_wait_seconds"), "overrides/0", "queue"),
    (override(threshold="task_running_seconds", queue="a"), "overrides/0", "task"),
    ({"dashboards": {"include": ["flower"]}}, "dashboards/include/0", "overview"),
    ({"fullnameOverride": "Celery_Exporter"}, "fullnameOverride", "pattern"),
]  # fmt: skip

# Values -> what the chart says.
CONTRADICTIONS: list[tuple[Values, str]] = [
    ({"broker": {"url": "redis://a", "existingSecret": {"name": "b"}}}, "broker has a url and an existingSecret"),
    ({"broker": {"url": "redis://a", "fromSecret": False}}, "broker has a url, which fromSecret: false would not use"),
    ({"broker": {"url": "redis://a"}, "brokers": [{"name": "b"}]}, "broker.url and brokers exclude each other"),
    ({"brokers": [{"name": "a"}, {"name": "a"}]}, "brokers has two items with the name a"),
    ({"brokers": [{"name": "a", "config": {"web.telemetry-path": "/a"}}]}, "broker a has web.telemetry-path"),
    ({"broker": {"existingSecret": {"managementUrlKey": "m"}}}, "no existingSecret.name"),
    (
        {"broker": {"managementUrl": "http://a", "existingSecret": {"name": "b", "managementUrlKey": "m"}}},
        "broker has managementUrl and existingSecret.managementUrlKey",
    ),
    (
        {"broker": {"transportOptions": {"a": 1}, "existingSecret": {"name": "b", "transportOptionsKey": "m"}}},
        "broker has transportOptions and existingSecret.transportOptionsKey",
    ),
    ({"webConfig": {"content": {"basic_auth_users": {}}, "existingSecret": {"name": "a"}}}, "webConfig has content"),
    ({"extraEnv": [{"name": "CELERY_EXPORTER_BROKER_URL", "value": "redis://a"}]}, "is set already"),
    ({"config": {"max-series": 5}, "extraEnv": [{"name": "CELERY_EXPORTER_MAX_SERIES"}]}, "is set already"),
    ({"extraEnv": [{"name": "A"}, {"name": "A"}]}, "extraEnv sets A, which is set already"),
    ({"extraArgs": ["--broker-url=redis://redis"]}, "arguments are for all to see"),
    ({"extraArgs": ["--management-url", "http://me:pw@a"]}, "arguments are for all to see"),
    ({"extraArgs": ["--proxy=http://me:pw@a"]}, "arguments are for all to see"),
    ({"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}, "a ServiceMonitor needs the Service"),
    ({"scrapeConfig": {"enabled": True}, "service": {"enabled": False}}, "a ScrapeConfig needs the Service"),
    ({"workers": {"podMonitor": {"enabled": True}}}, "workers.podMonitor.selector is empty"),
    ({"exporter": {"enabled": False}, "scrapeConfig": {"enabled": True}}, "exporter.enabled: false leaves out"),
    ({"exporter": {"enabled": False}, "podMonitor": {"enabled": True}}, "exporter.enabled: false leaves out"),
    ({"exporter": {"enabled": False}, "serviceMonitor": {"enabled": True}}, "exporter.enabled: false leaves out"),
]  # fmt: skip


@pytest.mark.needs("helm")
@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(("values", "place", "wrong"), REFUSED_BY_SCHEMA)
def test_schema_says_what_is_wrong_where(values: Values, place: str, wrong: str, major: str) -> None:
    """A typo or a wrong value is refused in words that name it and its place."""
    said = refusal(values, major=major)
    assert "values don't meet the specifications of the schema" in said
    # helm 3 writes a.b.0, helm 4 /a/b/0.
    assert any(
        wrong in line and place.replace("/", ".") in line.replace("/", ".") for line in said.splitlines()[2:]
    ), said


@pytest.mark.needs("helm")
@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(("values", "words"), CONTRADICTIONS)
def test_contradictions_are_refused(values: Values, words: str, major: str) -> None:
    """Values that exclude each other end in one sentence that says so."""
    assert words in refusal(values, major=major)


def _objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, part in schema.items():
            yield from _objects(part, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from _objects(part, f"{path}/{number}")


def test_every_object_of_ours_is_closed() -> None:
    """Wherever the schema names keys, others are refused; `global` belongs to parent charts."""
    named = [(path, part) for path, part in _objects(SCHEMA) if "properties" in part]
    assert len(named) > 20
    assert [path for path, part in named if part.get("additionalProperties") is not False] == [
        "/properties/global"
    ]


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        found: Any = SCHEMA
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def _drift(values: Any, schema: dict[str, Any], path: str) -> list[str]:
    """Keys that values.yaml has and the schema does not name, or the other way round."""
    properties = _resolved(schema).get("properties")
    if not isinstance(values, dict) or properties is None or not values:
        return []
    optional = {"/config", "/global"} | {path for path in (path,) if path.endswith(("Probe", "resources"))}
    found = [f"{path}/{key} is in values.yaml only" for key in values.keys() - properties.keys()]
    if path not in optional and "/groups/" not in path:
        found += [f"{path}/{key} is in the schema only" for key in properties.keys() - values.keys()]
    for key in values.keys() & properties.keys():
        found += _drift(values[key], properties[key], f"{path}/{key}")
    return found


def test_schema_and_values_name_the_same_keys() -> None:
    """Nothing can be set that values.yaml, and so the README, does not tell of; nothing is told that is refused."""
    assert _drift(VALUES, SCHEMA, "") == []
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


def test_web_config_has_the_sections_of_the_exporter() -> None:
    """webConfig.content takes the sections that the exporter reads, and no other."""
    content = SCHEMA["properties"]["webConfig"]["properties"]["content"]["properties"]
    assert content.keys() == set(_SECTIONS)
