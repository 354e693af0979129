"""Doctor with users who may not do everything: each right that is missing is named, and the printed line gives it."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from celery_metrics_exporter.config.config import EventQueue
from tests.integration.asking import PidboxNode
from tests.integration.conftest import Vhost
from tests.integration.doctoring import Examination, examine, shows
from tests.integration.newer_rabbitmq import NewerRabbitMQ
from tests.integration.servers import HOST, RabbitMQ, Valkey, free_port
from tests.integration.test_least_privilege import rabbitmq_rights, redis_rights, rights_known_to
from tests.waiting import wait_for

PASSWORD = "known-to-nobody"
WAIT_S = 0.05
USER = "celery-exporter"
RIGHTS = ("subscribe", "read", "ask")

#: Which check names it when this right alone is missing, and its state then.
REDIS = {
    "%R~*": ("read", "failed"),
    "+ping": ("subscribe", "failed"),
    "+scan": ("read", "failed"),
    "+smembers": ("read", "failed"),
    "+llen": ("read", "failed"),
    "+lindex": ("read", "warning"),
    "+hlen": ("read", "warning"),
    "+zrange": ("read", "warning"),
    "&/0.celeryev/*": ("subscribe", "failed"),
    "+psubscribe": ("subscribe", "failed"),
    "+client|setinfo": None,  # redis-py asks for it, and does without
    "&/0.celery.pidbox": ("ask", "failed"),
    "~*.reply.celery-exporter.pidbox": ("ask", "failed"),
    **{
        f"+{command}": ("ask", "failed")
        for command in ("publish", "multi", "exec", "lrange", "ltrim", "rpush", "expire")
    },
    "+del": None,  # the list of answers expires by itself
}


def rights_of(found: Examination) -> dict[str, str]:
    """The states of the checks about rights."""
    return {check: found.status(check) for check in RIGHTS}


def test_every_right_of_redis(valkey: Valkey) -> None:
    """Each right that the documentation lists is missed when it is missing, and the printed line brings it back."""
    documented = redis_rights(valkey)
    given = [word for word in documented if word[0] in "+&~%"]
    assert set(given) == set(rights_known_to(valkey, REDIS))
    url = f"redis://{USER}:{PASSWORD}@{HOST}:{valkey.port}/0"
    with valkey.client() as client:
        for missing in given:
            expected = REDIS[missing]
            words = [word for word in documented if word != missing]
            client.execute_command("ACL", "SETUSER", USER, "reset", *words)
            found = examine(url, wait=WAIT_S)
            if expected is None:
                assert set(rights_of(found).values()) == {"ok"}, (missing, found.document)
                continue
            check, status = expected
            assert found.status(check) == status, (missing, found.document)
            line = found[check]["command"]
            assert line.startswith(f"ACL SETUSER {USER} ")
            client.execute_command(*line.split())
            assert set(rights_of(examine(url, wait=WAIT_S)).values()) == {"ok"}, (missing, line)


def test_all_printed_lines_are_the_documented_rights(valkey: Valkey) -> None:
    """Who has no right at all is given by the three lines just what docs/permissions.md lists."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "+ping")
    found = examine(f"redis://{USER}:{PASSWORD}@{HOST}:{valkey.port}/0", wait=WAIT_S)
    lines = [found.says(check, "failed")["command"] for check in RIGHTS]
    printed = {word for line in lines for word in line.split()[3:]}
    assert printed == {word for word in redis_rights(valkey) if word[0] in "+&~%"}


