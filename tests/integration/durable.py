"""A durable event queue on a RabbitMQ: how an exporter is told to have it, and what the server knows of it."""

import re
from collections.abc import Callable
from typing import Any, Final

from celery_metrics_exporter.config.config import EventQueue
from tests.integration.conftest import Vhost
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, RabbitMQ
from tests.waiting import wait_for

QUEUE: Final = "celeryev.celery-exporter.single"
#: For the exporter's command line ...
DURABLE: Final = (
    "--event-queue-durable",
    "--no-event-queue-exclusive",
    "--event-queue-ttl=10m",
    "--event-queue-expires=1h",
)
#: ... and the same for a configuration.
SETTINGS: Final = EventQueue(durable=True, exclusive=False, ttl=600.0, expires=3600.0)


def start_both(
    start_exporter: Callable[..., ExporterProcess], url: str
) -> tuple[ExporterProcess, ExporterProcess]:
    """The active exporter and the standby."""
    active = start_exporter("--broker-url", url, *DURABLE)
    wait_until_receiving(active)
    standby = start_exporter("--broker-url", url, *DURABLE)
    standby.process.wait_until(
        lambda: "standby: another exporter receives the events" in standby.stderr,
        timeout=20,
        what="a standby",
    )
    return active, standby


def queue_facts(rabbitmq: RabbitMQ, vhost: Vhost) -> dict[str, Any]:
    """What the management API knows of the queue; its numbers are up to a second old."""
    found: Any = rabbitmq.api("GET", f"queues/{vhost.name}/{QUEUE}")
    return dict(found)


def wait_until_acknowledged(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """Wait until everything in the queue was handled; takes seconds, since only rabbitmqctl asks the queue itself."""

    def messages() -> str:
        return rabbitmq.ctl("list_queues", "-p", vhost.name, "--no-table-headers", "name", "messages")

    wait_for(lambda: f"{QUEUE}\t0\n" in messages(), timeout=60, what=lambda: f"an empty queue: {messages()}")


def events_at_stop(exporter: ExporterProcess) -> int:
    """Number of events, probes aside, that an exporter handled before it stopped."""
    found = re.search(r'msg="?stopped"? events=(\d+)', exporter.stderr)
    assert found, exporter.process.describe()
    return int(found[1])


def delete_queue(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """Delete the queue, as an operator does."""
    rabbitmq.api("DELETE", f"queues/{vhost.name}/{QUEUE}")
