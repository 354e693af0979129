"""Secrets: where they come from, that they go nowhere else, and that pods notice when they change."""

import json
from typing import Any

import pytest

from celery_metrics_exporter.config.parse import split_words
from celery_metrics_exporter.config.transport_options import transport_options
from tests.helm.chart import ALL_CASES, Object, container, of_kind, one, pod_templates, template
from tests.helm.pods import stores_in

pytestmark = pytest.mark.needs("helm")

# What the cases of the matrix hold of secrets.
SECRETS = ("hunter2", "p%40ss", "s e,cret", "$2b$05$")
#: Variables that must come from a Secret.
SECRET_VARIABLES = ("BROKER_URL", "MANAGEMENT_URL", "BROKER_TRANSPORT_OPTION")


def without_secrets(objects: list[Object]) -> str:
    """All objects but Secrets, as text."""
    return json.dumps([item for item in objects if item["kind"] != "Secret"])


@pytest.mark.parametrize("case", ALL_CASES)
def test_secrets_are_in_secrets_only(case: str) -> None:
    """Neither an argument, nor a variable, an annotation or a ConfigMap holds one in plain text."""
    objects = template(case)
    assert not any(secret in without_secrets(objects) for secret in SECRETS)
    for pod in pod_templates(objects):
        for variable in container(pod)["env"]:
            if variable["name"].removeprefix("CELERY_EXPORTER_") in SECRET_VARIABLES:
                assert variable.keys() == {"name", "valueFrom"}
                assert variable["valueFrom"].keys() == {"secretKeyRef"}


def test_the_cases_hold_secrets() -> None:
    """The check above looks for what is there: each secret is in a Secret of some case."""
    held = [
        text for case in ALL_CASES for store in stores_in(template(case)).values() for text in store.values()
    ]
    for secret in SECRETS:
        assert any(secret in text for text in held), secret


def env(values: dict[str, Any]) -> dict[str, Any]:
    """The variables of the exporter."""
    found = container(one(template(values), "Deployment")["spec"]["template"])["env"]
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in found}


def reference(name: str, key: str) -> Object:
    """A reference to a Secret's key."""
    return {"secretKeyRef": {"name": name, "key": key}}


def test_a_secret_is_made_of_the_url() -> None:
    """The chart's own Secret, named after the release."""
    values = {"broker": {"url": "redis://:pw@redis:6379/0"}}
    assert stores_in(template(values)) == {"rel-celery-exporter": {"broker-url": "redis://:pw@redis:6379/0"}}
    assert env(values)["CELERY_EXPORTER_BROKER_URL"] == reference("rel-celery-exporter", "broker-url")


def test_a_url_may_name_the_release() -> None:
    """A parent chart's broker is called after the release."""
    values = {"broker": {"url": "redis://{{ .Release.Name }}-redis:6379/0"}}
    assert stores_in(template(values))["rel-celery-exporter"]["broker-url"] == "redis://rel-redis:6379/0"


def test_a_secret_of_the_user() -> None:
    """Its name is a template, its key free; the chart makes none then."""
    values = {
        "broker": {"existingSecret": {"name": "{{ .Release.Name }}-app", "urlKey": "CELERY_BROKER_URL"}}
    }
    assert env(values)["CELERY_EXPORTER_BROKER_URL"] == reference("rel-app", "CELERY_BROKER_URL")
    assert of_kind(template(values), "Secret") == []


def test_without_a_broker_a_secret_is_expected() -> None:
    """Default values name a Secret that the user makes; NOTES.txt tells how."""
    assert env({})["CELERY_EXPORTER_BROKER_URL"] == reference("rel-celery-exporter-broker", "broker-url")
    assert of_kind(template({}), "Secret") == []


