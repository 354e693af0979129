"""A connection to Redis on which many questions go out in one piece.

Owns: connecting, sending, the time that answers may take. Must not know: what is asked, events, metrics.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._connparams``: what a URL, TLS, a Unix socket, Sentinel and
credentials mean; ``Channel.async_pool``: the pool whose connection kombu has tried with a PING, and which nobody
else uses as long as nothing is consumed). Of kombu's client only this pool serves us: it puts ``global_keyprefix``
before the keys of some commands and not of others, and redis-py's pipeline spends seven times the CPU on 5,000
questions that are always the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import hiredis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from celery_metrics_exporter.queues.readers.redis_layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery_metrics_exporter.connection.celery_app import Broker


def packed(questions: Iterable[tuple[str | bytes | int, ...]]) -> bytes:
    """Commands as they go over the line."""
    return b"".join(
        hiredis.pack_command(question)  # type: ignore[arg-type]  # its type says a tuple of one argument
        for question in questions
    )


class Session:
    """Connected when made; ``layout`` says where kombu keeps what."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        """Args:
        broker: where to connect.
        timeout: seconds that connecting may take, as ``Broker.connect`` has it; then as in :meth:`start`.
        """
        self._timeout = timeout
        self._deadline = 0.0
        self._connection = broker.connect(heartbeat=0, timeout=timeout)
        try:
            channel = self._connection.default_channel
            self.layout = Layout.of(channel)
            self._pool: Any = channel.async_pool
            _never_again(self._pool)
        except BaseException:
            self.close()
            raise

    @property
    def database(self) -> int:
        """The number of the database that questions are about."""
        return int(self._pool.connection_kwargs.get("db") or 0)

    def start(self) -> None:
        """From now on the answers to all questions have to come within the timeout, whatever their number."""
        self._deadline = time.monotonic() + self._timeout

    def ask(self, questions: bytes, count: int) -> tuple[list[Any], float]:
        """Send commands that :func:`packed` made, and wait for their answers.

        Returns:
            An answer for each, an error of the server's in the place of one that it refused, and the seconds
            until the first of them came.

        Raises:
            redis.RedisError: the connection is lost, or the time is up.
        """
        monotonic, deadline = time.monotonic, self._deadline
        line = self._pool.get_connection()  # made anew when the server has closed it: it may close idle ones
        try:
            answer, answers = line.read_response, []
            sent = first = monotonic()
            line.send_packed_command([questions], check_health=False)
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


def _never_again(pool: Any) -> None:
    """Let nothing be tried twice: a user's ``retry_on_timeout``, and the ten times in which a Sentinel is asked."""
    never = Retry(NoBackoff(), 0)
    pool.set_retry(never)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        sentinel.set_retry(never)
