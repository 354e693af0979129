"""What a platform team looks at first: privileges, replicas, probes."""

import copy

import pytest

from tests.helm.chart import (
    ALL_CASES,
    Object,
    container,
    of_kind,
    pod_templates,
    template,
)
from tests.helm.pod_security import SPOILED, violations

pytestmark = pytest.mark.needs("helm")

USER = 10001


@pytest.mark.parametrize("case", ALL_CASES)
def test_pods_pass_the_restricted_profile(case: str) -> None:
    """A namespace that enforces Pod Security "restricted" takes all pods, that of `helm test` too."""
    pods = pod_templates(template(case))
    assert len(pods) >= 2 or case == "workers"  # which has no exporter
    for pod in pods:
        assert violations(pod) == []


@pytest.mark.parametrize("spoiled", SPOILED)
def test_the_restricted_profile_can_fail(spoiled: str) -> None:
    """The check above finds what a value can spoil."""
    assert any(violations(pod) for pod in pod_templates(template(SPOILED[spoiled])))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostPort", {"ports": [{"containerPort": 9808, "hostPort": 9808}]}),
        ("host of a probe", {"livenessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 1}}}),
        ("host of a probe", {"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 1}}}}),
    ],
)
def test_what_no_value_can_spoil_is_looked_at(field: str, value: Object) -> None:
    """Rules about a container that the chart gives no value for are checked all the same."""
    pod = copy.deepcopy(pod_templates(template({}))[0])
    container(pod).update(value)
    assert violations(pod) == [f"{container(pod)['name']}: {field}"]


@pytest.mark.parametrize("case", ALL_CASES)
def test_containers_are_hardened(case: str) -> None:
    """Beyond "restricted": a numeric user, a root file system that cannot be written, no token, no links."""
    for pod in pod_templates(template(case)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["runAsGroup"] == USER
        context = container(pod)["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsNonRoot"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container(pod)["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container(pod)["resources"]["limits"].keys() == {"memory"}
    for account in of_kind(template(case), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", ALL_CASES)
def test_one_replica_and_never_two(case: str) -> None:
    """A second replica would count every event a second time, also for the moment of an upgrade."""
    for deployment in of_kind(template(case), "Deployment"):
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_openshift_may_choose_the_user() -> None:
    """Ids that are null are gone, so that the security context constraints of OpenShift set them."""
    nobody = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))
    for pod in pod_templates(template({"podSecurityContext": nobody})):
        assert not nobody.keys() & pod["spec"]["securityContext"].keys()
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_probes_ask_for_the_process_alone() -> None:
    """All three ask /-/healthy: a readiness that asked /-/ready would hide the exporter when the broker is away."""
    (pod, _) = pod_templates(template("minimal"))
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(pod)[probe]["httpGet"] == {"path": "/-/healthy", "port": "http", "scheme": "HTTP"}


@pytest.mark.parametrize(
    ("case", "handler"),
    [
        ("everything", {"httpGet": {"path": "/-/healthy", "port": "http", "scheme": "HTTPS"}}),
        ("existing-secret", {"httpGet": {"path": "/-/healthy", "port": "http", "scheme": "HTTPS"}}),
        ("tls", {"exec": {"command": ["celery-exporter", "healthcheck"]}}),
    ],
)
def test_probes_know_tls(case: str, handler: Object) -> None:
    """HTTPS where the endpoint has it; where it demands a certificate, which a kubelet lacks, it asks itself."""
    (pod, _) = pod_templates(template(case))
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert handler.items() <= container(pod)[probe].items()
        assert len(container(pod)[probe].keys() & {"httpGet", "exec", "tcpSocket", "grpc"}) == 1


def test_probes_can_be_chosen() -> None:
    """The handler by hand, other times, and none."""
    values = {
        "probeHandler": "exec",
        "livenessProbe": {"periodSeconds": 60, "initialDelaySeconds": 5},
        "readinessProbe": {"enabled": False},
    }
    found = container(pod_templates(template(values))[0])
    assert found["livenessProbe"] == {
        "exec": {"command": ["celery-exporter", "healthcheck"]},
        "initialDelaySeconds": 5,
        "periodSeconds": 60,
        "timeoutSeconds": 5,
        "failureThreshold": 4,
    }
    assert "readinessProbe" not in found