def test_names_of_redis(valkey: Valkey) -> None:
    """With another database, prefix and exchange the printed lines name these."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "+ping", "+select")
        url = f"redis://{USER}:{PASSWORD}@{HOST}:{valkey.port}/3"
        options = {"global_keyprefix": "shop:"}
        found = examine(url, wait=WAIT_S, transport_options=options)
        assert "&shop:/3.celeryev/*" in found["subscribe"]["command"]
        for check in RIGHTS:
            client.execute_command(*found[check]["command"].split())
        again = examine(url, wait=WAIT_S, transport_options=options)
        assert set(rights_of(again).values()) == {"ok"}, again.document


def test_no_remote_control(valkey: Valkey) -> None:
    """Nothing is asked and nothing is sent: the rights for that are not missed."""
    rights = redis_rights(valkey)
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", USER, *rights[: rights.index("&/0.celery.pidbox")])
        url = f"redis://{USER}:{PASSWORD}@{HOST}:{valkey.port}/0"
        found = examine(url, wait=WAIT_S, remote_control=False)
        assert rights_of(found) == {"subscribe": "ok", "read": "ok", "ask": "skipped"}
        found.says("arrival", "warning", "proves nothing")
        assert "cmdstat_publish" not in client.info("commandstats")


def test_nothing_is_left_behind(valkey: Valkey) -> None:
    """Doctor writes no key that stays."""
    with valkey.client() as client:
        examine(valkey.url, wait=WAIT_S)
        assert client.keys() == []


PIDBOX = r"celery\.pidbox"
EVENTS = r"celeryev(\..*)?"
ANSWERS = r".*\.reply\.celery-exporter\.pidbox"


@pytest.fixture
def rabbitmq_user(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> Iterator[str]:
    """The broker URL of a user without any right in a virtual host of its own."""
    rabbitmq.add_user(USER, PASSWORD)
    yield rabbitmq.vhost_url(rabbitmq_vhost.name, user=USER, password=PASSWORD)
    rabbitmq.api("DELETE", f"users/{USER}")


def test_every_right_of_rabbitmq(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, rabbitmq_user: str) -> None:
    """Each part of the three patterns is missed when it alone is missing; the printed line is the documentation's."""
    documented = rabbitmq_rights(newer=rabbitmq.hides_queues)
    line = (
        f"rabbitmqctl set_permissions -p {rabbitmq_vhost.name} {USER} "
        f"'{documented['configure']}' '{documented['write']}' '{documented['read']}'"
    )
    rabbitmq.api("PUT", f"exchanges/{rabbitmq_vhost.name}/celery.pidbox", {"type": "fanout"})
    for kind, pattern, check, status in (
        ("configure", f"^{ANSWERS}$", "subscribe", "failed"),
        ("configure", f"^{EVENTS}$", "ask", "failed"),
        ("write", f"^{PIDBOX}$", "subscribe", "failed"),
        ("write", f"^{EVENTS}$", "ask", "failed"),
        ("write", rf"^(celeryev\..+|{PIDBOX})$", "ask", "warning"),
        ("read", f"^{ANSWERS}$", "subscribe", "failed"),
        ("read", f"^{EVENTS}$", "ask", "failed"),
    ):
        rabbitmq.set_permissions(rabbitmq_vhost.name, USER, **{**documented, kind: pattern})
        found = examine(rabbitmq_user, wait=WAIT_S)
        assert found.status(check) == status, (kind, pattern, found.document)
        assert found[check]["command"] == line
    rabbitmq.ctl(*shlex.split(line)[1:])
    found = examine(rabbitmq_user, wait=WAIT_S)
    assert set(rights_of(found).values()) == {"ok"}, found.document


def test_the_management_api(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, rabbitmq_user: str) -> None:
    """A user without the tag may not read it; the printed line gives the tag."""
    rabbitmq.set_permissions(rabbitmq_vhost.name, USER)
    url = f"http://{HOST}:{rabbitmq.management_port}"
    found = examine(rabbitmq_user, wait=WAIT_S, management_url=url)
    line = found.says("read", "failed", "401")["command"]
    rabbitmq.ctl(*shlex.split(line)[1:])
    examine(rabbitmq_user, wait=WAIT_S, management_url=url).says("read", "ok")
    rabbitmq.add_user("viewer", PASSWORD)
    url = f"http://viewer:{PASSWORD}@{HOST}:{rabbitmq.management_port}"
    line = examine(rabbitmq_user, wait=WAIT_S, management_url=url).says("read", "failed", "401")["command"]
    assert line == "rabbitmqctl set_user_tags viewer management"


def test_an_api_that_is_not_there(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, rabbitmq_user: str) -> None:
    """The finding names its address, and what to check."""
    rabbitmq.set_permissions(rabbitmq_vhost.name, USER)
    url = f"http://{HOST}:{free_port()}"
    found = examine(rabbitmq_user, wait=WAIT_S, management_url=url).says("read", "failed", url)
    assert "--management-url" in found["remedy"]
    assert found.get("command") is None


