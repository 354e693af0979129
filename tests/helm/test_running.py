"""The real exporter with the variables, arguments and files of rendered pods, and probes asked as rendered."""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest

from tests.helm.chart import ALL_CASES, container, template
from tests.helm.cluster import Cluster, users_stores
from tests.helm.pods import LocalPod, stores_in
from tests.integration.servers import HOST, Certificates, Valkey, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("helm", "valkey")

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
PASSWORD = "pa ss:w@rd"


@pytest.fixture
def cluster(tmp_path: Path, certificates: Certificates) -> Iterator[Cluster]:
    """A kubelet of our own."""
    with ExitStack() as stack:
        yield Cluster(tmp_path, users_stores(certificates), stack)


@pytest.mark.parametrize("case", ALL_CASES)
def test_the_command_line_takes_what_is_rendered(case: str, cluster: Cluster) -> None:
    """Arguments, variables and files of every pod of the matrix pass --check-config, without a warning."""
    for pod in cluster.pods(template(case)):
        assert pod.args[0] == "run"
        checked = pod.run("run", "--check-config", *pod.args[1:])
        assert (checked.returncode, checked.stderr) == (0, ""), checked


def test_check_config_can_fail(cluster: Cluster) -> None:
    """What the schema cannot see is found by the exporter itself."""
    values = {"broker": {"url": "redis://redis"}, "extraArgs": ["--worker-timeout=soon"]}
    (pod,) = cluster.pods(template(values))
    assert pod.run("run", "--check-config", *pod.args[1:]).returncode == 2


def test_the_exporter_serves_metrics(valkey: Valkey, cluster: Cluster) -> None:
    """With a broker that is there: all probes are content, it is ready, and what it was told holds."""
    pod = cluster.start(
        {
            "broker": {"url": valkey.url},
            "config": {
                "queue": ["orders", "mail"],
                "web.telemetry-path": "/prometheus",
                "sample-interval": 0.2,
            },
        }
    )
    assert all(pod.probe(kind) for kind in PROBES)
    wait_for(lambda: pod.status("/-/ready") == 200, timeout=30, what="an exporter that is ready")
    text = wait_for(
        lambda: (
            page if 'celery_queue_length{queue="orders"} 0' in (page := pod.page("/prometheus")[1]) else ""
        ),
        timeout=30,
        what="the queue that values.config names",
    )
    assert "celery_broker_up 1" in text
    assert pod.status("/metrics") == 404


def test_an_outage_of_the_broker_keeps_the_pod_in_scraping(cluster: Cluster) -> None:
    """No broker: /-/ready says so, and yet every probe is content and metrics tell of the outage."""
    nowhere = f"redis://{HOST}:{free_port()}/0"
    pod = cluster.start({"broker": {"url": nowhere}, "config": {"sample-interval": 0.2}})
    wait_for(lambda: "celery_broker_up 0" in pod.page("/metrics")[1], timeout=30, what="a look that failed")
    assert pod.status("/-/ready") == 503
    for kind in PROBES:
        assert pod.probe(kind), kind


def test_an_outage_later_keeps_the_pod_in_scraping(valkey: Valkey, cluster: Cluster) -> None:
    """The same when the broker goes away while the exporter runs."""
    pod = cluster.start({"broker": {"url": valkey.url}, "config": {"sample-interval": 0.2}})
    wait_for(lambda: pod.status("/-/ready") == 200, timeout=30, what="an exporter that is ready")
    valkey.stop()
    wait_for(lambda: pod.status("/-/ready") == 503, timeout=30, what="an exporter that is not ready")
    assert all(pod.probe(kind) for kind in PROBES)
    wait_for(lambda: "celery_broker_up 0" in pod.page("/metrics")[1], timeout=30, what="a look that failed")


