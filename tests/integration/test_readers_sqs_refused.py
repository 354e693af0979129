"""What goes wrong with SQS is one line without a secret, and the next reading may work."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.queues.readers.sqs import SqsReader
from celery_metrics_exporter.queues.readers.sqs_clients import SqsError
from tests.integration.servers import HOST, Moto, free_port
from tests.integration.sqs_reading import numbers, publish, reader

pytestmark = pytest.mark.usefixtures("no_aws")
SECRET = "hunter/2"


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


def test_keys_of_the_environment_are_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 finds in variables is hidden like what stands in the URL."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from-variable")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "from-session")
    hidden = broker_of(Config(broker_url="sqs://ID:in-url@", events=False)).secrets
    assert hidden == {"from-variable", "from-session", "in-url"}