def test_newer_rabbitmq(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, rabbitmq_user: str) -> None:
    """Where looking at a queue needs a right, doctor fails without it; the printed line gives it."""
    rights = rabbitmq_rights()
    rabbitmq.set_permissions(
        rabbitmq_vhost.name, USER, **{**rights, "read": ".*"}
    )  # the front is what refuses
    with NewerRabbitMQ(rabbitmq.port, "|".join(rights.values())) as newer:
        url = rabbitmq_user.replace(str(rabbitmq.port), str(newer.port))
        found = examine(url, wait=WAIT_S)
        assert found.code == 1
        refused = found.says("read", "failed", "refuses passive declares of 1 queue (403)", "celery")
        assert "--management-url" in refused["remedy"]
        assert refused["command"].endswith("|celery)$'")
        found = examine(url, wait=WAIT_S, management_url=rabbitmq.management_url)
        found.says("read", "ok")
        named: dict[str, Any] = {"queues": ("mail", "orders"), "wait": WAIT_S}
        newer.permits += "|^mail$"
        assert "orders" in examine(url, **named).says("read", "failed", "1 queue (403)")["message"]
        newer.permits = "|".join(shlex.split(examine(url, **named)["read"]["command"])[-3:])
        examine(url, **named).says("read", "ok", "2 queues")


def test_a_queue_that_a_worker_consumes(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, rabbitmq_user: str
) -> None:
    """A queue that nobody named, and that may not be looked at, fails too once a worker tells of it."""
    rights = rabbitmq_rights(newer=True)
    rabbitmq.set_permissions(rabbitmq_vhost.name, USER, **rights)
    with (
        NewerRabbitMQ(rabbitmq.port, "|".join(rights.values())) as newer,
        PidboxNode(rabbitmq_vhost.url, name="node@localhost"),
    ):
        url = rabbitmq_user.replace(str(rabbitmq.port), str(newer.port))
        found = examine(url, wait=2.0, until=shows("queues", "failed"))
        found.says("read", "ok")
        found.says("queues", "failed", "does not let the exporter look at 1 queue", "letters")
        assert found.code == 1


@pytest.mark.parametrize("refuses", [True, False])
def test_an_event_queue_that_newer_versions_refuse(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, *, refuses: bool
) -> None:
    """Whether the broker allows a queue that is neither exclusive nor durable is tried out, and leaves nothing."""
    with NewerRabbitMQ(rabbitmq.port, ".", permits_transient=not refuses) as newer:
        url = rabbitmq_vhost.url.replace(str(rabbitmq.port), str(newer.port))
        found = examine(url, wait=WAIT_S, event_queue=EventQueue(exclusive=False))
        if refuses or not rabbitmq.permits_transient:
            remedy = found.says("event_queue", "failed", "neither exclusive nor durable", "541")["remedy"]
            assert "--no-event-queue-exclusive" in remedy
            assert found.code == 1
        else:
            deprecated = rabbitmq.version >= (3, 13)
            status = "warning" if deprecated else "ok"
            text = found.says("event_queue", status, "neither exclusive nor durable, which it allows")[
                "message"
            ]
            assert ("deprecated" in text) is deprecated
            found.says("subscribe", "ok")
        examine(url, wait=WAIT_S).says("event_queue", "ok", "exclusive")
        wait_for(lambda: not rabbitmq.queues(rabbitmq_vhost.name), timeout=10, what="the end of all queues")


@pytest.mark.parametrize("refuses", [True, False])
def test_queues_of_older_workers_that_newer_versions_refuse(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, *, refuses: bool
) -> None:
    """Where no worker is seen, and the broker refuses what older ones need, that is said; nothing is left."""
    with NewerRabbitMQ(rabbitmq.port, ".", permits_transient=not refuses) as newer:
        url = rabbitmq_vhost.url.replace(str(rabbitmq.port), str(newer.port))
        found = examine(url, wait=WAIT_S)["workers"]
        expected = refuses or not rabbitmq.permits_transient
        assert ("Celery before 5.7 starts over and over" in found["message"]) is expected
        assert ("control_queue_exclusive" in found["remedy"]) is expected
        wait_for(lambda: not rabbitmq.queues(rabbitmq_vhost.name), timeout=10, what="the end of all queues")


def test_an_event_queue_of_somebody_else(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> None:
    """An exchange of the events' name and another kind is told as what it is."""
    rabbitmq.api("PUT", f"exchanges/{rabbitmq_vhost.name}/celeryev", {"type": "headers"})
    found = examine(rabbitmq_vhost.url, wait=WAIT_S)
    assert "--event-exchange" in found.says("subscribe", "failed", "PRECONDITION_FAILED")["remedy"]
    version = ".".join(map(str, rabbitmq.version))
    found.says("event_queue", "ok", f"RabbitMQ {version}: the event queue is exclusive")
