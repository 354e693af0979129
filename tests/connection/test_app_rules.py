"""What an application brings has to keep the rules of Config: nothing is connected, the application is a real one."""

from typing import Any

import pytest
from celery import Celery

from celery_metrics_exporter.config.config import BrokerTls, Config, EventQueue
from celery_metrics_exporter.connection.app_loading import load_app
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.errors import ConfigError


def broker_url_of(settings: dict[str, Any], **ours: Any) -> str:
    """The broker of an application with these settings, under our own settings."""
    app = Celery("project", set_as_current=False)
    app.conf.update(settings)
    return broker_of(Config(app="project", **ours), app).url


@pytest.mark.parametrize(
    ("settings", "ours", "words"),
    [
        ({"broker_url": "nats://host"}, {}, "nats:// is not supported"),
        ({"broker_url": "sentinel://host"}, {}, "add --broker-transport-option master_name=NAME"),
        (
            {"broker_url": "redis://host"},
            {"management_url": "http://host:15672"},
            "--management-url works with RabbitMQ only: drop it",
        ),
        (
            {"broker_url": "amqp://host", "event_queue_durable": True},
            {"event_queue": EventQueue(exclusive=True)},
            "cannot be durable at the same time: write --no-event-queue-exclusive or --no-event-queue-durable",
        ),
    ],
    ids=["broker", "master_name", "management", "event queue"],
)
def test_refused(settings: dict[str, Any], ours: dict[str, Any], words: str) -> None:
    """With the words that an option of ours would get."""
    with pytest.raises(ConfigError, match=words):
        broker_url_of(settings, **ours)


@pytest.mark.parametrize(
    ("settings", "ours"),
    [
        (
            {"broker_url": "sentinel://host", "broker_transport_options": {"master_name": "main"}},
            {},
        ),
        ({"broker_url": "sentinel://host"}, {"transport_options": {"master_name": "main"}}),
        ({"broker_url": "amqp://host"}, {"management_url": "http://host:15672"}),
        (
            {"broker_url": "amqp://host", "event_queue_durable": True},
            {"event_queue": EventQueue(exclusive=False)},
        ),
        ({"broker_url": "amqps://host"}, {"tls": BrokerTls(verify=False)}),
    ],
    ids=["its master", "our master", "management", "our event queue", "TLS"],
)
def test_accepted(settings: dict[str, Any], ours: dict[str, Any]) -> None:
    """What is missing in one place may come from the other."""
    assert broker_url_of(settings, **ours) == settings["broker_url"]


def test_an_attribute_that_the_module_lacks() -> None:
    """The module and the attribute are named; Celery's own error says that there is no such module."""
    with pytest.raises(ConfigError, match=r"tests\.integration\.bare_app has no attribute nope"):
        load_app("tests.integration.bare_app:nope")
