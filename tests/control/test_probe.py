"""Which subscriptions our own event reaches."""

import pytest

from celery_metrics_exporter.control.probe import reaches


@pytest.mark.parametrize("routing_key", ["#", "*.*", "exporter.probe", "exporter.*", "exporter.#", "#.probe"])
def test_reached(routing_key: str) -> None:
    """These let it through, on AMQP as on Redis."""
    assert reaches(routing_key)


@pytest.mark.parametrize(
    "routing_key",
    [
        "task.#",
        "worker.*",
        "*",
        "exporter",
        "task.sent",
        "#.task.#",
        "exporter.probe.*",
        "*.*.*",
        "probe",
        ".",
    ],
)
def test_not_reached(routing_key: str) -> None:
    """These do not."""
    assert not reaches(routing_key)


@pytest.mark.parametrize("routing_key", ["*", "exporter*", "#.#.probe", "exporter.probe.#"])
def test_where_brokers_differ(routing_key: str) -> None:
    """What is reached on one kind of broker alone counts as not reached: a probe that cannot come proves nothing."""
    assert not reaches(routing_key)
