"""Doctor before brokers that cannot be reached, or do not let us in: each state is named, with what repairs it."""

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trustme

from celery_metrics_exporter.config.config import BrokerTls
from tests.integration.conftest import Vhost
from tests.integration.doctoring import examine
from tests.integration.servers import HOST, Certificates, RabbitMQ, Sentinels, Valkey, free_port
from tests.integration.servers.tls_front import TlsFront

PASSWORD = "known-to-nobody"
LATER = ("tcp", "tls", "login", "namespace", "subscribe", "read", "ask", "workers", "queues", "buffers")


def test_a_name_that_does_not_resolve() -> None:
    """The name is told, all that depends on it is skipped and says so."""
    found = examine("redis://no-such-host.invalid:6379/0")
    assert "no-such-host.invalid" in found.only_failure("resolve")["command"]
    for check in LATER:
        assert found[check]["message"] == "needs: name resolution"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_no_broker(scheme: str) -> None:
    """Nobody listens; what needs the connection says so, also where another check stands between."""
    port = free_port()
    found = examine(f"{scheme}://{HOST}:{port}/0")
    found.only_failure("tcp", f"{HOST}:{port}", "refused")
    assert found["login"]["message"] == found["buffers"]["message"] == "needs: connection"


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    """The path of a Unix socket is told."""
    path = tmp_path / "no.sock"
    found = examine(f"redis+socket://{path}")
    found.only_failure("tcp", str(path))
    assert found.status("resolve") == "skipped"


def test_a_unix_socket(tmp_path: Path) -> None:
    """A Redis behind a Unix socket is examined like any other."""
    path = tmp_path / "valkey.sock"
    with Valkey(tmp_path / "valkey", config={"unixsocket": str(path)}):
        found = examine(f"redis+socket://{path}?virtual_host=3")
        found.says("tcp", "ok", str(path))
        found.says("namespace", "ok", "database 3")
        found.says("arrival", "ok", "our own")
        assert {"resolve", "tls"} <= found.skipped


def test_wrong_passwords_on_redis(valkey: Valkey) -> None:
    """A password that is wrong or missing is told, without the one that was given."""
    with valkey.client() as client:
        client.config_set("requirepass", "another")
    for credentials, words in (
        (f":{PASSWORD}@", "invalid username-password pair"),
        ("", "Authentication required"),
    ):
        found = examine(f"redis://{credentials}{HOST}:{valkey.port}/0")
        assert "PASSWORD@HOST" in found.only_failure("login", words)["remedy"]
        assert PASSWORD not in str(found.document)


def test_databases_of_redis(valkey: Valkey) -> None:
    """A database that there is not, and one that the user may not choose until the printed line was run."""
    examine(f"redis://{HOST}:{valkey.port}/99").only_failure("namespace", "out of range")
    with valkey.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "+@all", "-select", "~*", "&*"
        )
        url = f"redis://reader:{PASSWORD}@{HOST}:{valkey.port}/2"
        line = examine(url).only_failure("namespace", "select")["command"]
        client.execute_command(*line.split())
    assert examine(url).status("namespace") == "ok"


def test_logins_of_rabbitmq(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> None:
    """A wrong password, a virtual host that there is not, and one that the user may not enter."""
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="doctor", password=PASSWORD)
    found = examine(url)
    assert "change_password doctor" in found.only_failure("login", "ACCESS_REFUSED")["remedy"]
    assert PASSWORD not in str(found.document)
    rabbitmq.add_user("doctor", PASSWORD)
    found = examine(url)
    found.only_failure("namespace", "access to vhost", "refused")
    assert f"-p {rabbitmq_vhost.name} doctor" in found["namespace"]["command"]
    assert (
        "list_vhosts"
        in (
            examine(rabbitmq.vhost_url("nowhere")).only_failure("namespace", "nowhere", "not found")[
                "command"
            ]
        )
    )


def test_a_failover_list(valkey: Valkey) -> None:
    """One address that is dead is a warning, as long as another one lets us in."""
    port = free_port()
    found = examine(f"redis://{HOST}:{port}/0;{valkey.url}")
    found.says("tcp", "warning", f"{HOST}:{port}", f"{HOST}:{valkey.port} answers")
    found.says("arrival", "ok")


