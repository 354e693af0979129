"""The configuration: its defaults, the rules it keeps and the secrets it holds."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_metrics_exporter.config.config import (
    BrokerTls,
    Config,
    EventQueue,
    ListenAddress,
    secrets,
)
from celery_metrics_exporter.errors import ConfigError


def refusal_of(**settings: Any) -> str:
    """The line with which a configuration is refused."""
    with pytest.raises(ConfigError) as refusal:
        Config(**{"broker_url": "redis://host/0", **settings})
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


def test_defaults_are_those_of_the_design() -> None:
    """A broker alone is enough; the rest has the defaults that the documentation states."""
    config = Config(broker_url="redis://host/0")
    assert config.listen == (ListenAddress("", 9808),)
    assert config.telemetry_path == "/metrics"
    assert config.enable_events
    assert (config.worker_timeout, config.worker_retention) == (60.0, 3600.0)
    assert (config.sample_interval, config.inspect_interval) == (5.0, 30.0)
    assert config.remote_control
    assert config.inspect_workers
    assert config.recover
    assert not config.queue_priorities
    assert (config.max_in_flight, config.max_series) == (1_000_000, 10_000)
    assert config.event_queue == EventQueue(routing_key="#")
    assert config.tls is None
    assert dict(config.transport_options) == {}
    assert config.runtime_buckets[0] == config.wait_buckets[0] == 0.005
    assert config.runtime_buckets[-1] == 3600
    assert config.wait_buckets[-1] > 3600


def test_no_broker_is_refused_with_a_way_out() -> None:
    """Who gives no broker reads which option to write, and of the demo that needs none."""
    line = refusal_of(broker_url=None)
    assert "--broker-url" in line
    assert "celery-exporter demo" in line
    assert Config(app="proj.celery:app").broker_url is None


def test_exclusive_and_durable_exclude_each_other() -> None:
    """The refusal stands before anything connects, and names both options."""
    with pytest.raises(ConfigError, match=r"--no-event-queue-exclusive or --no-event-queue-durable"):
        EventQueue(exclusive=True, durable=True)
    EventQueue(exclusive=True, durable=False)
    EventQueue(exclusive=False, durable=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_in_flight": 0}, "--max-in-flight"),
        ({"max_series": -1}, "--max-series"),
        ({"worker_timeout": 0.0}, "--worker-timeout"),
        ({"worker_retention": float("inf")}, "--worker-retention"),
        ({"worker_retention": float("nan")}, "--worker-retention"),
        ({"runtime_buckets": ()}, "--runtime-buckets is empty"),
        ({"runtime_buckets": (0.0, 1.0)}, "--runtime-buckets must be finite and above 0 seconds, 0 is not"),
        ({"wait_buckets": (1.0, float("inf"))}, "--wait-buckets must be finite"),
        ({"wait_buckets": (1.0, 1.0)}, "--wait-buckets must increase, 1 comes after 1"),
        ({"native_histogram_schema": 9}, "--native-histogram-schema must be from -4 to 8"),
        ({"native_histogram_schema": -5}, "--native-histogram-schema must be from -4 to 8"),
        ({"classic_histograms": False, "native_histograms": False}, "leave histograms without buckets"),
        ({"sample_interval": 0.0}, "--sample-interval"),
        ({"inspect_interval": float("inf")}, "--inspect-interval"),
        ({"queues": ("",)}, "--queue must"),
        ({"queues": (" \n",)}, "--queue must"),
        ({"queue_exclude": ("x" * 501,)}, "--queue-exclude must"),
        ({"management_url": "http://host:15672"}, "--management-url works with RabbitMQ only"),
        ({"broker_url": "amqp://host", "management_url": "host:15672"}, "the management URL is malformed"),
        ({"broker_url": "amqp://host", "management_url": "http://:15672"}, "the management URL is malformed"),
        (
            {"broker_url": "amqp://host", "management_url": "http://u:p/w@h:1"},
            "the management URL is malformed",
        ),
        ({"broker_url": "amqp://host", "management_url": "http://h/?a=b"}, "the management URL is malformed"),
        ({"listen": ()}, "--web.listen-address"),
        ({"telemetry_path": "metrics"}, "--web.telemetry-path"),
        ({"telemetry_path": "/"}, "--web.telemetry-path"),
        ({"telemetry_path": "/-/healthy"}, "--web.telemetry-path"),
        ({"telemetry_path": "/a?b"}, "--web.telemetry-path"),
        ({"receiver": "fastest"}, "--receiver"),
        ({"log_level": "loud"}, "--log.level"),
        ({"log_format": "xml"}, "--log.format"),
        ({"broker_url": "sentinel://host"}, "master_name"),
        ({"broker_url": "memory://", "tls": BrokerTls()}, "--broker-tls-"),
        ({"broker_url": "nats://host"}, "not supported"),
    ],
)
def test_setting_that_cannot_work_is_refused(settings: dict[str, Any], words: str) -> None:
    """Each rule has its line, which names the option."""
    assert words in refusal_of(**settings)


@pytest.mark.parametrize(
    "queue",
    [
        {"prefix": ""},
        {"exchange": " "},
        {"serializer": "a\nb"},
        {"routing_key": ""},
        {"ttl": 0.0},
        {"expires": -1.0},
    ],
)
def test_event_queue_that_cannot_work_is_refused(queue: dict[str, Any]) -> None:
    """Names must be printable, times above zero."""
    with pytest.raises(ConfigError, match="--event-"):
        EventQueue(**queue)


def test_tls_files_must_fit_together() -> None:
    """A key without a certificate, or authorities that nobody checks, are mistakes."""
    with pytest.raises(ConfigError, match="--broker-tls-cert-file"):
        BrokerTls(key_file="key.pem")
    with pytest.raises(ConfigError, match="--no-broker-tls-verify"):
        BrokerTls(verify=False, ca_file="ca.pem")


def test_sentinel_knows_its_master_from_options_or_app() -> None:
    """The master's name is asked for only where nobody can know it."""
    Config(broker_url="sentinel://host", transport_options={"master_name": "main"})
    Config(broker_url="sentinel://host", app="proj")


