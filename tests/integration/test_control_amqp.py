"""What asking workers needs of RabbitMQ and is allowed there."""

import logging
from collections.abc import Callable

import pytest

from celery_metrics_exporter.facts import WorkerFacts
from tests.integration.amqp_queues import asked_arguments
from tests.integration.asking import PidboxNode, asking
from tests.integration.conftest import Vhost
from tests.integration.servers import RabbitMQ
from tests.waiting import wait_for

UserUrl = Callable[..., str]

ANSWERS = r"^.*\.reply\.celery-exporter\.pidbox$"
#: All that the documentation asks an administrator for.
RIGHTS = {"configure": ANSWERS, "write": r"^celery\.pidbox$", "read": ANSWERS}


@pytest.fixture
def user_url(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> UserUrl:
    """Give the user ``asker`` these rights and return the broker URL."""
    rabbitmq.add_user("asker", "letmein")

    def give(**rights: str) -> str:
        rabbitmq.set_permissions(rabbitmq_vhost.name, "asker", **rights)
        return rabbitmq.vhost_url(rabbitmq_vhost.name, user="asker", password="letmein")

    return give


def test_least_rights(rabbitmq_vhost: Vhost, user_url: UserUrl, caplog: pytest.LogCaptureFixture) -> None:
    """A user who may do what the documentation lists, and nothing else, is enough."""
    with (
        PidboxNode(rabbitmq_vhost.url) as node,
        asking(user_url(**RIGHTS), interval=0.3) as (remote, answers),
    ):
        answers.wait(node.facts)
        wait_for(lambda: len(node.commands) >= 6, timeout=5, what="more questions")
        assert remote.failures == 0
    assert not caplog.records


def test_no_right_to_ask(rabbitmq_vhost: Vhost, user_url: UserUrl, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is said once, without a password, and given up on only for the moment."""
    caplog.set_level(logging.INFO)
    url = user_url(**{**RIGHTS, "write": "^$"})
    with PidboxNode(rabbitmq_vhost.url) as node, asking(url, interval=0.2) as (remote, answers):
        wait_for(lambda: remote.failures >= 3, timeout=5, what="further tries")
        assert not node.commands
        (record,) = caplog.records
        assert record.getMessage().startswith("cannot ask workers: the broker refuses our command")
        shown = str(record.__dict__["fields"])
        assert "access to exchange 'celery.pidbox'" in shown
        assert "letmein" not in shown
        user_url(**RIGHTS)
        answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))


@pytest.mark.parametrize("right", ["configure", "read"])
def test_no_right_to_answers(
    rabbitmq_vhost: Vhost, user_url: UserUrl, caplog: pytest.LogCaptureFixture, right: str
) -> None:
    """Without a queue of answers workers still show themselves and send task events; that is said once."""
    url = user_url(**{**RIGHTS, right: "^$"})
    with PidboxNode(rabbitmq_vhost.url) as node, asking(url, interval=0.2) as (remote, answers):
        wait_for(lambda: remote.failures >= 3, timeout=5, what="further tries")
        assert answers.workers == set()
        assert node.commands[:2] == ["heartbeat", "enable_events"]
    (record,) = caplog.records
    assert record.getMessage().startswith("workers cannot answer: the broker refuses our reply queue")


def test_nobody_was_ever_here(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first worker there is no control exchange; we do not make one, and nothing is wrong."""
    with asking(rabbitmq_vhost.url, interval=0.2) as (remote, answers):
        wait_for(lambda: _own_queues(rabbitmq, rabbitmq_vhost), timeout=5, what="a queue of answers")
        exchanges = rabbitmq.api("GET", f"exchanges/{rabbitmq_vhost.name}")
        assert isinstance(exchanges, list)
        assert all(row["name"].startswith("amq.") for row in exchanges if row["name"])
        with PidboxNode(rabbitmq_vhost.url) as node:
            answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))
        assert remote.failures == 0
    assert not caplog.records


def test_the_queue_of_answers(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> None:
    """It is ours alone, bounded, and goes with us, even where the broker does not notice that we went."""
    with asking(rabbitmq_vhost.url):
        (queue,) = wait_for(
            lambda: _own_queues(rabbitmq, rabbitmq_vhost), timeout=5, what="a queue of answers"
        )
        assert queue["exclusive"]
        assert not queue["durable"]
        assert asked_arguments(queue) == {
            "x-expires": 180_000,
            "x-max-length": 10_000,
            "x-max-length-bytes": 64_000_000,
        }
    wait_for(
        lambda: not _own_queues(rabbitmq, rabbitmq_vhost), timeout=5, what="the end of the queue of answers"
    )


def _own_queues(rabbitmq: RabbitMQ, vhost: Vhost) -> list[dict[str, object]]:
    queues = rabbitmq.api("GET", f"queues/{vhost.name}")
    assert isinstance(queues, list)
    return [queue for queue in queues if queue["name"].endswith(".reply.celery-exporter.pidbox")]