@contextmanager
def front(valkey: Valkey, context: ssl.SSLContext) -> Iterator[str]:
    """TLS before a Valkey; the broker URL."""
    port = free_port()
    made = TlsFront(valkey.port, context, port=port)
    try:
        yield f"rediss://{HOST}:{port}/0"
    finally:
        made.stop()


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def test_certificates(valkey: Valkey, tmp_path: Path) -> None:
    """Expired, about to, not yet valid, of another name, of an unknown authority; and one that will do."""
    authority = trustme.CA()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    tls = BrokerTls(ca_file=str(file))
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    for certificate, words, remedy in (
        (authority.issue_cert(HOST, not_before=now - 9 * day, not_after=now - day), "expired", "renew"),
        (authority.issue_cert(HOST, not_before=now + day, not_after=now + 9 * day), "not yet valid", "clock"),
        (authority.issue_cert("elsewhere.example"), "mismatch", "stands in the certificate"),
    ):
        with front(valkey, context_of(certificate)) as url:
            found = examine(url, tls=tls).only_failure("tls", words)
            assert remedy in found["remedy"]
            assert "openssl s_client" in found["command"]
    soon = authority.issue_cert(HOST, not_before=now - day, not_after=now + 3.5 * day)
    with front(valkey, context_of(soon)) as url:
        examine(url, tls=tls).says("tls", "warning", "ends in 3 days")
    with front(valkey, context_of(authority.issue_cert(HOST))) as url:
        assert "--broker-tls-ca-file" in examine(url).only_failure("tls", "certificate")["remedy"]
        examine(url, tls=tls).says("tls", "ok", "trusted")
        examine(url, tls=BrokerTls(verify=False)).says("tls", "warning", "not checked")


def test_tls_on_one_side_only(valkey: Valkey, certificates: Certificates) -> None:
    """A plain port and a TLS port that the URL takes for the other, and a server that wants our certificate."""
    tls = BrokerTls(ca_file=str(certificates.ca_file))
    with front(valkey, certificates.server_context()) as url:
        found = examine(url.replace("rediss", "redis"), timeout=1.0).only_failure("tls", "speaks TLS")
        assert "rediss://" in found["remedy"]
    plain = valkey.url.replace("redis", "rediss")
    assert "redis://" in examine(plain, timeout=1.0).only_failure("tls", "without TLS")["remedy"]
    with front(valkey, certificates.server_context(verify_client=True)) as url:
        found = examine(url, timeout=1.0, tls=tls).only_failure("tls", "client certificate")
        assert "--broker-tls-cert-file" in found["remedy"]
        given = BrokerTls(
            ca_file=tls.ca_file,
            cert_file=str(certificates.client_cert_file),
            key_file=str(certificates.client_key_file),
        )
        examine(url, tls=given).says("tls", "ok")


def test_rabbitmq_without_tls(rabbitmq: RabbitMQ) -> None:
    """amqps:// to its plain port."""
    found = examine(rabbitmq.url.replace("amqp", "amqps")).only_failure("tls", "not speak TLS")
    assert "amqp://" in found["remedy"]


def test_another_protocol(valkey: Valkey, rabbitmq: RabbitMQ) -> None:
    """A port that belongs to something else is called by what it speaks."""
    examine(f"redis://{HOST}:{rabbitmq.port}/0", timeout=1.0).only_failure("tls", "speaks AMQP, not Redis")
    examine(f"amqp://{HOST}:{valkey.port}//", timeout=1.0).only_failure("tls", "speaks Redis, not AMQP")
    found = examine(f"amqp://{HOST}:{rabbitmq.management_port}//", timeout=1.0).only_failure(
        "tls", "speaks HTTP, not AMQP"
    )
    assert "15672" in found["remedy"]


def test_a_broker_that_says_nothing() -> None:
    """A port that takes connections and answers nothing: the login fails in time."""
    with closing(socket.create_server((HOST, 0), backlog=20)) as server:
        port = server.getsockname()[1]
        examine(f"redis://{HOST}:{port}/0", timeout=1.0).only_failure("login", "Timeout")


def test_sentinels(sentinels: Sentinels) -> None:
    """The master is found by its name; another name is told as wrong."""
    options = {"master_name": sentinels.master_name}
    found = examine(sentinels.url, transport_options=options)
    found.says("sentinel", "ok")
    found.says("arrival", "ok", "our own")
    wrong = examine(sentinels.url, transport_options={"master_name": "nobody"})
    assert "master_name=" in wrong.only_failure("sentinel", "nobody")["command"]


def test_brokers_without_a_server(tmp_path: Path) -> None:
    """What does not apply is skipped, with the reason; folders that are missing are told."""
    found = examine("memory://")
    assert found.code == 0
    assert {"resolve", "tcp", "tls", "login", "namespace", "arrival", "workers"} <= found.skipped
    assert "one process" in found["workers"]["message"]
    folders = {name: str(tmp_path / name) for name in ("data_folder_in", "data_folder_out", "control_folder")}
    found = examine(
        "filesystem://", transport_options={**folders, "data_folder_in": str(tmp_path / "in" / "not")}
    )
    assert "data_folder_in" in found.says("subscribe", "failed", "No such file")["remedy"]
