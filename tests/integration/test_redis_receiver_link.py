"""The link to Redis breaks, hangs, or brings bytes in odd pieces: the receiver notices, and comes back."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from celery_metrics_exporter.receivers.redis import RedisSubscription
from tests.integration.event_sender import EventSender
from tests.integration.receiving import Received, receiving, subscribed
from tests.integration.servers import HOST, Valkey
from tests.integration.shaping_front import ShapingFront
from tests.waiting import wait_for

TOPIC = "/0.celeryev/worker.heartbeat"
HEARTBEATS = ["worker-heartbeat"] * 3

both = pytest.mark.parametrize("universal", [False, True], ids=["redis", "universal"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> type[RedisSubscription]:
    """Subscriptions that soon ask a silent server, and do not wait long for its answer."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.redis.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("celery_metrics_exporter.receivers.redis.ANSWER_SECONDS", 0.4)
    return RedisSubscription


def send(valkey: Valkey, number: int = 1) -> None:
    """Send heartbeats to the server itself."""
    with EventSender({"broker_url": valkey.url}) as sender:
        for _ in range(number):
            sender.send("worker-heartbeat", freq=2.0)


def pings(valkey: Valkey) -> int:
    """How many PINGs the server has answered to anybody."""
    with valkey.client() as client:
        return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])


@both
def test_the_server_closes_the_connection(valkey: Valkey, universal: bool) -> None:
    """An operator who kills the connection sees a new one, and events go on."""
    with receiving(valkey.url, universal=universal) as received, valkey.client() as client:
        send(valkey)
        received.wait_for_types("worker-heartbeat")
        client.client_kill_filter(_type="pubsub")
        received.wait_up(connections=2)
        send(valkey)
        received.wait_for_types(*["worker-heartbeat"] * 2)
        assert "onnection" in str(received.errors)


@both
def test_the_server_restarts(valkey: Valkey, universal: bool) -> None:
    """While the server is away the reason is told; when it is back, events go on."""
    with receiving(valkey.url, universal=universal) as received:
        valkey.kill()
        received.wait_down("refused")
        valkey.start()
        received.wait_up(connections=2)
        send(valkey)
        received.wait_for_types("worker-heartbeat")


@dataclass(slots=True)
class SlowReader(Received):
    """Takes its time over every message that is no event."""

    go_on: threading.Event = field(default_factory=threading.Event)

    def drop(self, reason: str, detail: str) -> None:
        """Wait."""
        super(SlowReader, self).drop(reason, detail)
        assert self.go_on.wait(10)


def test_the_server_cuts_a_slow_reader(valkey: Valkey) -> None:
    """Whoever reads too slowly is cut off by the server's limit; it still gets what was on the way, and comes back."""
    reader = SlowReader()
    with subscribed(valkey.url, RedisSubscription, received=reader), valkey.client() as client:
        reader.wait_up()
        client.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 0")
        published = 0
        while client.publish(TOPIC, "x" * 10_000):
            published += 1
        reader.go_on.set()
        reader.wait_up(connections=2)
        assert 0 < len(reader.drops) < published
        send(valkey)
        reader.wait_for_types("worker-heartbeat")


def test_a_frozen_server(valkey: Valkey, impatient: type[RedisSubscription]) -> None:
    """A server that hangs is found by a PING without an answer, and found again when it wakes up."""
    with subscribed(valkey.url, impatient, transport_options={"socket_timeout": 0.5}) as received:
        received.wait_up()
        valkey.pause()
        received.wait_down("SilentError: no answer to PING for 0.4 s", timeout=5)
        valkey.resume()
        received.wait_up(connections=2)
        send(valkey)
        received.wait_for_types("worker-heartbeat")


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_silent_stream(tmp_path: Path, protocol: int, impatient: type[RedisSubscription]) -> None:
    """Silence is no trouble as long as the server answers, in either version of the protocol."""
    path = tmp_path / "s"
    with (
        Valkey(tmp_path / "valkey", config={"unixsocket": str(path)}) as server,
        subscribed(f"redis+socket://{path}?protocol={protocol}", impatient) as received,
    ):
        received.wait_up()
        before = pings(server)
        wait_for(lambda: pings(server) >= before + 2, timeout=10, what="two PINGs")
        send(server)
        received.wait_for_types("worker-heartbeat")
        assert received.connections == 1


def test_a_server_that_does_not_confirm(valkey: Valkey, impatient: type[RedisSubscription]) -> None:
    """A subscription that is asked for and never confirmed does not count as one."""
    with (
        ShapingFront(valkey.port, hold_at=b"PSUBSCRIBE") as front,
        subscribed(f"redis://{HOST}:{front.port}/0", impatient) as received,
    ):
        received.wait_down("no answer to PSUBSCRIBE for 0.4 s")
        assert received.connections == 0


def test_a_server_that_never_says_a_word(valkey: Valkey, impatient: type[RedisSubscription]) -> None:
    """Connecting has a deadline as well."""
    with (
        ShapingFront(valkey.port) as front,
        subscribed(
            f"redis://{HOST}:{front.port}/0", impatient, transport_options={"socket_timeout": 0.3}
        ) as received,
    ):
        received.wait_up()
        front.hold()
        received.wait_down("no answer to PING")
        received.wait_down("Timeout reading from")


def test_bytes_one_by_one(valkey: Valkey) -> None:
    """Messages that come in the smallest pieces are put together again."""
    with (
        ShapingFront(valkey.port, piece_bytes=1) as front,
        receiving(f"redis://{HOST}:{front.port}/0") as received,
    ):
        send(valkey, 3)
        received.wait_for_types(*HEARTBEATS)
        assert received.connections == 1


def test_many_messages_at_once(valkey: Valkey) -> None:
    """Messages that come in one piece, larger than any buffer, are taken apart again."""
    with ShapingFront(valkey.port) as front, receiving(f"redis://{HOST}:{front.port}/0") as received:
        front.hold()
        send(valkey, 500)
        wait_for(lambda: front.held_bytes > 150_000, timeout=10, what=lambda: f"{front.held_bytes} bytes")
        assert received.bodies == []
        front.release()
        received.wait_for_types(*["worker-heartbeat"] * 500)
        assert received.drops == []


@pytest.mark.parametrize("frozen", [False, True])
def test_a_stop_is_quick(valkey: Valkey, frozen: bool) -> None:
    """A stop is seen in a moment, whatever the server does: nothing is waited for."""
    with receiving(valkey.url) as received:
        if frozen:
            valkey.pause()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert received.errors == ["stopped"]
