"""What follows from versions, limits, names and settings, without any server."""

import math
import re
from pathlib import Path

import pytest

from celery_metrics_exporter.doctor.addresses import addresses_of, with_database
from celery_metrics_exporter.doctor.buffers import judge as judge_buffers
from celery_metrics_exporter.doctor.buffers import patience
from celery_metrics_exporter.doctor.checks import CHECKS
from celery_metrics_exporter.doctor.event_queue import judge as judge_queue
from celery_metrics_exporter.doctor.findings import Status
from celery_metrics_exporter.doctor.hearing import Hearing
from celery_metrics_exporter.doctor.permissions import RedisRights, rabbitmq_line, version_of
from celery_metrics_exporter.doctor.redis_server import OutputLimit

DOCS = Path(__file__).parents[2] / "docs"
MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("version", "exclusive", "durable", "status"),
    [
        ("3.10.8", False, False, Status.OK),
        ("3.12.14", False, False, Status.OK),
        ("3.13.0", False, False, Status.WARNING),
        ("4.0.5", False, False, Status.WARNING),
        ("4.2.9", False, False, Status.WARNING),
        ("4.3.0", False, False, Status.FAILED),
        ("4.10.1", False, False, Status.FAILED),
        ("5.0.0-rc.1", False, False, Status.FAILED),
        ("4.3.0", True, False, Status.OK),
        ("4.3.0", False, True, Status.OK),
        ("", False, False, Status.OK),
    ],
)
def test_event_queue_by_version(version: str, status: Status, *, exclusive: bool, durable: bool) -> None:
    """RabbitMQ refuses queues that are neither durable nor exclusive from 4.3 on, and complains before."""
    verdict = judge_queue("RabbitMQ", version, exclusive=exclusive, durable=durable)
    assert verdict.status is status
    assert bool(verdict.remedy) == (status is not Status.OK)


def test_event_queue_of_another_broker() -> None:
    """The rules are RabbitMQ's."""
    assert judge_queue("LavinMQ", "9.0.0", exclusive=False, durable=False).status is Status.OK


@pytest.mark.parametrize(
    ("limit", "rate", "seconds"),
    [
        (OutputLimit(32 * MEGABYTE, 8 * MEGABYTE, 60), 0.0, math.inf),
        (OutputLimit(0, 0, 0), 1e9, math.inf),
        (OutputLimit(32 * MEGABYTE, 0, 0), MEGABYTE, 32.0),
        (OutputLimit(32 * MEGABYTE, 8 * MEGABYTE, 10), MEGABYTE, 18.0),
        (OutputLimit(0, 8 * MEGABYTE, 10), MEGABYTE, 18.0),
    ],
)
def test_how_long_redis_is_patient(limit: OutputLimit, rate: float, seconds: float) -> None:
    """Until the hard limit is reached, or the soft one for its time."""
    assert patience(limit, rate) == pytest.approx(seconds)


def test_limits_against_load() -> None:
    """The same limit does for a small load and not for a large one; the printed one does for that."""
    limit = OutputLimit(32 * MEGABYTE, 8 * MEGABYTE, 60)
    assert judge_buffers(limit, 10_000).status is Status.OK
    assert judge_buffers(OutputLimit(100_000, 0, 0), 0).status is Status.WARNING
    verdict = judge_buffers(limit, 5 * MEGABYTE)
    assert verdict.status is Status.WARNING
    hard, soft, seconds = map(int, re.findall(r"\d+", verdict.command))
    assert judge_buffers(OutputLimit(hard, soft, seconds), 5 * MEGABYTE).status is Status.OK


def redis(version: str, **names: str) -> RedisRights:
    """The rights of a user on a server of this version."""
    given = {"user": "u", "database": "0", "channel": "/0.", "exchange": "celeryev", "control": "celery"}
    return RedisRights(**{**given, **names}, version=version_of(version))


def test_redis_lines_by_version() -> None:
    """Old servers do not know patterns for reading only, nor the parts of CLIENT."""
    assert "%R~*" in redis("7.2.4").to_read()
    assert " ~* " in redis("6.2.14").to_read()
    assert "%" not in redis("6.2.14").to_read()
    assert "+client|setinfo" in redis("7.2.0").to_subscribe()
    assert "client" not in redis("7.0.15").to_subscribe()
    assert redis("7.2.0", database="3").to_ask().endswith("+select")


def test_rabbitmq_line() -> None:
    """It is the documentation's; other names stand in it, quoted for a shell and for a pattern."""
    names = {"vhost": "VHOST", "user": "celery-exporter", "exchange": "celeryev", "prefix": "celeryev"}
    documented = re.search(
        r"rabbitmqctl set_permissions.*?```", (DOCS / "operations.md").read_text(), re.DOTALL
    )
    assert documented is not None
    line = rabbitmq_line(**names, control="celery", remote_control=True)
    assert line.split() == documented[0].removesuffix("```").split()
    other = rabbitmq_line(
        vhost="my shop", user="u", exchange="ev.shop", prefix="q", control="shop", remote_control=False
    )
    assert other == (
        "rabbitmqctl set_permissions -p 'my shop' u "
        r"'^(ev\.shop|q(\..*)?)$' '^(ev\.shop|q(\..*)?)$' '^(ev\.shop|q(\..*)?)$'"
    )


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("redis://", ["localhost:6379"]),
        ("rediss://:p%40w@host/3?ssl_cert_reqs=none", ["host:6379"]),
        ("amqp://u:p@host//", ["host:5672"]),
        ("amqps://host", ["host:5671"]),
        ("amqp://[::1]:7//;amqp://b", ["[::1]:7", "b:5672"]),
        ("sentinel://:pw@a:1/0;sentinel://b/0", ["a:1", "b:26379"]),
        ("redis+socket:///run/redis.sock?virtual_host=2", ["/run/redis.sock"]),
        ("memory://", []),
        ("filesystem://", []),
    ],
)
def test_addresses(url: str, addresses: list[str]) -> None:
    """Where each kind of URL leads."""
    assert [str(address) for address in addresses_of(url)] == addresses


def test_another_database_of_a_url() -> None:
    """Only the number changes."""
    assert (
        with_database("rediss://u:p@h:1/0?ssl_cert_reqs=none", 2) == "rediss://u:p@h:1/2?ssl_cert_reqs=none"
    )
    assert with_database("redis://a;redis://b/1", 5) == "redis://a/5;redis://b/5"
    assert with_database("redis+socket:///s?virtual_host=1", 5) == "redis+socket:///s?virtual_host=5"


def test_what_anybody_may_send() -> None:
    """Broken events are counted, and the others are heard."""
    hearing = Hearing(wall=lambda: 100.0)
    hearing.feed_all(
        [b"{", b"[]", b'{"type": "task-sent", "uuid": "1", "timestamp": 1.0, "hostname": "gen1@a"}']
    )
    hearing.drop("oversized", "too much")
    assert {reason: number for reason, (number, _) in hearing.drops.items()} == {
        "undecodable": 1,
        "oversized": 1,
    }
    assert hearing.publishers == {"gen1@a": 1}
    assert hearing.events == 1


def test_checks_depend_on_earlier_ones() -> None:
    """Each check needs only what comes before it, and has a name and a title of its own."""
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen
        seen.add(check.name)
    assert len(seen) == len({check.title for check in CHECKS}) == len(CHECKS)


def test_every_check_is_documented() -> None:
    """docs/doctor.md has a row for each check, in their order."""
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    assert rows == [check.name for check in CHECKS]