def test_configuration_cannot_change() -> None:
    """Neither its fields nor its transport options, also not through the mapping that it was made from."""
    options: dict[str, object] = {"a": 1}
    config = Config(broker_url="memory://", transport_options=options)
    options["a"] = 2
    assert config.transport_options == {"a": 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.log_level = "debug"  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(TypeError):
        config.transport_options["a"] = 3  # type: ignore[index]  # likewise
    assert hash(config) == hash(Config(broker_url="memory://"))


def test_secrets_are_found_wherever_they_stand() -> None:
    """In the URL, in settings named like a secret at any depth, and in URLs among the options."""
    config = Config(
        broker_url="sentinel://:one%21@a;sentinel://:two@b",
        transport_options={
            "master_name": "main",
            "sentinel_kwargs": {"password": "three", "username": "name"},
            "hosts": ["redis://:four@c", "plain"],
            "API_TOKEN": 5555,
            "secrets": {"whatever": ["six"]},
            "password_required": True,
            "passphrase": None,
        },
    )
    assert secrets(config) == {"one%21", "one!", "two", "three", "four", "5555", "six"}
    config = Config(broker_url="amqp://u:seven@h", management_url="http://v:eight@h:15672")
    assert secrets(config) == {"seven", "eight"}


@given(password=st.text(min_size=1).map(lambda text: "pW9xQ" + text))
def test_representation_of_a_configuration_shows_no_secret(password: str) -> None:
    """A configuration can be logged as it is."""
    config = Config(
        broker_url="redis://:pW9xQ@host/0", transport_options={"sentinel_kwargs": {"password": password}}
    )
    assert "pW9xQ" not in repr(config)


def test_listen_address_is_written_as_it_is_given() -> None:
    """An IPv6 address gets its brackets."""
    assert [str(ListenAddress(*a)) for a in (("", 1), ("::1", 2), ("h", 3))] == [":1", "[::1]:2", "h:3"]


def test_without_events_nobody_is_asked() -> None:
    """Remote control writes to the broker, so that it goes with the events; also in a changed copy."""
    config = Config(broker_url="sqs://", events=False, remote_control=True)
    assert not config.remote_control
    assert not dataclasses.replace(config, remote_control=True).remote_control
    assert "events do not pass" in refusal_of(broker_url="sqs://")


def test_tls_options_are_not_for_brokers_without_events() -> None:
    """Their libraries have settings of their own."""
    assert "--broker-tls-..." in refusal_of(broker_url="sqs://", events=False, tls=BrokerTls(verify=False))


def test_secrets_of_sqs() -> None:
    """The keys in the URL and those of predefined queues are hidden, whatever their depth."""
    queues = {"celery": {"url": "https://sqs/1/celery", "access_key_id": "ID", "secret_access_key": "deep"}}
    config = Config(
        broker_url="sqs://ID:sec%2Fret@", events=False, transport_options={"predefined_queues": queues}
    )
    assert secrets(config) == {"sec/ret", "sec%2Fret", "deep"}
