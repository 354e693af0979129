"""Queues of SQS, read as kombu names them; nothing is created, and what goes wrong is one line without a secret."""

from collections.abc import Mapping
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.SQS import Channel

from celery_metrics_exporter.queues.readers.sqs import sqs_name
from tests.integration.servers import Moto
from tests.integration.sqs_reading import numbers, publish, read, reader

pytestmark = pytest.mark.usefixtures("no_aws")


def test_known_numbers(moto: Moto) -> None:
    """Visible, in flight and delayed messages are told apart."""
    url = publish(moto, "celery", 12)
    publish(moto, "celery", 3, DelaySeconds=600)
    publish(moto, "empty", 0)
    taken = moto.client().receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert len(taken) == 10
    moto.client().delete_message(QueueUrl=url, ReceiptHandle=taken[0]["ReceiptHandle"])
    facts = read(moto, "celery", "empty")
    assert facts.queues == {"celery": numbers(2, unacked=9, delayed=3), "empty": numbers(0)}
    assert (facts.missing, facts.forbidden) == ((), ())
    assert facts.round_trip > 0


def test_a_queue_that_is_not_there(moto: Moto) -> None:
    """It has no length, not 0, is not created, and is read as soon as it is there, and no more when it is gone."""
    with closing(reader(moto.url())) as made:
        facts = made.read(["celery"])
        assert (dict(facts.queues), facts.missing) == ({}, ("celery",))
        assert moto.queues() == []
        url = publish(moto, "celery", 1)
        assert made.read(["celery"]).queues == {"celery": numbers(1)}
        moto.client().delete_queue(QueueUrl=url)
        assert made.read(["celery"]).missing == ("celery",)
        publish(moto, "celery", 2)
        assert made.read(["celery"]).queues == {"celery": numbers(2)}


def test_names_and_prefix(moto: Moto) -> None:
    """Names are those of Celery, and SQS has them as kombu writes them."""
    for name, number in (("prod-a-b", 1), ("prod-c_d", 2), ("prod-e.fifo", 3), ("a-b", 9)):
        publish(moto, name, number)
    facts = read(moto, "a.b", "c:d", "e.fifo", queue_name_prefix="prod-")
    assert {name: queue.ready for name, queue in facts.queues.items()} == {"a.b": 1, "c:d": 2, "e.fifo": 3}


@given(name=st.text(), prefix=st.text(max_size=5))
def test_names_are_kombus(name: str, prefix: str) -> None:
    """Every name becomes what kombu makes of it."""
    channel = object.__new__(Channel)
    channel.__dict__["queue_name_prefix"] = prefix
    try:
        expected = channel.canonical_queue_name(name)
    except UnicodeError:
        return
    assert sqs_name(name, prefix) == expected


def test_region(moto: Moto) -> None:
    """A queue of another region is not there."""
    publish(moto, "celery", 1, region="us-east-2")
    assert read(moto, "celery").missing == ("celery",)
    assert read(moto, "celery", region="us-east-2").queues == {"celery": numbers(1)}


def predefined(**urls: str) -> dict[str, Mapping[str, str]]:
    """The transport option, with keys of its own for each queue."""
    keys = {"access_key_id": "OWNKEY", "secret_access_key": "own-secret"}
    return {name: {"url": url, **keys} for name, url in urls.items()}


def test_predefined_queues(moto: Moto) -> None:
    """They are found by themselves, read at their URLs, and no other queue exists for kombu."""
    one, two = publish(moto, "one-real", 1), publish(moto, "two-real", 2, region="us-east-2")
    publish(moto, "other", 5)
    queues = predefined(one=one, two=two)
    queues["two"] = {**queues["two"], "region": "us-east-2"}
    facts = read(moto, "other", predefined_queues=queues)
    assert {name: queue.ready for name, queue in facts.queues.items()} == {"one": 1, "two": 2}
    assert facts.missing == ("other",)


def test_a_predefined_queue_with_a_prefix(moto: Moto) -> None:
    """kombu looks for the name with the prefix; ours is the one without."""
    url = publish(moto, "real", 4)
    facts = read(moto, "celery", queue_name_prefix="p-", predefined_queues=predefined(**{"p-celery": url}))
    assert facts.queues == {"celery": numbers(4)}


def test_a_role(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """With sts_role_arn predefined queues are read as that role."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "K")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", Moto.REGION)
    facts = read(
        moto,
        predefined_queues=predefined(celery=publish(moto, "celery", 1)),
        sts_role_arn="arn:aws:iam::123456789012:role/reader",
    )
    assert facts.queues == {"celery": numbers(1)}


def test_many_queues(moto: Moto) -> None:
    """All are read, up to the limit, the wanted ones first."""
    names = [f"q{number}" for number in range(30)]
    for number, name in enumerate(names):
        publish(moto, name, number % 3)
    facts = read(moto, *names)
    assert {name: queue.ready for name, queue in facts.queues.items()} == {
        name: number % 3 for number, name in enumerate(names)
    }
    assert list(read(moto, *names, max_queues=5).queues) == names[:5]


@pytest.mark.parametrize("name", ["x" * 81, "ä", " ", ".fifo"])
def test_names_that_no_queue_can_have(moto: Moto, name: str) -> None:
    """They are missing, and hinder no other."""
    publish(moto, "celery", 1)
    facts = read(moto, name, "celery")
    assert facts.queues == {"celery": numbers(1)}
    assert facts.missing == (name,)
