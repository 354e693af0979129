"""What follows from versions, limits, names and settings, without any server."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from celery_metrics_exporter.config.config import Config, EventQueue
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.doctor.buffers import judge as judge_buffers
from celery_metrics_exporter.doctor.buffers import patience
from celery_metrics_exporter.doctor.checks import CHECKS
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.network import addresses_of, with_database
from celery_metrics_exporter.doctor.observed import LEFT_OUT, Observed
from celery_metrics_exporter.doctor.permissions import (
    line_to_ask,
    line_to_read,
    line_to_subscribe,
    rabbitmq_line,
)
from celery_metrics_exporter.doctor.redis_server import OutputLimit
from celery_metrics_exporter.doctor.traffic import Traffic
from celery_metrics_exporter.status_page.findings import Level
from tests.status_page.test_missing import CASES

DOCS = Path(__file__).parents[2] / "docs"
MEGABYTE = 1024 * 1024


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
    assert judge_buffers(limit, 10_000).level is Level.OK
    assert judge_buffers(OutputLimit(100_000, 0, 0), 0).level is Level.WARNING
    finding = judge_buffers(limit, 5 * MEGABYTE)
    assert finding.level is Level.WARNING
    hard, soft, seconds = map(int, re.findall(r"\d+", finding.command))
    assert judge_buffers(OutputLimit(hard, soft, seconds), 5 * MEGABYTE).level is Level.OK


def context_of(url: str, **settings: Any) -> Context:
    """What doctor knows at first."""
    config = Config(broker_url=url, **settings)
    return Context(config, broker_of(config), wait=0.0, timeout=1.0)


def redis(version: str, database: int = 0) -> Context:
    """A user's on a server of this version."""
    context = context_of(f"redis://u:p@host/{database}")
    context.version = version
    return context


def test_redis_lines_by_version() -> None:
    """Old servers do not know patterns for reading only, nor the parts of CLIENT."""
    assert "%R~*" in line_to_read(redis("7.2.4"))
    assert " ~* " in line_to_read(redis("6.2.14"))
    assert "%" not in line_to_read(redis("6.2.14"))
    assert "+client|setinfo" in line_to_subscribe(redis("7.2.0"))
    assert "client" not in line_to_subscribe(redis("7.0.15"))
    assert "client" not in line_to_subscribe(redis(""))
    assert line_to_ask(redis("7.2.0", database=3)).endswith("+select")


def test_rabbitmq_line() -> None:
    """It is the documentation's, by version; other names stand in it, quoted for a shell and for a pattern."""
    documented = re.findall(
        r"rabbitmqctl set_permissions.*?```", (DOCS / "permissions.md").read_text(), re.DOTALL
    )
    older, newer = (line.removesuffix("```").split() for line in documented)
    context = context_of("amqp://celery-exporter:p@host/VHOST")
    for version, line in (
        ("3.10.8", older),
        ("4.2.5", older),
        ("4.2.6", newer),
        ("4.3.1", newer),
        ("", older),
    ):
        context.version = version
        assert rabbitmq_line(context).split() == line
    assert rabbitmq_line(context, reads=True).split() == newer
    context = context_of("amqp://celery-exporter:p@host/VHOST", management_url="http://host:15672")
    context.version = "4.3.6"
    assert rabbitmq_line(context).split() == older
    names = EventQueue(exchange="ev.shop", prefix="q")
    context = context_of(
        "amqp://u:p@host/my%20shop", event_queue=names, remote_control=False, queues=("mail.a", "b")
    )
    context.broker.app.conf.control_exchange = "shop"
    assert rabbitmq_line(context) == (
        "rabbitmqctl set_permissions -p 'my shop' u "
        r"'^(ev\.shop|q(\..*)?)$' '^(ev\.shop|q(\..*)?)$' '^(ev\.shop|q(\..*)?)$'"
    )
    assert rabbitmq_line(context, reads=True).endswith(r" '^(ev\.shop|q(\..*)?|mail\.a|b|celery)$'")


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


def test_traffic() -> None:
    """What Redis sends is the body in base64 and what stands around it."""
    config = Config(broker_url="redis://")
    traffic = Traffic(broker_of(config), config)
    traffic.feed_all([b"x" * 300, b"y" * 600])
    traffic.feed(b"z" * 300)
    assert traffic.stream_bytes == 1600 + 3 * 400
    assert 0 < traffic.rate() <= traffic.stream_bytes / 0.1


def test_every_finding_of_the_status_page_belongs_to_a_check() -> None:
    """Each finding that the page can show is in one check, or is left out on purpose."""
    shown = [key for check in CHECKS if isinstance(check.examine, Observed) for key in check.examine.keys]
    assert sorted((*shown, *LEFT_OUT)) == sorted((*CASES, "absent", "no-events", "no-queue"))


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
