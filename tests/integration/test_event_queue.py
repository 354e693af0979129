"""The queue of events that the exporter declares on RabbitMQ is what options or the application ask for."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import celery
import pytest

from tests.integration.amqp_queues import asked_arguments
from tests.integration.conftest import Vhost
from tests.integration.known_counts import wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.newer_rabbitmq import NewerRabbitMQ
from tests.integration.refusal import refusal
from tests.integration.servers import HOST, ExporterProcess, RabbitMQ
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

#: The arguments of a durable queue beside its times.
BOUNDS = {"x-single-active-consumer": True, "x-max-length-bytes": 256 * 1024 * 1024}
#: Asks for a queue that is neither exclusive nor durable.
TRANSIENT = ("--no-event-queue-exclusive",)
#: What an exporter without options declares: Celery's defaults.
DEFAULT = {
    "prefix": "celeryev",
    "arguments": {"x-message-ttl": 5_000, "x-expires": 60_000},
    "exclusive": True,
    "durable": False,
    "auto_delete": True,
}


def _declared(exporter: ExporterProcess, rabbitmq: RabbitMQ, vhost: Vhost) -> dict[str, Any]:
    """The event queue, the only one beside that of answers, as the management API tells; ends the exporter."""
    wait_until_receiving(exporter)

    def queues() -> list[Any]:
        found: Any = rabbitmq.api("GET", f"queues/{vhost.name}")
        return [queue for queue in found if not queue["name"].endswith(".reply.celery-exporter.pidbox")]

    (queue,) = wait_for(queues, timeout=10, what="a queue that the management API knows")
    exporter.kill()
    return {
        "prefix": queue["name"].partition(".")[0],
        "arguments": asked_arguments(queue),
        **{name: queue[name] for name in ("exclusive", "durable", "auto_delete")},
    }


@pytest.mark.parametrize(
    ("arguments", "differences"),
    [
        ((), {}),
        (("--event-queue-prefix", "shop-events"), {"prefix": "shop-events"}),
        (
            ("--event-queue-ttl", "90s", "--event-queue-expires", "10m"),
            {"arguments": {"x-message-ttl": 90_000, "x-expires": 600_000}},
        ),
        (TRANSIENT, {"exclusive": False}),
        (
            ("--event-queue-durable", "--no-event-queue-exclusive"),
            {
                "exclusive": False,
                "durable": True,
                "auto_delete": False,
                "arguments": {"x-message-ttl": 5_000, "x-expires": 60_000, **BOUNDS},
            },
        ),
        (("--no-event-queue-durable", "--event-queue-exclusive"), {}),
    ],
    ids=["defaults", "prefix", "times", "shared", "durable", "as by default"],
)
def test_options_rule_the_queue(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    start_exporter: StartExporter,
    arguments: tuple[str, ...],
    differences: Mapping[str, Any],
) -> None:
    """Prefix, times, exclusive and durable are as asked for on the command line, all else is Celery's default."""
    if arguments == TRANSIENT and not rabbitmq.permits_transient:
        pytest.skip("this RabbitMQ refuses a queue that is neither exclusive nor durable")
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url, *arguments)
    assert _declared(exporter, rabbitmq, rabbitmq_vhost) == {**DEFAULT, **differences}


APP_SETTINGS = {
    "event_queue_prefix": "app-events",
    "event_queue_ttl": 7.0,
    "event_queue_expires": 70.0,
    "event_queue_exclusive": False,
    "event_queue_durable": True,
}


@pytest.mark.parametrize(
    ("arguments", "differences"),
    [
        (
            (),
            {
                "durable": True,
                "auto_delete": False,
                "arguments": {"x-message-ttl": 7_000, "x-expires": 70_000, **BOUNDS},
            },
        ),
        (("--no-event-queue-durable", "--event-queue-exclusive"), {"exclusive": True}),
        (
            ("--event-queue-prefix", "option", "--event-queue-ttl", "8"),
            {
                "prefix": "option",
                "arguments": {"x-message-ttl": 8_000, "x-expires": 70_000, **BOUNDS},
                "durable": True,
                "auto_delete": False,
            },
        ),
    ],
    ids=["app alone", "exclusive by option", "prefix and time by option"],
)
def test_the_application_rules_where_options_say_nothing(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    start_exporter: StartExporter,
    arguments: tuple[str, ...],
    differences: Mapping[str, Any],
) -> None:
    """With --app, broker and event queue come from the application's configuration; options win over it."""
    settings = {**APP_SETTINGS, "broker_url": rabbitmq_vhost.url}
    exporter = start_exporter("--app", f"{APP}:app", *arguments, env=environment(settings))
    of_app = {
        "prefix": "app-events",
        "arguments": {"x-message-ttl": 7_000, "x-expires": 70_000},
        "exclusive": False,
        "durable": False,
        "auto_delete": True,
    }
    assert _declared(exporter, rabbitmq, rabbitmq_vhost) == {**of_app, **differences}


