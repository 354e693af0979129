"""The exporter works with users who may do no more than docs/permissions.md lists."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import redis

from tests.integration.conftest import Vhost
from tests.integration.impatient import IMPATIENT
from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.newer_rabbitmq import NewerRabbitMQ
from tests.integration.servers import HOST, CeleryWorker, ExporterProcess, RabbitMQ, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

PERMISSIONS = Path(__file__).parents[2] / "docs" / "permissions.md"
LIVELY = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "1")
PASSWORD = "known-to-nobody"


def redis_rights(server: Valkey) -> list[str]:
    """The words of the ACL SETUSER command in the documentation, after the name of the user, for this server."""
    command = re.search(r"ACL SETUSER celery-exporter (.*?)```", PERMISSIONS.read_text(), re.DOTALL)
    assert command is not None
    words = [word.replace("PASSWORD", PASSWORD) for word in command[1].split()]
    return rights_known_to(server, words)


def rights_known_to(server: Valkey, rights: Iterable[str]) -> list[str]:
    """These without what the documentation tells users of an older Redis to leave out."""
    return [right for right in rights if right != "+client|setinfo" or server.version >= (7, 2)]


def rabbitmq_rights(*, newer: bool = False) -> dict[str, str]:
    """The three patterns of the documentation's set_permissions command, for versions up to 4.2.5 or newer ones."""
    commands = re.findall(
        r"set_permissions -p VHOST celery-exporter(.*?)```", PERMISSIONS.read_text(), re.DOTALL
    )
    assert len(commands) == 2
    configure, write, read = re.findall(r"'([^']+)'", commands[newer])
    return {"configure": configure, "write": write, "read": read}


def check(exporter: ExporterProcess, worker: CeleryWorker, url: str) -> None:
    """Events, queues and answers of workers come."""
    wait_until_receiving(exporter)
    submit({"broker_url": url})
    wait_until_counted(exporter, expected())
    shown = (
        ("celery_queue_length", {"queue": "celery"}),
        ("celery_worker_pool_size", {"worker": worker.nodename}),
        ("celery_worker_queue_info", {"worker": worker.nodename, "queue": "celery"}),
        ("celery_worker_task_events_enabled", {"worker": worker.nodename}),
    )
    wait_for(
        lambda: all(exporter.value(name, **labels) is not None for name, labels in shown),
        timeout=15,
        what=lambda: f"queues and answers: {exporter.process.describe()}\n{exporter.text()}",
    )
    assert exporter.value("celery_broker_up") == 1
    wait_for(
        lambda: exporter.value("celery_exporter_events_total", event="exporter-probe"),
        timeout=15,
        what=lambda: f"an event of its own: {exporter.process.describe()}",
    )
    assert "level=warning" not in exporter.stderr


@pytest.mark.parametrize("control", [True, False])
def test_redis(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker, *, control: bool
) -> None:
    """The user of the documentation suffices, and leaves no key and not one refusal."""
    rights = redis_rights(valkey)
    if not control:  # the last line of the command
        rights = rights[: rights.index("&/0.celery.pidbox")]
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "celery-exporter", *rights)
        worker = start_worker(APP, pool="solo", env=environment({"broker_url": valkey.url}), arguments=LIVELY)
        submit({"broker_url": valkey.url}, added=1, broken=0)
        wait_for(lambda: not client.exists("celery", "unacked"), timeout=10, what="a task that is done")
        before = _keys(client)
        url = f"redis://celery-exporter:{PASSWORD}@{HOST}:{valkey.port}/0"
        options = () if control else ("--no-remote-control",)
        exporter = start_exporter(
            "0", "--broker-url", url, "--sample-interval", "500ms", *options, command=IMPATIENT
        )
        if control:
            check(exporter, worker, valkey.url)
        else:
            wait_until_receiving(exporter)
            submit({"broker_url": valkey.url})
            wait_until_counted(exporter, expected())
        exporter.stop()
        assert _keys(client) == before
        assert client.acl_log() == []
        worker.kill()


def _keys(client: "redis.Redis") -> set[Any]:
    """The keys on the server, without those that come and go with each task while its worker holds it."""
    return set(client.keys()) - {b"celery", b"unacked", b"unacked_index", b"unacked_mutex"}


def test_rabbitmq(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """The user of the documentation suffices, and leaves no queue, exchange or binding behind."""
    rabbitmq.add_user("least", PASSWORD)
    rabbitmq.set_permissions(rabbitmq_vhost.name, "least", **rabbitmq_rights(newer=rabbitmq.hides_queues))
    settings = {"broker_url": rabbitmq_vhost.url}
    worker = start_worker(APP, pool="solo", env=environment(settings), arguments=LIVELY)
    before = _topology(rabbitmq, rabbitmq_vhost)
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="least", password=PASSWORD)
    exporter = start_exporter("0", "--broker-url", url, "--sample-interval", "500ms", command=IMPATIENT)
    check(exporter, worker, rabbitmq_vhost.url)
    exporter.stop()
    wait_for(
        lambda: _topology(rabbitmq, rabbitmq_vhost) == before,
        timeout=10,
        what=lambda: f"{before}; there is {_topology(rabbitmq, rabbitmq_vhost)}",
    )
    worker.kill()


