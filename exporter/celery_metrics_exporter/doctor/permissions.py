"""The lines by which a broker's administrator gives us what we need; docs/permissions.md explains them.

Source of the facts: ``receivers/redis.py``, ``queues/readers/redis.py`` and ``control/redis_transport.py`` (which
commands we send to Redis), RabbitMQ's access control (configure, write and read are regular expressions on names).
"""

from __future__ import annotations

import re
import shlex
from typing import Final

from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.status_page.gather_workers import version_of

_READING: Final = "+ping +scan +smembers +llen +lindex +hlen +zrange"
_ASKING: Final = "+publish +multi +exec +lrange +ltrim +rpush +expire +del"
_ANSWERS: Final = r".*\.reply\.celery-exporter\.pidbox"
#: From these versions on servers know patterns for reading only, and the parts of CLIENT by name. Where the version is
#: unknown, the line has to be one that every server takes: setinfo is dispensable.
_READ_PATTERNS: Final = (7, 0)
_SUBCOMMANDS: Final = (7, 2)
#: From this version on RabbitMQ wants a permission on a queue that is declared passively (``amqp_rights``).
_READ_QUEUES: Final = (4, 2, 6)


def line_to_subscribe(context: Context) -> str:
    """The line that lets our user receive events."""
    if not context.is_redis:
        return rabbitmq_line(context)
    info = " +client|setinfo" if version_of(context.version) >= _SUBCOMMANDS else ""
    return _redis_line(context, f"{_channel(context, _events(context))} +ping +psubscribe{info}")


def line_to_read(context: Context) -> str:
    """The line that lets our user read queues, on Redis."""
    keys = "%R~*" if _version(context) >= _READ_PATTERNS else "~*"
    return _redis_line(context, f"{keys} {_READING}")


def line_to_ask(context: Context) -> str:
    """The line that lets our user ask workers, and send an event of our own."""
    if not context.is_redis:
        return rabbitmq_line(context)
    control = f"{context.broker.app.conf.control_exchange}.pidbox"
    channels = f"{_channel(context, _events(context))} {_channel(context, control)}"
    return _redis_line(context, f"{channels} ~*.reply.celery-exporter.pidbox {_ASKING}")


def _redis_line(context: Context, rights: str) -> str:
    select = "" if context.vhost == "0" else " +select"
    return f"ACL SETUSER {context.user} {rights}{select}"


def _events(context: Context) -> str:
    return f"{context.broker.app.conf.event_exchange}/*"


def _channel(context: Context, name: str) -> str:
    """The pattern of a channel, as ``kombu/transport/redis.py`` names it (Channel.__init__, keyprefix_fanout)."""
    options = context.broker.app.conf.broker_transport_options or {}
    fanout = options.get("fanout_prefix", True)
    prefix = (fanout if isinstance(fanout, str) else "/{db}." if fanout else "").format(db=context.vhost)
    return f"&{options.get('global_keyprefix', '')}{prefix}{name}"


def _version(context: Context) -> tuple[int, ...]:
    """Unknown is taken for new: patterns for reading only are there since Redis 7.0 (2022)."""
    return version_of(context.version) or (9,)


def rabbitmq_line(context: Context, *, reads: bool = False) -> str:
    """All that our user needs on RabbitMQ; there is one such line for a user and a virtual host.

    ``reads``: also to read the queues. Versions that are known to want it get it anyway, unless the management API is
    read.
    """
    conf = context.broker.app.conf
    event, queue, control = map(
        _escaped, (conf.event_exchange, conf.event_queue_prefix, conf.control_exchange)
    )
    own = rf"{event}(\..*)?" if event == queue else rf"{event}|{queue}(\..*)?"
    asks = context.config.remote_control
    answers = f"|{_ANSWERS}" if asks else ""
    asking = rf"|{control}\.pidbox" if asks else ""
    wanted = version_of(context.version) >= _READ_QUEUES and context.config.management_url is None
    names = dict.fromkeys(
        (*context.queues, str(conf.task_default_queue))
    )  # the exporter asks for that one too
    queues = "".join(f"|{_escaped(name)}" for name in names) if reads or wanted else ""
    patterns = (f"^({own}{answers})$", f"^({own}{asking})$", f"^({own}{answers}{queues})$")
    words = " ".join(f"'{pattern}'" for pattern in patterns)
    return f"rabbitmqctl set_permissions -p {shlex.quote(context.vhost)} {shlex.quote(context.user)} {words}"


def _escaped(name: str) -> str:
    return re.escape(name).replace("'", "'\\''")
