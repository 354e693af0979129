"""An exporter without events where something is wrong, or cannot be: each is one line without a secret."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import run
from tests.integration.servers import HOST, ExporterProcess, Moto
from tests.integration.servers.exporter import clean_environment
from tests.integration.without_events import OF_EVENTS, QUICK, SECRETS, page
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]


@pytest.mark.parametrize(
    "url", ["confluentkafka://host", "azureservicebus://key:hunter%2F2@host", "gcpubsub://projects/p"]
)
def test_a_broker_that_cannot_be_read(start_exporter: StartExporter, url: str) -> None:
    """The families of queues are left out, one line says so, and it is ready: there is nothing that it waits for."""
    exporter = start_exporter("--broker-url", url, "--no-events", "--sample-interval", "0.1s")
    assert exporter.stderr.count("cannot read the queues of this kind of broker") == 1
    status, text = page(exporter, "/-/ready")
    assert (status, "cannot be read" in text) == (200, True)
    assert [
        name
        for name, _ in exporter.scrape()
        if name.startswith(("celery_queue", "celery_broker", *OF_EVENTS))
    ] == []
    assert ">Nothing can be read</p>" in page(exporter, "/")[1]
    assert not any(secret in exporter.stderr for secret in SECRETS)


def test_wrong_keys_of_sqs(moto: Moto, start_exporter: StartExporter) -> None:
    """It says once why it is not ready, without the secret."""
    moto.check_keys()
    exporter = start_exporter(
        "--broker-url", moto.url(), *QUICK, "--broker-transport-option", f"region={Moto.REGION}"
    )
    refusal = "SQS refuses our keys in region eu-west-1"
    wait_for(lambda: refusal in page(exporter, "/-/ready")[1], timeout=20, what="a failed sample")
    status, text = page(exporter, "/-/ready")
    assert status == 503
    assert exporter.value("celery_broker_up") == 0
    assert exporter.stderr.count("SQS refuses our keys") == 1
    shown = text + exporter.stderr + page(exporter, "/")[1] + exporter.text()
    assert not any(secret in shown for secret in SECRETS)


@pytest.mark.parametrize("arguments", [("run",), ("doctor",)])
def test_events_on_sqs(arguments: tuple[str, ...]) -> None:
    """Who wants events of SQS reads one line that says what to write."""
    ended = run(*arguments, "--broker-url", f"sqs://KEY:hunter%2F2@{HOST}:1")
    assert ended.returncode == 2
    assert ended.stderr == (
        "celery-exporter: error: events do not pass through a broker at sqs://: write --no-events for the lengths of "
        "its queues, and take the metrics of tasks from the workers themselves\n"
    )


def test_doctor_on_sqs(moto: Moto) -> None:
    """The doctor checks what can be checked, and skips everything about events."""
    moto.client().create_queue(QueueName="celery")
    arguments = (
        "doctor", "--json", "--no-events", "--broker-url", moto.url(),
        "--broker-transport-option", f"region={Moto.REGION}",
    )  # fmt: skip
    ended = run(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    states = {each["id"]: each["status"] for each in json.loads(ended.stdout)["checks"]}
    assert {name for name, state in states.items() if state != "skipped"} == {"read", "queues"}
    assert set(states.values()) == {"skipped", "ok"}
    missing = run(*arguments, "--queue", "nowhere", "--queue", "celery")
    assert "nowhere" in missing.stdout
    moto.check_keys()
    refused = run(*arguments)
    assert refused.returncode == 1
    assert "SQS refuses our keys" in refused.stdout
    assert not any(secret in refused.stdout + refused.stderr for secret in SECRETS)


def test_doctor_on_a_broker_with_events(broker_url: str) -> None:
    """The way to the broker and the reading are checked as ever; nothing is asked of workers, nobody subscribes."""
    ended = run("doctor", "--json", "--no-events", "--broker-url", broker_url, "--queue", "orders")
    document = json.loads(ended.stdout)
    states = {each["id"]: each["status"] for each in document["checks"]}
    assert {name for name, state in states.items() if state != "skipped"} >= {
        "tcp",
        "login",
        "read",
        "queues",
    }
    assert "failed" not in states.values(), document
    of_events = {"subscribe", "ask", "arrival", "workers", "task_events", "task_sent", "clocks", "buffers"}
    assert {states[name] for name in of_events} == {"skipped"}
    assert ended.returncode == 0


def test_celerys_own_command(moto: Moto, tmp_path: Path) -> None:
    """``celery -A shop exporter`` takes the switch too, and without it says what to write."""
    (tmp_path / "shop.py").write_text(
        f"from celery import Celery\napp = Celery('shop', broker={moto.url()!r})\n"
    )
    argv = [sys.executable, "-m", "celery", "-A", "shop", "exporter", "--check-config"]
    checked, refused = (
        subprocess.run(
            [*argv, *more],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for more in (["--no-events"], [])
    )
    assert (checked.returncode, checked.stdout) == (0, "configuration is valid\n"), checked.stderr
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "celery exporter: error: events do not pass through a broker at sqs://: write --no-events"
    )
