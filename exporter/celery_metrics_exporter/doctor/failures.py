"""What an error of a broker or its library is about.

Source of the facts: ``redis/exceptions.py``, ``redis/connection.py`` (``on_connect``: AUTH, then SELECT; the error of
the socket is the cause of redis-py's), ``amqp/exceptions.py``, and tries with Valkey 9.1 and RabbitMQ 3.10: a refused
login is a 403 on the connection, a virtual host a 530, a missing permission a 403 on a channel.
"""

from __future__ import annotations

import ssl
from enum import Enum
from typing import Final

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, PreconditionFailed, ResourceLocked
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

from celery_metrics_exporter.control import RefusedError
from celery_metrics_exporter.receivers.durable_queue import OtherArgumentsError

_NO_DATABASE: Final = ("db index is out of range", "invalid db index", "select is not allowed")
_NO_LOGIN: Final = ("noauth", "wrongpass", "authentication required", "auth <password> called")


class ConnectFailure(Enum):
    """What an error is about."""

    NETWORK = "network"  # no connection, no answer in time, or an end without a word
    TLS = "tls"
    MASTER = "master"  # Sentinels know none
    SENTINEL_LOGIN = "sentinel login"  # they do not tell us
    LOGIN = "login"
    NAMESPACE = "namespace"  # the virtual host, or the database of Redis
    RIGHT = "right"  # we are in, but may not do this
    CONFLICT = "conflict"  # something of this name is there, and other than we want it
    OTHER = "other"


def failure_of(error: BaseException) -> ConnectFailure:
    """What this error, raised while connecting or subscribing or later, is about."""
    causes = causes_of(error)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return ConnectFailure.TLS
    if isinstance(error, RefusedError):
        return ConnectFailure.RIGHT
    if isinstance(error, OtherArgumentsError):
        return ConnectFailure.CONFLICT
    if isinstance(error, AMQPError):
        return _of_amqp(error)
    if isinstance(error, RedisError):
        return _of_redis(error)
    return ConnectFailure.NETWORK if isinstance(error, OSError) else ConnectFailure.OTHER


def causes_of(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, and so on."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _of_amqp(error: AMQPError) -> ConnectFailure:
    if isinstance(error, AccessRefused):
        return ConnectFailure.RIGHT if any(error.method_sig or ()) else ConnectFailure.LOGIN
    if isinstance(error, NotAllowed):
        return ConnectFailure.NAMESPACE
    if isinstance(error, PreconditionFailed | ResourceLocked):
        return ConnectFailure.CONFLICT
    return ConnectFailure.NETWORK if isinstance(error, OSError) else ConnectFailure.OTHER


def _of_redis(error: RedisError) -> ConnectFailure:
    words = str(error).lower()
    if isinstance(error, MasterNotFoundError):
        # redis/sentinel.py, Sentinel.discover_master: the errors of all Sentinels are in the message.
        return ConnectFailure.SENTINEL_LOGIN if "authenticationerror" in words else ConnectFailure.MASTER
    if "'sentinel" in words:  # the command of this name
        return ConnectFailure.SENTINEL_LOGIN
    # A transaction without the right to MULTI or EXEC ends in an error of its own.
    if isinstance(error, NoPermissionError) or "noperm" in words or "exec without multi" in words:
        return ConnectFailure.NAMESPACE if "'select'" in words else ConnectFailure.RIGHT
    if isinstance(error, AuthenticationError) or words.startswith(_NO_LOGIN):
        return ConnectFailure.LOGIN
    if isinstance(error, ResponseError):
        return (
            ConnectFailure.NAMESPACE if any(part in words for part in _NO_DATABASE) else ConnectFailure.OTHER
        )
    kinds = (RedisConnectionError, RedisTimeoutError, InvalidResponse)
    return ConnectFailure.NETWORK if isinstance(error, kinds) else ConnectFailure.OTHER
