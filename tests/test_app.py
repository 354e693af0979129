"""An exporter in this process, with a broker in this process: what it is without a web server."""

import threading

from prometheus_client import generate_latest

from celery_metrics_exporter.app import LAST_SWEEP_SECONDS, LEAVE_SECONDS, Exporter
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.web.server import STOP_SECONDS
from tests.waiting import wait_for


def test_all_waits_of_a_stop_are_within_what_is_promised() -> None:
    """Five seconds (docs/image.md); what a stop takes on the clock depends on what else a machine does."""
    assert LEAVE_SECONDS + LAST_SWEEP_SECONDS + STOP_SECONDS < 5


def test_without_serving() -> None:
    """Nothing listens, not even the web configuration is read; everything else runs, and ends with the exporter."""
    before = set(threading.enumerate())
    config = Config(
        broker_url="memory://", transport_options={"polling_interval": 0.1}, web_config_file="/absent.yml"
    )
    exporter = Exporter(config, serve=False)
    assert exporter.survey.look().subscription.connected is False
    exporter.start()
    try:
        assert exporter.urls == ()
        wait_for(lambda: exporter.survey.look().subscription.connected, timeout=10, what="a subscription")
        wait_for(lambda: exporter.survey.look().broker.up, timeout=10, what="a sample of the broker")
        assert "celery_exporter_receiver_connected 1.0" in generate_latest(exporter.registry).decode()
    finally:
        exporter.stop()
    assert not exporter.survey.look().subscription.connected
    assert set(threading.enumerate()) <= before


def test_what_is_secret() -> None:
    """The password of the broker is among the secrets."""
    assert "hunter2" in Exporter(Config(broker_url="redis://:hunter2@localhost"), serve=False).secrets
