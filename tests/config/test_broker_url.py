"""Broker URLs: what is accepted, what is refused and with which words, and that passwords stay hidden."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celery_metrics_exporter.config.broker_url import (
    SUPPORTED,
    check_broker_url,
    family,
    masked_url,
    url_secrets,
)
from celery_metrics_exporter.errors import ConfigError

MARK = "pW9xQ"
passwords = st.text(min_size=1, max_size=20).map(lambda text: MARK + text)


def refusal_of(url: str) -> str:
    """The line with which a URL is refused; empty when it is accepted."""
    try:
        check_broker_url(url)
    except ConfigError as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost",
        "redis://localhost:6379/0",
        "redis://user:p%40ss%2Fw%3Bord@[::1]:6379//3",
        "REDIS://localhost/1",
        "rediss://:secret@host:6380/1?ssl_cert_reqs=required&ssl_ca_certs=%2Fca.pem",
        "redis+socket:///run/redis.sock?virtual_host=2",
        "redis+socket://:secret@/run/redis.sock",
        "sentinel://one:26379/0;sentinel://two:26379/0",
        "amqp://",
        "amqp://guest:guest@localhost:5672//",
        "amqp://guest:guest@localhost:5672/%2Fvhost?heartbeat=10",
        "amqps://a:b@one;amqps://a:b@two",
        "pyamqp://localhost",
        "memory://",
        "memory://localhost/",
        "filesystem://",
        "mongodb://",
        "mongodb://user:p%40ss@one:27017,two:27018/celery?replicaSet=rs0&authSource=admin",
        "mongodb+srv://user:pw@cluster.example/celery?retryWrites=true",
        "mongodb://[::1]:27017/celery",
        "gcpubsub://projects/shop-1",
        "pgmq://user:pw@host:5432/shop",
    ],
)
def test_url_that_kombu_understands_is_accepted(url: str) -> None:
    """Each form that Celery documents for the supported transports passes."""
    check_broker_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost", "malformed"),
        ("", "malformed"),
        ("redis:/host", "malformed"),
        ("redis://host:port", "malformed"),
        ("redis://host:99999", "malformed"),
        ("redis://host:0", "malformed"),
        ("redis://ho st", "malformed"),
        ("redis://[::1", "malformed"),
        ("redis://:a/b@host/0", "malformed"),
        ("redis://:12/b@host/0", "malformed"),
        ("redis://:1#b@host/0", "malformed"),
        ("redis://:1?b@host/0", "malformed"),
        ("redis://one;two", "malformed"),
        ("redis://one;", "malformed"),
        ("redis://host/zero", "not a number"),
        ("redis://host/0?db=1", "--broker-transport-option"),
        ("redis+socket://", "redis+socket:///path"),
        ("redis://one;amqp://two", "of one kind"),
        ("memory://;memory://", "write one URL"),
        ("sqs://", "write --no-events for the lengths of its queues, and take"),
        ("SQS://key:secret/with/slashes@", "events do not pass through a broker at"),
        ("kafka://host", "write --no-events, and take"),
        ("sqla+postgresql://u:p@host/db", "events do not pass through a broker at"),
        ("db+sqlite:///x", "not supported"),
        ("confluentkafka://host", "events do not pass through a broker at"),
        ("azureservicebus://a:b@c", "events do not pass through a broker at"),
        ("azurestoragequeue://a:b@c", "not supported"),
        ("azurestoragequeues://a:b@c", "events do not pass through a broker at"),
        ("consul://host", "events do not pass through a broker at"),
        ("etcd://host", "events do not pass through a broker at"),
        ("zookeeper://host", "events do not pass through a broker at"),
        ("pyro://host", "events do not pass through a broker at"),
        ("SLMQ://a:b@host", "events do not pass through a broker at"),
        ("sqlalchemy+sqlite:///x", "events do not pass through a broker at"),
        ("qpid://host", "not supported"),
        ("librabbitmq://u:p@host//", "write the same URL with amqp://"),
        ("valkey://:p@host/0", "write the same URL with redis://"),
        ("VALKEYS://host/0", "write the same URL with rediss://"),
        ("valkey+socket:///run/s", "write the same URL with redis+socket://"),
        ("mongodb://u:p/w@host/db", "malformed"),
        ("mongodb://one:27017,two:x/db", "malformed"),
        ("mongodb://one;redis://two", "of one kind"),
        ("gcpubsub://", "projects/PROJECT"),
        ("gcpubsub://user:pw@host/1", "projects/PROJECT"),
        ("pgmq://host:x/db", "malformed"),
        ("pgmq://host/db?sslmode=require", "--broker-transport-option"),
        ("htp://host", "not supported"),
    ],
)
def test_url_that_cannot_work_is_refused(url: str, words: str) -> None:
    """Each kind of mistake has words of its own, in one line."""
    with pytest.raises(ConfigError) as refusal:
        check_broker_url(url)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_refused_scheme_names_the_supported_ones() -> None:
    """Who wrote a scheme that we do not know reads which ones there are."""
    with pytest.raises(ConfigError) as refusal:
        check_broker_url("nats://host")
    assert all(f"{scheme}://" in str(refusal.value) for scheme in SUPPORTED)


@pytest.mark.parametrize(
    "url",
    [
        "sqs://",
        "SQS://",
        "sqs://KEY:s%2Fcret%2B@",
        "sqs://localhost:9324/",
        "sqs://KEY:secret@localhost:9324",
        "sqla+sqlite:////var/celery.db",
        "sqlalchemy+postgresql+psycopg2://u:p@host:5432/db?sslmode=require",
        "confluentkafka://host:9092",
        "azurestoragequeues://DefaultAzureCredential@https://name.queue.core.windows.net",
    ],
)
def test_brokers_without_events(url: str) -> None:
    """They are accepted where no events are wanted, and refused where they are."""
    check_broker_url(url, events=False)
    with pytest.raises(ConfigError, match="events do not pass"):
        check_broker_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqs://KEY:sec/ret@", "percent-encode"),
        ("sqs://KEY:se+cr@t@host:x", "percent-encode"),
        ("sqs://host:0", "sqs://host:9324"),
        ("sqs://?region=eu-west-1", "--broker-transport-option region=NAME"),
        ("sqs://;sqs://", "write one URL"),
        ("sqla://user:p@host/db", "sqla+postgresql://"),
        ("sqlalchemy+://x", "sqlalchemy+postgresql://"),
        ("sqla+sqlite://", "sqla+postgresql://"),
        ("sqla+sqlite:///a;sqla+sqlite:///b", "write one URL"),
        ("nats://host", "not supported"),
    ],
)
def test_broken_urls_of_brokers_without_events(url: str, words: str) -> None:
    """Each is refused with what to write, in one line without its secret."""
    with pytest.raises(ConfigError) as refusal:
        check_broker_url(url, events=False)
    assert words in str(refusal.value)
    assert "sec/ret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rediss://h", "redis"),
        ("sqs://", "sqs"),
        ("SQLA+postgresql://h/db", "sqlalchemy"),
        ("redis+socket:///s", "socket"),
        ("AMQPS://h", "amqp"),
        ("sentinel://h;sentinel://i", "sentinel"),
    ],
)
def test_family_tells_which_transport_a_url_means(url: str, expected: str) -> None:
    """Schemes of one transport are of one family."""
    assert family(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("redis://secret@host/0", "redis://***@host/0"),
        ("amqp://user:secret@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
        ("amqp://u:a@one;amqp://u:b@two", "amqp://u:***@one;amqp://u:***@two"),
        ("redis://:se/cr?e#t@host/0", "redis://:***@host/0"),
        (
            "redis+socket:///sock?password=secret&virtual_host=1",
            "redis+socket:///sock?password=***&virtual_host=1",
        ),
        ("user:secret@host", "***"),
        ("memory://", "memory://"),
    ],
)
def test_masked_url_shows_all_but_passwords(url: str, expected: str) -> None:
    """What is left tells which broker is meant."""
    assert masked_url(url) == expected


def test_secrets_of_a_url_are_as_written_and_as_decoded() -> None:
    """A library may print either form."""
    assert url_secrets("redis://:p%40ss@one;redis://:word@two") == {"p%40ss", "p@ss", "word"}
    assert url_secrets("amqp://user@host") == frozenset()
    assert url_secrets("redis://") == frozenset()


@given(password=passwords, scheme=st.sampled_from(sorted(SUPPORTED.keys() - {"gcpubsub"})))
def test_quoted_password_is_accepted_masked_and_known(password: str, scheme: str) -> None:
    """Any password works once it is percent-encoded, and is found as a secret."""
    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:
        return
    url = f"{scheme}://user:{encoded}@host/1"
    check_broker_url(url)
    assert MARK not in masked_url(url)
    assert {password, encoded} <= url_secrets(url)


@given(url=st.text() | st.builds("{}://{}".format, st.sampled_from(sorted(SUPPORTED)), st.text()))
@example(url="redis://[")
@example(url="redis://\ud800@h")
def test_any_text_is_a_url_or_a_one_line_refusal(url: str) -> None:
    """Nothing but ConfigError ever comes out, whatever is written."""
    masked_url(url)
    url_secrets(url)
    assert len(refusal_of(url).splitlines()) <= 1


@given(
    password=passwords,
    frame=st.sampled_from(["redis://:{}@h/0", "amqp://u:{}@h:x/", "{}", "sqs://{}@", "x://:{}@h"]),
)
def test_refusal_never_repeats_a_password(password: str, frame: str) -> None:
    """A malformed URL is not echoed, since what is wrong may be its password."""
    assert MARK not in refusal_of(frame.format(password))
