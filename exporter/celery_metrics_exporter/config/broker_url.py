"""Broker URLs: which can work, what is secret in them, and how they look without it.

Owns the list of supported schemes and everything that reads the text of a URL. The checks find what kombu would
complain about later, and say what to write instead.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.redaction import MASK, SHORT

# Scheme -> family; a failover list keeps to one family, because kombu builds one transport for all of it.
SUPPORTED: Final = {
    "redis": "redis",
    "rediss": "redis",
    "redis+socket": "socket",
    "sentinel": "sentinel",
    "amqp": "amqp",
    "amqps": "amqp",
    "pyamqp": "amqp",
    "memory": "memory",
    "filesystem": "filesystem",
    "mongodb": "mongodb",
    "mongodb+srv": "mongodb",
    "gcpubsub": "gcpubsub",
    "pgmq": "pgmq",
}
LOCAL: Final = frozenset({"socket", "memory", "filesystem"})
#: The families that speak Redis' protocol.
REDIS: Final = frozenset({"redis", "socket", "sentinel"})
#: The families that are reached through kombu alone: their events arrive, and nothing else is known of them.
UNIVERSAL: Final = frozenset({"mongodb", "gcpubsub", "pgmq"})

# Schemes that kombu does not know, or whose library it cannot use any more -> what to write instead.
_INSTEAD: Final = {
    "librabbitmq": "amqp",
    "rabbitmq": "amqp",
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+socket": "redis+socket",
    "redis+sentinel": "sentinel",
}
# kombu's virtual transports keep the bindings of an exchange in the memory of one process, unless they say
# otherwise (kombu/transport/virtual/base.py, BrokerState); a broadcast, as events are, needs those of others.
# Scheme, without what follows a "+" -> family.
_WITHOUT_EVENTS: Final = {
    "azureservicebus": "azureservicebus",
    "azurestoragequeues": "azurestoragequeues",
    "confluentkafka": "kafka",
    "consul": "consul",
    "etcd": "etcd",
    "kafka": "kafka",
    "pyro": "pyro",
    "slmq": "slmq",
    "sqla": "sqlalchemy",
    "sqlalchemy": "sqlalchemy",
    "sqs": "sqs",
    "zookeeper": "zookeeper",
}
#: The families whose brokers carry no events between processes: there is nothing to listen to ...
WITHOUT_EVENTS: Final = frozenset(_WITHOUT_EVENTS.values())
#: ... and those of them whose queues can be read without making any.
READ_WITHOUT_EVENTS: Final = frozenset({"sqs", "sqlalchemy"})
# The names that a URL's query may hold: kombu makes them arguments of its connection (kombu/utils/url.py, parse_url).
_QUERY_NAMES: Final = {"connect_timeout", "credential_provider", "heartbeat", "insist", "login_method", "ssl"}

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HIDDEN_WORD: Final = r"(?:pass(?:word|wd|phrase)|secret|token|credential)"
_HIDDEN_NAME: Final = re.compile(_HIDDEN_WORD, re.IGNORECASE)
_HIDDEN_IN_QUERY: Final = re.compile(rf"([?&][^=&]*{_HIDDEN_WORD}[^=&]*=)[^&]*", re.IGNORECASE)

_CREDENTIALS: Final = re.compile(r"(://[^\s:/@]*):[^\s@]*@")

_PROJECT: Final = re.compile(r"projects/[A-Za-z0-9.:_-]+/?")
_EXAMPLES: Final = "redis://host:6379/0 or amqp://user:password@host:5672/vhost"
_MALFORMED: Final = (
    f"the broker URL is malformed: write it like {_EXAMPLES}, with a port from 1 to 65535, "
    "and percent-encode the characters / ? # @ ; % in its password"
)


def check_broker_url(url: str, *, events: bool = True) -> None:
    """Raise ConfigError unless `url`, or each member of the failover list `url1;url2`, can work.

    ``events``: whether the broker has to carry events.
    """
    families = {_check_one(part, events=events) for part in url.split(";")}
    if len(families) > 1:
        raise ConfigError(
            "the broker's failover list mixes transports: write URLs of one kind, such as all amqp://"
        )
    if ";" in url and families & (LOCAL | WITHOUT_EVENTS):
        raise ConfigError("a failover list is for Redis and RabbitMQ: write one URL")


def check_management_url(url: str) -> None:
    """Raise ConfigError unless `url` can be that of RabbitMQ's management API, such as `http://host:15672`."""
    try:
        parts = urlsplit(url)
        works = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        works = works and not (parts.query or parts.fragment)
    except ValueError:
        works = False
    if not works or any(c.isspace() or not c.isprintable() for c in url):
        raise ConfigError(
            "the management URL is malformed: write it like http://host:15672 or "
            "https://user:password@host:15671, and percent-encode the characters / ? # @ ; % in its password"
        )