@pytest.mark.parametrize("way", ["read the queues", "management API"])
def test_newer_rabbitmq(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    start_exporter: StartExporter,
    start_worker: StartWorker,
    way: str,
) -> None:
    """The users that the documentation has for 4.2.6 and later suffice there, and nothing is refused to them."""
    rights = rabbitmq_rights(newer=way == "read the queues")
    options: tuple[str, ...] = ()
    if way == "management API":
        options = ("--management-url", rabbitmq.management_url)
    rabbitmq.add_user("least", PASSWORD)
    rabbitmq.set_permissions(rabbitmq_vhost.name, "least", **rights)
    worker = start_worker(
        APP, pool="solo", env=environment({"broker_url": rabbitmq_vhost.url}), arguments=LIVELY
    )
    with NewerRabbitMQ(rabbitmq.port, "|".join(rights.values())) as newer:
        url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="least", password=PASSWORD)
        url = url.replace(str(rabbitmq.port), str(newer.port))
        exporter = start_exporter(
            "0", "--broker-url", url, "--sample-interval", "500ms", *options, command=IMPATIENT
        )
        check(exporter, worker, rabbitmq_vhost.url)
        wait_for(
            lambda: exporter.value("celery_queue_consumers", queue="celery") == 1,
            timeout=15,
            what=lambda: f"a consumer: {exporter.text()}",
        )
        assert set(newer.refusals) <= ({"celery_delayed_0"} if not options else {"celery"})
        exporter.stop()
    worker.kill()


def test_newer_rabbitmq_with_the_rights_of_an_older_one(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """What is forbidden is left out, never 0, and told once; all else works, and the page says what to do."""
    rights = rabbitmq_rights()
    rabbitmq.add_user("least", PASSWORD)
    rabbitmq.set_permissions(rabbitmq_vhost.name, "least", **rights)
    worker = start_worker(
        APP, pool="solo", env=environment({"broker_url": rabbitmq_vhost.url}), arguments=LIVELY
    )
    with NewerRabbitMQ(rabbitmq.port, "|".join(rights.values())) as newer:
        url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="least", password=PASSWORD)
        url = url.replace(str(rabbitmq.port), str(newer.port))
        exporter = start_exporter("--broker-url", url, "--sample-interval", "500ms")
        wait_until_receiving(exporter)
        submit({"broker_url": rabbitmq_vhost.url})
        wait_until_counted(exporter, expected())
        wait_for(
            lambda: exporter.value("celery_queue_workers", queue="celery") == 1,
            timeout=10,
            what=lambda: f"the queue by its worker: {exporter.text()}",
        )
        with urlopen(exporter.url.removesuffix("metrics")) as answer:  # noqa: S310 - http on 127.0.0.1
            page = answer.read().decode()
        assert "RabbitMQ does not let the exporter look at 1 queue" in page
        assert "--management-url" in page
        for family in ("length", "consumers", "oldest_message_timestamp_seconds"):
            assert f"celery_queue_{family}{{" not in exporter.text()
        assert exporter.value("celery_broker_up") == 1
        assert exporter.stderr.count("level=warning") == 1
        assert "RabbitMQ refuses passive declares of 1 queue (403)" in exporter.stderr
        exporter.stop()
    worker.kill()


def _topology(rabbitmq: RabbitMQ, vhost: Vhost) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for kind, key in (("queues", "name"), ("exchanges", "name"), ("bindings", "destination")):
        items: Any = rabbitmq.api("GET", f"{kind}/{vhost.name}")
        found[kind] = {item[key] for item in items}
    return found


def test_a_redis_user_who_may_not_ask_workers(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A refused broadcast is said once, and costs neither events nor queues."""
    rights = redis_rights(valkey)
    with valkey.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "celery-exporter", *rights[: rights.index("&/0.celery.pidbox")]
        )
    worker = start_worker(APP, pool="solo", env=environment({"broker_url": valkey.url}), arguments=LIVELY)
    url = f"redis://celery-exporter:{PASSWORD}@{HOST}:{valkey.port}/0"
    exporter = start_exporter(
        "--broker-url", url, "--sample-interval", "500ms", "--inspect-interval", "500ms"
    )
    wait_until_receiving(exporter)
    submit({"broker_url": valkey.url})
    wait_until_counted(exporter, expected())
    wait_for(
        lambda: "cannot ask workers: the broker refuses our command" in exporter.stderr,
        timeout=10,
        what=lambda: f"a word about it: {exporter.process.describe()}",
    )
    assert exporter.value("celery_queue_length", queue="celery") == 0
    assert exporter.stderr.count("level=warning") == 1
    worker.kill()
