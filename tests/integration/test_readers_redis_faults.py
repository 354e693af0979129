"""A broker that is frozen, slow, gone or moved costs the reader of Redis a reading, and no more than seconds."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from celery_metrics_exporter.config.config import BrokerTls
from celery_metrics_exporter.queues.readers.redis import RedisReader
from tests.integration.redis_reading import producing, reading
from tests.integration.servers import HOST, Certificates, Sentinels, Valkey, free_port
from tests.integration.slow_front import SlowFront
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey")

TIMEOUT_S = 0.5
#: What a busy machine may add to a timeout.
LENIENCE_S = 2.0
PASSWORD = "known-to-nobody"


@contextmanager
def fails_within(seconds: float) -> Iterator[None]:
    """What is done inside must raise an error of redis-py's within this time, and some lenience."""
    began = time.monotonic()
    with pytest.raises(redis.RedisError) as caught:
        yield
    assert time.monotonic() - began < seconds + LENIENCE_S, caught.value


def reads_again(reader: RedisReader, wanted: Collection[str] = ()) -> None:
    """Wait until a reading succeeds."""

    def succeeds() -> bool:
        try:
            reader.read(wanted)
        except redis.RedisError:
            return False
        return True

    wait_for(succeeds, timeout=30, what="a reading that succeeds")


@pytest.mark.parametrize("options", [{}, {"health_check_interval": 0}])
def test_a_frozen_server(valkey: Valkey, options: dict[str, object]) -> None:
    """Neither a connection that stands nor a new one waits long for a server that is frozen."""
    with producing(valkey.url) as producer, reading(valkey.url, options, timeout=TIMEOUT_S) as reader:
        producer.send("letters", 0)
        assert reader.read([]).queues["letters"].ready == 1
        valkey.pause()
        with fails_within(TIMEOUT_S):
            reader.read([])
        for _ in range(2):
            with fails_within(4 * TIMEOUT_S):  # the broker's connection may be tried twice
                reader.read([])
        began = time.monotonic()
        reader.close()
        assert time.monotonic() - began < LENIENCE_S
        valkey.resume()
        assert reader.read([]).queues["letters"].ready == 1


def test_nothing_is_tried_twice(valkey: Valkey) -> None:
    """An application that wants each command to be tried again after a timeout does not make us wait for that."""
    options = {"retry_on_timeout": True}
    with reading(valkey.url, options, timeout=TIMEOUT_S) as reader, valkey.client() as client:
        reader.read([])
        valkey.pause()
        with fails_within(TIMEOUT_S):
            reader.read([])
        valkey.resume()
        wait_for(lambda: asked(client) == 2, timeout=5, what="the questions of both readings")
        reader.read([])
        assert asked(client) == 3


def asked(client: redis.Redis) -> int:
    """How many readings have asked this server for the number of unacked messages."""
    return int(client.info("commandstats")["cmdstat_hlen"]["calls"])


def test_a_slow_line(valkey: Valkey) -> None:
    """Answers that trickle in, each byte in time, do not hold a reading beyond the timeout."""
    with SlowFront(valkey.port, pause_s=TIMEOUT_S / 10) as front:
        url = f"redis://{HOST}:{front.port}/0"
        with reading(url, timeout=TIMEOUT_S) as reader:
            wanted = [f"queue-{number}" for number in range(100)]
            assert len(reader.read(wanted).queues) == 100
            front.slow_down()
            with fails_within(2 * TIMEOUT_S):
                reader.read(wanted)


def test_a_server_that_restarts(valkey: Valkey) -> None:
    """A server that went away is an error; when it is back without its data, nothing of before is told."""
    with producing(valkey.url) as producer, reading(valkey.url) as reader:
        producer.send("letters", 0)
        assert reader.read([]).queues["letters"].ready == 1
        valkey.stop()
        for _ in range(2):
            with fails_within(0):
                reader.read([])
        valkey.start()
        facts = reader.read(["letters"])
        assert not facts.queues["letters"].exists
        assert reader.read([]).queues == {}


def test_a_connection_that_the_server_closes(valkey: Valkey) -> None:
    """A server that closes idle connections costs no reading."""
    with reading(valkey.url) as reader, valkey.client() as client:
        reader.read([])
        for each in client.client_list():
            if each["id"] != str(client.client_id()):
                client.client_kill_filter(_id=each["id"])
        reader.read([])


def test_a_closed_reader_connects_anew(valkey: Valkey) -> None:
    """Closing twice does no harm, leaves no connection behind, and the next reading connects."""
    with reading(valkey.url) as reader, valkey.client() as client:
        reader.close()
        for _ in range(3):
            reader.read([])
            assert len(client.client_list()) == 2
            reader.close()
            reader.close()
            wait_for(lambda: len(client.client_list()) == 1, timeout=5, what="no connection of the reader's")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_failover(sentinels: Sentinels, frozen: bool) -> None:
    """Sentinel's new master is found, with the queues that the replica has of the old one, however that went."""
    options = {"master_name": sentinels.master_name}
    with (
        producing(sentinels.url, options) as producer,
        reading(sentinels.url, options, timeout=TIMEOUT_S) as reader,
    ):
        ids = producer.send("letters", 0, 9)
        with sentinels.master.client() as client:
            assert client.wait(1, 5000) == 1
        before = reader.read([]).queues
        assert before["letters"].heads == tuple(ids)
        if frozen:
            sentinels.master.pause()
            with fails_within(TIMEOUT_S):
                reader.read([])
            wait_for(lambda: sentinels.master_port == sentinels.replica.port, timeout=60, what="a failover")
        else:
            sentinels.fail_over()
        reads_again(reader)
        assert reader.read([]).queues == before
        with sentinels.replica.client() as client:
            assert client.info("commandstats")["cmdstat_llen"]["calls"] >= 4


def test_a_replica_without_its_master(tmp_path: Path) -> None:
    """A server that refuses everything, since what it knows is old, is an error rather than a set of empty queues."""
    with (
        Valkey(tmp_path / "replica", config={"replica-serve-stale-data": "no"}) as server,
        reading(server.url) as reader,
    ):
        assert reader.read(["letters"]).queues["letters"].ready == 0
        with server.client() as client:
            client.replicaof(HOST, free_port())
        with pytest.raises(redis.RedisError, match="Link with MASTER"):
            reader.read(["letters"])


def test_tls_and_a_password(tmp_path: Path, certificates: Certificates) -> None:
    """rediss:// works with the authority that signed the broker, and with no other."""
    with Valkey(tmp_path / "valkey", password=PASSWORD, tls=certificates) as server:
        tls = BrokerTls(ca_file=str(certificates.ca_file))
        with server.client() as client:
            client.lpush("letters", "message")
        with reading(server.url, tls=tls) as reader:
            assert reader.read(["letters"]).queues["letters"].ready == 1
        with (
            reading(server.url) as reader,
            pytest.raises(redis.RedisError, match="certificate verify failed"),
        ):
            reader.read(["letters"])


def test_a_wrong_password(tmp_path: Path) -> None:
    """Wrong credentials are an error, which does not tell them."""
    with Valkey(tmp_path / "valkey", password="another") as server:
        url = f"redis://:{PASSWORD}@{HOST}:{server.port}/0"
        with reading(url) as reader, pytest.raises(redis.AuthenticationError) as caught:
            reader.read([])
        assert PASSWORD not in str(caught.value)