def family(url: str) -> str:
    """The transport family of a checked URL, such as redis, sentinel or amqp."""
    found = _family_of(url.partition("://")[0].lower())
    if found is None:
        raise ValueError(f"no scheme of a broker: {masked_url(url)}")
    return found


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret, as `password` and `sasl_token` do."""
    return _HIDDEN_NAME.search(name) is not None


def masked_text(text: str) -> str:
    """A text that may quote URLs, with the password in each replaced by `***`."""
    return _CREDENTIALS.sub(rf"\1:{MASK}@", text)


def masked_url(url: str) -> str:
    """The URL (or failover list) with every password replaced by `***`, however malformed it is."""
    return ";".join(_masked(part) for part in url.split(";"))


def url_secrets(url: str) -> frozenset[str]:
    """The passwords in a URL (or failover list), as they are written and percent-decoded.

    One that is too short to be recognised in Base64 comes with its user too, as HTTP's basic authentication sends it.
    """
    found: set[str] = set()
    for part in url.split(";"):
        scheme, _, rest = part.partition("://")
        user, colon, password = rest.rpartition("@")[0].partition(":")
        # redis://word@host is a common slip for redis://:word@host
        found.add(password if colon or not scheme.startswith(("redis", "sentinel")) else user)
        if user and 0 < len(unquote(password)) < SHORT:
            found.add(f"{user}:{password}")
        found.update(value for name, value in parse_qsl(rest.partition("?")[2]) if is_secret_name(name))
    return frozenset(text for secret in found for text in (secret, unquote(secret)) if text)


def _masked(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return MASK if "@" in url else url
    head, at, tail = rest.rpartition("@")
    user, colon, _ = head.partition(":")
    hidden = f"{user}:{MASK}" if colon else (MASK if head else "")
    return f"{scheme}://{hidden}{at}" + _HIDDEN_IN_QUERY.sub(rf"\1{MASK}", tail)


def _family_of(scheme: str) -> str | None:
    return SUPPORTED.get(scheme) or _WITHOUT_EVENTS.get(scheme.partition("+")[0])


def _check_one(url: str, *, events: bool) -> str:
    match = _SCHEME.match(url)
    if match is None or any(c.isspace() or not c.isprintable() for c in url):
        raise ConfigError(_MALFORMED)
    scheme, rest = match[1].lower(), url[match.end() :]
    transport = _family_of(scheme)
    if transport is None or (events and transport in WITHOUT_EVENTS):
        raise ConfigError(_why_not(scheme, transport))
    if transport == "sqlalchemy":
        _check_database(scheme, rest)
    elif transport == "sqs":
        _check_sqs(rest)
    elif transport in WITHOUT_EVENTS:
        pass  # nothing connects to it
    elif transport == "mongodb":
        _check_mongodb(rest)
    elif transport == "gcpubsub":
        if _PROJECT.fullmatch(rest) is None:
            raise ConfigError("the broker URL names no project: write gcpubsub://projects/PROJECT")
    else:
        _check_as_kombu(rest, transport)
    return transport


def _why_not(scheme: str, transport: str | None) -> str:
    """Why this scheme is refused, and what to write instead."""
    if scheme in _INSTEAD:
        return f"{scheme}:// is no scheme of a broker here: write the same URL with {_INSTEAD[scheme]}://"
    if transport is not None:
        lengths = " for the lengths of its queues" if transport in READ_WITHOUT_EVENTS else ""
        return (
            f"events do not pass through a broker at {scheme}://: write --no-events{lengths}, and take the metrics of "
            "tasks from the workers themselves"
        )
    return (
        f"a broker at {scheme}:// is not supported; write one of "
        f"{', '.join(f'{name}://' for name in SUPPORTED)}"
    )


def _check_sqs(rest: str) -> None:
    """Check what follows the scheme: keys of AWS, and the host of another service that speaks its protocol."""
    try:
        parts = urlsplit("http://" + rest)
        works = parts.port != 0 and not (parts.query or parts.fragment) and "@" not in parts.path
    except ValueError:
        works = False
    if not works:
        raise ConfigError(
            "the broker URL is malformed: write it like sqs://, sqs://ACCESS_KEY_ID:SECRET_ACCESS_KEY@ or "
            "sqs://host:9324, percent-encode the characters / + ? # @ : ; % in the keys, and write the region as "
            "--broker-transport-option region=NAME"
        )


def _check_database(scheme: str, rest: str) -> None:
    """Check that a URL of SQLAlchemy follows kombu's scheme."""
    if not scheme.partition("+")[2] or not rest:
        raise ConfigError(
            f"the broker URL names no database: write it like {scheme.partition('+')[0]}+postgresql://user:password"
            "@host/database, as in the application"
        )


def _check_as_kombu(rest: str, transport: str) -> None:
    """Check what follows the scheme, read with the rules of http (kombu/utils/url.py, url_to_parts)."""
    try:
        parts = urlsplit("http://" + rest)
        port_is_wrong = parts.port == 0
    except ValueError:
        raise ConfigError(_MALFORMED) from None
    if transport in LOCAL:
        if transport == "socket" and parts.path in ("", "/"):
            raise ConfigError("the broker URL names no socket: write redis+socket:///path/to/redis.sock")
        return
    if port_is_wrong or "#" in rest or "@" in parts.path + parts.query:
        raise ConfigError(_MALFORMED)
    names = (name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if any(name not in _QUERY_NAMES and not name.startswith("ssl_") for name in names):
        raise ConfigError(
            "the broker URL's query holds a name that is not a setting of the connection: "
            "write --broker-transport-option NAME=VALUE instead"
        )
    if transport == "redis" and re.fullmatch(r"/*[0-9]*/*", parts.path) is None:
        raise ConfigError(
            "the broker URL names a Redis database that is not a number: write redis://host:6379/0"
        )


def _check_mongodb(rest: str) -> None:
    """Check what follows the scheme; one URL can name several servers, and the options of the client."""
    authority, *others = re.split(r"[/?]", rest, maxsplit=1)
    try:
        ports = [urlsplit(f"http://{host}").port for host in authority.rpartition("@")[2].split(",")]
    except ValueError:
        raise ConfigError(_MALFORMED) from None
    if 0 in ports or "#" in rest or any("@" in other for other in others):
        raise ConfigError(_MALFORMED)
