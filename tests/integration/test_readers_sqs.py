"""Queues of SQS, read as kombu names them; nothing is created, and what goes wrong is one line without a secret."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.SQS import Channel

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.queues.readers.sqs import SqsReader, sqs_name
from celery_metrics_exporter.queues.readers.sqs_clients import SqsError
from tests.integration.servers import HOST, Moto, free_port

SECRET = "hunter/2"


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's AWS settings counts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


def reader(url: str, *, max_queues: int = 100, **options: Any) -> SqsReader:
    """A reader with these transport options."""
    broker = broker_of(
        Config(broker_url=url, events=False, transport_options={"region": Moto.REGION, **options})
    )
    return SqsReader(broker, accepts=lambda _: True, max_queues=max_queues)


def read(server: Moto, *wanted: str, **options: Any) -> BrokerFacts:
    """What one reading of these queues tells; it has created nothing."""
    before = server.queues()
    with closing(reader(server.url(), **options)) as made:
        facts = made.read(wanted)
    assert server.queues() == before
    return facts


def publish(server: Moto, name: str, number: int, *, region: str = Moto.REGION, **more: Any) -> str:
    """Create a queue, and put so many messages into it; returns its URL."""
    client = server.client(region)
    attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    url: str = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    fifo = {"MessageGroupId": "g"} if attributes else {}
    for index in range(number):
        unique = {"MessageDeduplicationId": str(index)} if attributes else {}
        client.send_message(QueueUrl=url, MessageBody="x", **fifo, **unique, **more)
    return url


def numbers(ready: int, unacked: int = 0, delayed: int = 0) -> QueueFacts:
    """A queue with these messages."""
    return QueueFacts(exists=True, ready=ready, unacked=unacked, delayed=delayed)


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
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
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


def why_not(made: SqsReader) -> str:
    """Why it cannot read, in one line without the secret."""
    with closing(made), pytest.raises(SqsError) as refusal:
        made.read(["celery"])
    words = str(refusal.value)
    assert "\n" not in words
    assert not any(secret in words for secret in (SECRET, "hunter%2F2"))
    return words


def test_wrong_keys(moto: Moto) -> None:
    """One line says what to write."""
    publish(moto, "celery", 1)
    moto.check_keys()
    words = why_not(reader(moto.url()))
    assert words.startswith(f"SQS refuses our keys in region {Moto.REGION} at {moto.endpoint} (")
    assert "write them as sqs://KEY_ID:SECRET@" in words


def test_no_keys(moto: Moto) -> None:
    """Where there are none at all, likewise."""
    assert why_not(reader(f"sqs://{HOST}:{moto.port}")).startswith("no keys for SQS (NoCredentialsError)")


def test_nothing_listens() -> None:
    """The line names the endpoint and the region."""
    words = why_not(reader(f"sqs://K:hunter%2F2@{HOST}:{free_port()}"))
    assert "cannot reach SQS in region eu-west-1 at http://127.0.0.1:" in words


def test_a_server_that_disappears(moto: Moto) -> None:
    """A reading fails, and the next one works when it is back."""
    publish(moto, "celery", 1)
    with closing(reader(moto.url())) as made:
        assert made.read(["celery"]).queues == {"celery": numbers(1)}
        moto.process.stop()
        with pytest.raises(SqsError, match="cannot reach SQS"):
            made.read(["celery"])
        moto.start()
        publish(moto, "celery", 2)
        assert made.read(["celery"]).queues == {"celery": numbers(2)}


def test_a_server_that_stalls(moto: Moto) -> None:
    """A reading ends by itself."""
    publish(moto, "celery", 1)
    quick: dict[str, Any] = {"client-config": {"read_timeout": 60, "retries": {"total_max_attempts": 9}}}
    with closing(reader(moto.url(), **quick)) as made:
        made.read(["celery"])
        moto.process.pause()
        try:
            with pytest.raises(SqsError, match="ReadTimeoutError"):
                made.read(["celery"])
        finally:
            moto.process.resume()


class Aws(ThreadingHTTPServer):
    """Answers as AWS does where moto does not: with errors in JSON, by the name of the queue."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.errors: dict[str, tuple[int, str, str]] = {}  # queue -> status, type, message

    @property
    def url(self) -> str:
        """The broker URL."""
        return f"sqs://AKIAKEY:hunter%2F2@{HOST}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Aws

    def do_POST(self) -> None:
        """Answer GetQueueUrl and GetQueueAttributes."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked.get("QueueName") or asked["QueueUrl"].rpartition("/")[2]
        status, kind, message = self.server.errors.get(name, (200, "", ""))
        answer: dict[str, Any] = {"QueueUrl": f"http://{HOST}:{self.server.server_port}/1/{name}"}
        if status != 200:
            answer = {"__type": kind, "message": message}
        elif "QueueUrl" in asked:
            answer = {"Attributes": dict.fromkeys(asked["AttributeNames"], "4")}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def aws() -> Iterator[Aws]:
    """Such a server."""
    with Aws() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


DENIED = (
    403,
    "com.amazon.coral.service#AccessDeniedException",
    "User: arn:aws:iam::1:user/x is not authorized",
)


def test_a_queue_that_is_denied(aws: Aws, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out and told once; without any other one the reading fails."""
    aws.errors["denied"] = DENIED
    with caplog.at_level(logging.WARNING), closing(reader(aws.url)) as made:
        for _ in range(2):
            facts = made.read(["open", "denied"])
            assert facts.queues == {"open": numbers(4, unacked=4, delayed=4)}
            assert facts.forbidden == ("denied",)
        assert [record.__dict__["fields"] for record in caplog.records] == [{"queue": "denied"}]
        with pytest.raises(
            SqsError, match="such as denied: allow sqs:GetQueueUrl and sqs:GetQueueAttributes"
        ):
            made.read(["denied"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "com.amazon.coral.service#SignatureDoesNotMatch",
            "The signature does not match.\n\nThe Canonical String should have been\nx-amz-security-token:hunter/2",
        ),
        ("com.amazon.coral.service#UnrecognizedClientException", "The security token is invalid."),
        ("com.amazon.coral.service#ExpiredTokenException", "The security token hunter/2 is expired"),
    ],
)
def test_what_aws_says_of_wrong_keys(aws: Aws, kind: str, message: str) -> None:
    """The code alone is repeated: the text may hold what was signed."""
    aws.errors["celery"] = (403, kind, message)
    words = why_not(reader(aws.url))
    assert words.startswith(
        f"SQS refuses our keys in region {Moto.REGION} at http://{HOST}:{aws.server_port} ("
    )
    assert kind.partition("#")[2] in words


def test_a_name_that_aws_refuses(aws: Aws) -> None:
    """Its code is another one than moto's."""
    aws.errors["x" * 81] = (400, "com.amazon.coral.service#InvalidParameterValue", "1 to 80 in length")
    with closing(reader(aws.url)) as made:
        facts = made.read(["x" * 81, "celery"])
    assert (list(facts.queues), facts.missing) == (["celery"], ("x" * 81,))


def test_another_answer(aws: Aws) -> None:
    """Of an error that we do not know the first line is told."""
    aws.errors["celery"] = (400, "com.amazon.coral.service#Unheard", "first\nsecond hunter/2")
    words = why_not(reader(aws.url))
    assert "Unheard" in words
    assert words.endswith("first")
