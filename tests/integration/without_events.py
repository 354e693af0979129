"""Looks at an exporter without events: its pages, its lengths, and what it has nothing to say about."""

import urllib.error
import urllib.request
from collections.abc import Mapping

from tests.integration.servers import ExporterProcess
from tests.waiting import wait_for

SECRETS = ("hunter/2", "hunter%2F2")
#: What an exporter without events has nothing to say about.
OF_EVENTS = (
    "celery_task_",
    "celery_worker_",
    "celery_exporter_receiver_",
    "celery_exporter_event",
    "celery_exporter_in_flight",
)
#: Of workers that take one message at a time, and talk to nobody.
OF_WORKERS = {"worker_enable_remote_control": False, "worker_prefetch_multiplier": 1, "task_acks_late": True}
QUICK = ("--no-events", "--sample-interval", "0.2s")


def page(exporter: ExporterProcess, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(exporter.url.replace("/metrics", path), timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def lengths(exporter: ExporterProcess, family: str = "celery_queue_length") -> dict[str, float]:
    """The numbers of a family by queue."""
    return {
        dict(labels)["queue"]: value for (name, labels), value in exporter.scrape().items() if name == family
    }


def expect(
    exporter: ExporterProcess, expected: Mapping[str, float], family: str = "celery_queue_length"
) -> None:
    """Wait for these numbers, and for no others."""
    wait_for(
        lambda: lengths(exporter, family) == expected,
        timeout=30,
        what=lambda: f"{family} {expected}, not {lengths(exporter, family)}: {exporter.stderr}",
    )


def assert_without_events(exporter: ExporterProcess) -> None:
    """It is ready and healthy, knows the broker, and shows nothing of events."""
    assert page(exporter, "/-/ready") == (200, "reading queues, without events\n")
    assert page(exporter, "/-/healthy")[0] == 200
    assert exporter.value("celery_broker_up") == 1
    assert [name for name, _ in exporter.scrape() if name.startswith(OF_EVENTS)] == []
    assert exporter.value("celery_queue_workers", queue="celery") is None
    html = page(exporter, "/")[1]
    assert ">Reading queues</p>" in html
    assert not any(secret in html + exporter.stderr for secret in SECRETS)
