"""A connection to Redis that sends many encoded commands at once, with a deadline for all their answers.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._connparams``: what a URL, TLS, a Unix socket, Sentinel and
credentials mean; ``Channel.async_pool``: the pool whose connection kombu has tested with a PING, and which nobody else
uses while nothing is consumed). We use only this pool of kombu's client: the client puts ``global_keyprefix`` before
the keys of some commands only, and redis-py's pipeline needs seven times the CPU for 5,000 commands that never change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import hiredis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.connection.versions import pooled_connection
from celery_metrics_exporter.queues.readers.redis_layout import Layout


def packed(commands: Iterable[tuple[str | bytes | int, ...]]) -> bytes:
    """Commands as bytes, in Redis' protocol."""
    return b"".join(
        hiredis.pack_command(command)  # type: ignore[arg-type]  # its type says a tuple of one argument
        for command in commands
    )


class RedisSession:
    """One connection to Redis, open from the start; ``layout`` has the keys of kombu there."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        """``timeout``: seconds for connecting (see ``Broker.connect``), and for the answers, see :meth:`start`."""
        self._timeout = timeout
        self._deadline = 0.0
        self._connection = broker.connect(heartbeat=0, timeout=timeout)
        try:
            channel = self._connection.default_channel
            self.layout = Layout(channel)
            self._pool: Any = channel.async_pool
            _forbid_retries(self._pool)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Restart the timeout: all answers from now on must come within it, however many commands are sent."""
        self._deadline = time.monotonic() + self._timeout

    def ask(self, commands: bytes, count: int) -> tuple[list[Any], float]:
        """Send ``count`` commands that :func:`packed` made, and wait for their answers.

        Returns:
            The answers, with a ResponseError for each refused command, and the seconds until the first answer.

        Raises:
            redis.RedisError: the connection is lost, or the answers took too long.
        """
        monotonic, deadline = time.monotonic, self._deadline
        line = pooled_connection(self._pool)  # connects again if the server has closed an idle connection
        try:
            answer, answers = line.read_response, []
            sent = first = monotonic()
            line.send_packed_command([commands], check_health=False)
            for index in range(count):
                try:
                    answers.append(answer())
                except ResponseError as error:
                    answers.append(error)
                now = monotonic()
                if not index:
                    first = now
                if now > deadline:
                    line.disconnect()
                    raise RedisTimeoutError("the answers took too long")
        finally:
            self._pool.release(line)
        return answers, first - sent

    def close(self) -> None:
        """Close the connection without waiting for the server."""
        self._connection.collect()


def _forbid_retries(pool: Any) -> None:
    """Switch off the retries of a user's ``retry_on_timeout``, and the ten retries of a Sentinel's query."""
    never = Retry(NoBackoff(), 0)
    pool.set_retry(never)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        sentinel.set_retry(never)
