"""The lines by which a broker's administrator gives us what we need; docs/operations.md explains them.

Source of the facts: ``receivers/redis.py``, ``queues/readers/redis.py`` and ``control/redis_transport.py`` (which
commands we send to Redis), RabbitMQ's access control (configure, write and read are regular expressions on names).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

_READING: Final = "+ping +scan +smembers +llen +lindex +hlen +zrange"
_ASKING: Final = "+publish +multi +exec +lrange +ltrim +rpush +expire +del"
_ANSWERS: Final = r".*\.reply\.celery-exporter\.pidbox"
#: From these versions on servers know patterns for reading only, and the parts of CLIENT by name.
_READ_PATTERNS: Final = (7, 0)
_SUBCOMMANDS: Final = (7, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRights:
    """What a user of Redis needs.

    Attributes:
        user: name.
        database: number.
        channel: before the name of an exchange in the name of a channel, such as ``/0.``.
        exchange: of events.
        control: exchange of remote control, without ``.pidbox``.
        version: of the server.
    """

    user: str
    database: str
    channel: str
    exchange: str
    control: str
    version: tuple[int, ...]

    def to_read(self) -> str:
        """To read queues."""
        keys = "%R~*" if self.version >= _READ_PATTERNS else "~*"
        return self._line(f"{keys} {_READING}")

    def to_subscribe(self) -> str:
        """To receive events."""
        info = " +client|setinfo" if self.version >= _SUBCOMMANDS else ""
        return self._line(f"&{self.channel}{self.exchange}/* +ping +psubscribe{info}")

    def to_ask(self) -> str:
        """To ask workers, and to send an event of our own."""
        return self._line(
            f"&{self.channel}{self.exchange}/* "
            f"&{self.channel}{self.control}.pidbox ~*.reply.celery-exporter.pidbox {_ASKING}"
        )

    def _line(self, rights: str) -> str:
        select = "" if self.database == "0" else " +select"
        return f"ACL SETUSER {self.user} {rights}{select}"


def rabbitmq_line(
    *, vhost: str, user: str, exchange: str, prefix: str, control: str, remote_control: bool
) -> str:
    """All that a user of RabbitMQ needs; there is one such line for a user and a virtual host.

    Args:
        vhost: name of the virtual host.
        user: name.
        exchange: of events.
        prefix: of the event queue's name.
        control: exchange of remote control, without ``.pidbox``.
        remote_control: workers are asked.
    """
    event, queue = _escaped(exchange), _escaped(prefix)
    own = rf"{event}(\..*)?" if event == queue else rf"{event}|{queue}(\..*)?"
    answers = f"|{_ANSWERS}" if remote_control else ""
    asking = rf"|{_escaped(control)}\.pidbox" if remote_control else ""
    patterns = (f"^({own}{answers})$", f"^({own}{asking})$", f"^({own}{answers})$")
    words = " ".join(f"'{pattern}'" for pattern in patterns)
    return f"rabbitmqctl set_permissions -p {shlex.quote(vhost)} {shlex.quote(user)} {words}"


def _escaped(name: str) -> str:
    return re.escape(name).replace("'", "'\\''")