def test_the_url_may_come_another_way() -> None:
    """With fromSecret: false the chart sets no broker, and envFrom or extraEnv do."""
    values = {
        "broker": {"fromSecret": False},
        "envFrom": [{"secretRef": {"name": "app-env"}}],
        "extraEnv": [{"name": "CELERY_EXPORTER_BROKER_URL", "value": "redis://:$(PASSWORD)@redis"}],
    }
    assert env(values)["CELERY_EXPORTER_BROKER_URL"] == "redis://:$(PASSWORD)@redis"
    spec = container(one(template(values), "Deployment")["spec"]["template"])
    assert spec["envFrom"] == [{"secretRef": {"name": "app-env"}}]


def test_transport_options_are_json() -> None:
    """A text that looks like a number stays text; nested options, blanks and commas survive the variable."""
    options = {"a": 5, "b": "05", "c": {"password": 'x "y, z'}, "d": True, "e": [1, 2]}
    (store,) = stores_in(template({"broker": {"transportOptions": options}})).values()
    assert transport_options(split_words(store["transport-options"])) == options


def test_transport_options_may_be_a_file_of_the_user() -> None:
    """A key of the user's Secret is mounted, and named to the exporter."""
    existing = {"name": "app", "transportOptionsFileKey": "kombu.yaml"}
    pod = one(template({"broker": {"existingSecret": existing}}), "Deployment")["spec"]["template"]
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "broker-options"]
    assert volume["secret"]["secretName"] == "app"
    assert volume["secret"]["items"] == [{"key": "kombu.yaml", "path": "options.yaml"}]
    (mount,) = [each for each in container(pod)["volumeMounts"] if each["name"] == "broker-options"]
    variable = "CELERY_EXPORTER_BROKER_TRANSPORT_OPTIONS_FILE"
    assert env({"broker": {"existingSecret": existing}})[variable] == f"{mount['mountPath']}/options.yaml"


def annotations(values: dict[str, Any], number: int = 0) -> dict[str, str]:
    """The annotations of a pod template."""
    template_ = of_kind(template(values), "Deployment")[number]["spec"]["template"]
    found: dict[str, str] = template_["metadata"].get("annotations", {})
    return found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"broker": {"url": "redis://a"}}, {"broker": {"url": "redis://b"}}),
        (
            {"broker": {"transportOptions": {"a": 1}}},
            {"broker": {"transportOptions": {"a": 2}}},
        ),
        (
            {"webConfig": {"content": {"basic_auth_users": {"a": "b"}}}},
            {"webConfig": {"content": {"basic_auth_users": {"a": "c"}}}},
        ),
    ],
)
def test_pods_roll_when_a_secret_changes(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A checksum in the pod's annotations follows the content, and only that."""
    assert annotations(first) != annotations(second)
    assert annotations(first) == annotations({**first, "service": {"port": 81}})
    assert all(len(sum_) == 64 for sum_ in annotations(first).values())


def test_only_the_pod_of_a_changed_secret_rolls() -> None:
    """The Secret of one broker is no matter of the other's pod."""
    before, after = (
        {"brokers": [{"name": "a", "url": "redis://a"}, {"name": "b", "url": f"redis://{host}"}]}
        for host in "bc"
    )
    assert annotations(before, 0) == annotations(after, 0)
    assert annotations(before, 1) != annotations(after, 1)


@pytest.mark.parametrize("case", ["everything", "existing-secret", "tls"])
def test_files_are_for_the_group_alone(case: str) -> None:
    """Mounted read-only, whole (a renewed certificate arrives), readable by the pod's group and nobody else."""
    pod = one(template(case), "Deployment")["spec"]["template"]
    ours = [volume for volume in pod["spec"]["volumes"] if volume.keys() & {"secret", "projected"}]
    assert ours
    for volume in ours:
        assert volume.get("secret", volume.get("projected"))["defaultMode"] == 0o440
    for mount in container(pod)["volumeMounts"]:
        assert "subPath" not in mount
        if mount["name"] in {volume["name"] for volume in ours}:
            assert mount["readOnly"] is True
    assert pod["spec"]["securityContext"]["fsGroup"]
