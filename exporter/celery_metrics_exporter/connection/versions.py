"""What differs between the versions that the exporter runs with: Celery 5.3 to 5.7, kombu and redis-py of their time.

Everything else in this package calls these libraries in the same way, whatever their version. What no version has yet
is guarded where it is used, such as by ``receivers.redis.missing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final

import kombu
import redis
from celery.events.event import get_exchange
from celery.signals import user_preload_options
from kombu import Queue
from kombu.exceptions import VersionMismatch
from kombu.transport.redis import Channel

from celery_metrics_exporter.errors import ConfigError

#: celery/app/defaults.py has these settings since 5.6, and these defaults since 5.7. In 5.6 the queue is not exclusive.
_LATER_SETTINGS: Final = MappingProxyType({"event_queue_exclusive": True, "event_queue_durable": False})

#: The versions of kombu that brought a transport.
_TRANSPORTS_SINCE: Final = MappingProxyType({"gcpubsub": "5.5", "pgmq": "5.7"})


def add_later_settings(app: Any) -> None:
    """Give an application the event queue that it has by default with the newest Celery, whichever it runs with.

    What it sets by itself stays: with 5.6 an event queue can be durable without a word about exclusive.
    """
    app.conf.get("broker_url")  # loads the settings, which are no ``Settings`` before
    *_, defaults = maps = app.conf.maps
    if not (app.conf.get("event_queue_durable") and "event_queue_exclusive" in defaults):
        maps.insert(len(maps) - 1, dict(_LATER_SETTINGS))


def deliver_preload_options(app: Any, given: Mapping[str, Any]) -> None:
    """Send the signal of options that an application adds to every command of Celery, where Celery does not.

    Since 5.7 it does (celery/bin/base.py, ``consume_preload_options``); before, each of its commands sends the signal
    by itself (``handle_preload_options`` there).
    """
    from celery.bin import base  # noqa: PLC0415 - 2 MB that only Celery's command line has loaded already

    names = [option.name for option in app.user_options.get("preload", ())]
    if names and not hasattr(base, "consume_preload_options"):
        options = {name: given[name] for name in names}
        user_preload_options.send(sender=deliver_preload_options, app=app, options=options)


def event_queue(
    app: Any, connection: Any, *, node: str, routing_key: str, arguments: Mapping[str, object] | None = None
) -> Queue:
    """The queue of an ``EventReceiver`` with this node's name (celery/events/receiver.py, ``EventReceiver.__init__``).

    That class knows nothing of exclusive and durable queues before 5.6. ``arguments`` are further ones of the broker's.
    """
    conf = app.conf
    return Queue(
        f"{conf.event_queue_prefix}.{node}",
        exchange=get_exchange(connection, name=conf.event_exchange),
        routing_key=routing_key,
        auto_delete=not conf.event_queue_durable,
        durable=conf.event_queue_durable,
        exclusive=conf.event_queue_exclusive,
        message_ttl=conf.event_queue_ttl,
        expires=conf.event_queue_expires,
        queue_arguments=arguments,
    )


def fanout_topics(channel: Any, exchange: str, routing_key: str) -> tuple[str, ...]:
    """The channels of Redis to which kombu publishes for a fanout exchange.

    kombu/transport/redis.py, ``Channel._put_fanout``: since 5.7 these can be two (``_get_publish_topics``,
    sentinel_fanout_compat), before it is one (``_get_publish_topic``).
    """
    several = getattr(channel, "_get_publish_topics", None)
    if several is not None:
        topics = several(exchange, routing_key)
    else:
        topics = [channel._get_publish_topic(exchange, routing_key)]  # noqa: SLF001 - kombu has no public name for it
    return tuple(channel.global_keyprefix + topic for topic in topics)


def missing_for_fanout() -> str | None:
    """What this kombu lacks for :func:`fanout_topics`; None when that works."""
    names = ("_get_publish_topics", "_get_publish_topic")
    return (
        None if any(hasattr(Channel, name) for name in names) else f"kombu.transport.redis.Channel.{names[0]}"
    )


def pooled_connection(pool: Any) -> Any:
    """Take a connection out of a pool of redis-py, connected.

    redis/connection.py, ``ConnectionPool.get_connection``: the name of a command, never used, is an argument that is
    needed before 5.3 and deprecated since.
    """
    return pool.get_connection() if redis.VERSION >= (5, 3) else pool.get_connection("_")


def check_transport(name: str) -> None:
    """Raise ConfigError if this kombu has no such transport yet (its Changelog.rst names the version)."""
    since = _TRANSPORTS_SINCE.get(name)
    if since is not None and find_spec(f"kombu.transport.{name}") is None:
        raise ConfigError(
            f"a broker at {name}:// needs kombu {since} or newer, and kombu {kombu.__version__} is installed: "
            f"pip install 'kombu[{name}]>={since}'"
        )


def check_redis_py() -> None:
    """Raise ConfigError if kombu refuses to work with the installed redis-py (``Channel._get_client`` there).

    pip may choose such a pair, because Celery bounds kombu, and its extra bounds redis-py: a fresh celery[redis] 5.4
    gets kombu 5.7, which needs redis-py 6.1, and redis-py 5.3.
    """
    try:
        Channel._get_client(Channel)  # noqa: SLF001 - as above; of the channel it reads the key prefix alone
    except VersionMismatch as error:
        raise ConfigError(
            f"kombu {kombu.__version__} and redis-py {redis.__version__} do not work together ({error}): "
            f"pip install 'kombu[redis]=={kombu.__version__}'"
        ) from error