def test_probes_of_an_endpoint_with_tls_and_users(valkey: Valkey, cluster: Cluster) -> None:
    """The kubelet knows neither the authority nor a password; a scraper without one is refused."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    pod = cluster.start(
        {
            "broker": {"url": valkey.url},
            "webConfig": {
                "certificateSecret": "celery-exporter-tls",
                "content": {"basic_auth_users": {"prometheus": hashed}},
            },
        }
    )
    assert all(pod.probe(kind) for kind in PROBES)
    assert pod.status("/metrics") in {0, 400}
    assert pod.status("/metrics", scheme="https") == 401
    login = base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode()
    code, text = pod.page("/metrics", scheme="https", headers={"Authorization": f"Basic {login}"})
    assert code == 200
    assert "celery_exporter_build_info" in text


def test_probes_where_client_certificates_are_demanded(
    valkey: Valkey, cluster: Cluster, certificates: Certificates
) -> None:
    """A kubelet has none, so the exporter asks itself; nobody else gets in without one."""
    tls = {
        "cert_file": "/etc/celery-exporter/web-tls/tls.crt",
        "key_file": "/etc/celery-exporter/web-tls/tls.key",
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "/etc/celery-exporter/web-tls/ca.crt",
    }
    pod = cluster.start(
        {
            "broker": {"url": valkey.url},
            "webConfig": {"certificateSecret": "celery-exporter-tls", "content": {"tls_server_config": tls}},
        }
    )
    assert all(pod.probe(kind) for kind in PROBES)
    assert pod.status("/-/healthy", scheme="https") == 0
    ours = (str(certificates.client_cert_file), str(certificates.client_key_file))
    assert pod.page("/-/healthy", scheme="https", certificate=ours)[0] == 200


@pytest.fixture
def locked_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that wants a password."""
    with Valkey(tmp_path / "locked", password="hunter2") as server:
        yield server


@pytest.fixture
def tls_valkey(tmp_path: Path, certificates: Certificates) -> Iterator[Valkey]:
    """A Valkey behind TLS that wants a certificate."""
    with Valkey(tmp_path / "tls", tls=certificates, verify_client=True) as server:
        yield server


@pytest.mark.parametrize("as_file", [False, True])
def test_a_password_reaches_the_broker(locked_valkey: Valkey, cluster: Cluster, as_file: bool) -> None:
    """From values through a Secret, as a variable or as a file."""
    pod = cluster.start(
        {"broker": {"url": locked_valkey.url, "asFile": as_file}, "config": {"sample-interval": 0.2}}
    )
    wait_for(
        lambda: "celery_broker_up 1" in pod.page("/metrics")[1], timeout=30, what="a broker that lets us in"
    )
    assert ("hunter2" in str(pod.env)) is not as_file
    assert "hunter2" not in str(pod.args)


def test_a_broker_with_tls(tls_valkey: Valkey, cluster: Cluster) -> None:
    """Files of the user's Secret: the authority and a certificate of ours, which the broker demands."""
    tls = {"secretName": "redis-client-tls", "certKey": "tls.crt", "keyKey": "tls.key"}
    pod = cluster.start({"broker": {"url": tls_valkey.url, "tls": tls}, "config": {"sample-interval": 0.2}})
    wait_for(
        lambda: "celery_broker_up 1" in pod.page("/metrics")[1], timeout=30, what="a broker that lets us in"
    )


@pytest.mark.parametrize("tls", [False, True])
def test_helm_test_asks_through_the_service(
    valkey: Valkey, cluster: Cluster, tmp_path: Path, certificates: Certificates, tls: bool
) -> None:
    """The pod of `helm test` fails where nobody listens, and is content with the exporter."""
    web = {"webConfig": {"certificateSecret": "celery-exporter-tls"}} if tls else {}
    exporter = cluster.start({"broker": {"url": valkey.url}, **web})
    objects = template({"broker": {"url": valkey.url}, "service": {"port": 80}, **web})
    (pod,) = (item for item in objects if item["kind"] == "Pod")
    stores = {**users_stores(certificates), **stores_in(objects)}
    asking = LocalPod(pod, stores, tmp_path)
    assert container(pod)["args"] == ["healthcheck"]
    assert asking.env["CELERY_EXPORTER_WEB_LISTEN_ADDRESS"] == "rel-celery-exporter.apps.svc:80"
    for port, code in ((exporter.port, 0), (free_port(), 1)):
        asking.env["CELERY_EXPORTER_WEB_LISTEN_ADDRESS"] = f"{HOST}:{port}"
        assert asking.run(*asking.args).returncode == code


def test_the_doctor_has_the_same_settings(valkey: Valkey, cluster: Cluster) -> None:
    """`kubectl exec ... celery-exporter doctor`, as NOTES.txt tells: settings are variables, so it knows the broker."""
    (pod,) = cluster.pods(template({"broker": {"url": valkey.url}, "config": {"queue": ["orders"]}}))
    told = pod.run("doctor", "--json", "--wait", "1")
    assert told.returncode in {0, 1}
    assert str(valkey.port) in told.stdout
    json.loads(told.stdout)