def test_variables_rule_the_queue(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """Each option can come from its environment variable."""
    variables = {
        "BROKER_URL": rabbitmq_vhost.url,
        "EVENT_QUEUE_PREFIX": "variable",
        "EVENT_QUEUE_TTL": "2m",
        "EVENT_QUEUE_EXPIRES": "4m",
        "EVENT_QUEUE_EXCLUSIVE": "false",
        "EVENT_QUEUE_DURABLE": "true",
    }
    env = {f"CELERY_EXPORTER_{name}": value for name, value in variables.items()}
    assert _declared(start_exporter(env=env), rabbitmq, rabbitmq_vhost) == {
        "prefix": "variable",
        "arguments": {"x-message-ttl": 120_000, "x-expires": 240_000, **BOUNDS},
        "exclusive": False,
        "durable": True,
        "auto_delete": False,
    }


NOT_5_6 = pytest.mark.skipif(celery.VERSION[:2] == (5, 6), reason="durable alone is enough there")


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("--event-queue-exclusive", "--event-queue-durable"), None),
        (("--event-queue-durable",), None),
        pytest.param((), {"event_queue_durable": True}, marks=NOT_5_6),
        (("--event-queue-durable",), {"event_queue_exclusive": True}),
        (("--event-queue-exclusive",), {"event_queue_durable": True, "event_queue_exclusive": False}),
    ],
    ids=["both options", "durable, exclusive by default", "app", "option and app", "app and option"],
)
def test_exclusive_and_durable_is_refused_before_anything_connects(
    arguments: tuple[str, ...], settings: Mapping[str, Any] | None
) -> None:
    """Wherever the two come from: one clear line, exit code 2, and the broker never sees a connection."""
    with socket.create_server((HOST, 0)) as broker:
        url = f"amqp://guest:guest@{HOST}:{broker.getsockname()[1]}//"
        given = ("--broker-url", url) if settings is None else ("--app", f"{APP}:app")
        env = {} if settings is None else environment({**settings, "broker_url": url})
        line = refusal(*given, *arguments, env=env)
        broker.setblocking(False)
        with pytest.raises(BlockingIOError):
            broker.accept()
    for word in ("exclusive", "durable", "--no-event-queue-exclusive"):
        assert word in line


@pytest.mark.parametrize("receiver", ["auto", "kombu"])
def test_a_broker_that_refuses_the_queue(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter, receiver: str
) -> None:
    """RabbitMQ 4.3 refuses a queue that is neither exclusive nor durable: log and page say what to do about it."""
    with NewerRabbitMQ(rabbitmq.port, ".") as newer:
        url = rabbitmq_vhost.url.replace(str(rabbitmq.port), str(newer.port))
        exporter = start_exporter("--broker-url", url, "--no-event-queue-exclusive", "--receiver", receiver)
        wait_for(
            lambda: "cannot receive events" in exporter.stderr,
            timeout=10,
            what=exporter.process.describe,
        )
        for word in ("541", "neither exclusive nor durable", "drop --no-event-queue-exclusive"):
            assert word in exporter.stderr
        assert exporter.stderr.count("level=warning") == 1
        exporter.stop()


def test_pickle_as_serializer_is_refused() -> None:
    """Events in pickle are never loaded, so that asking for them is a configuration error."""
    for given, env in (
        (("--broker-url", "memory://", "--event-serializer", "pickle"), {}),
        (("--app", f"{APP}:app"), environment({"event_serializer": "pickle", "broker_url": "memory://"})),
    ):
        line = refusal(*given, env=env)
        assert "pickle" in line
        assert "json" in line


def test_a_serializer_that_nobody_knows_is_refused() -> None:
    """A serializer that is not registered is a configuration error, not a traceback."""
    assert "nonsense" in refusal("--broker-url", "memory://", "--event-serializer", "nonsense")


def test_a_serializer_whose_library_is_missing_is_refused(tmp_path: Path) -> None:
    """A serializer that cannot be loaded here would drop every event: the line says what to install."""
    (tmp_path / "msgpack.py").write_text("raise ImportError('hidden by the test')")
    env = {"PYTHONPATH": str(tmp_path)}
    assert "msgpack" in refusal("--broker-url", "memory://", "--event-serializer", "msgpack", env=env)
