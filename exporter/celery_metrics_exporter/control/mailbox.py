"""Our mailbox for remote control: sends commands to all workers and takes their answers.

Source of the facts: ``kombu/pidbox.py`` (``Mailbox._publish``: the fields of a command) and ``celery/app/control.py``
(``Control.__init__``: exchange, serializer and accepted content). kombu's own mailbox publishes with ``retry=True`` and
opens connections by itself; here everything is tried once, and the caller decides what follows.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from amqp import AccessRefused
from celery.utils import uuid
from kombu.serialization import dumps, loads, prepare_accept_content
from redis.exceptions import NoPermissionError, OutOfMemoryError

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.control import Probed, RefusedError
from celery_metrics_exporter.control.commands import ABOUT_TASKS, Tickets
from celery_metrics_exporter.control.probe import ROUTING_KEY, probe_of
from celery_metrics_exporter.control.redis_transport import RedisTransport
from celery_metrics_exporter.control.transport import (
    BATCH,
    AmqpTransport,
    Message,
    ReplyTransport,
    VirtualTransport,
)
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.facts import TaskQuestion
from celery_metrics_exporter.logs import fields

log = logging.getLogger(__name__)

#: Longest answer that is read ...
MAX_BODY_BYTES: Final = 2_000_000
#: ... and longest one about tasks.
MAX_TASKS_BYTES: Final = 8_000_000
_PICKLE: Final = frozenset({"pickle", "application/x-python-serialize"})
#: As in kombu/pidbox.py, Mailbox._publish: workers read "clock", other readers of the replies read "expires".
_HEADERS: Final[Mapping[str, object]] = MappingProxyType({"clock": 0, "expires": 0})


class UnreadableReplyError(Exception):
    """An answer is too large, belongs to no command of ours, or cannot be deserialized."""


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Raise the libraries' errors for a refusal as :class:`RefusedError`."""
    try:
        yield
    except (AccessRefused, NoPermissionError, OutOfMemoryError) as error:
        raise RefusedError(one_line(error)) from error


class Mailbox:
    """Connects when it is first used. After any error that is not one of ours, call :meth:`drop`."""

    def __init__(self, broker: Broker, *, timeout: float, lifetime: float) -> None:
        """Args:
        timeout: seconds that connecting and each answer of the broker may take.
        lifetime: seconds without :meth:`open` after which the broker may delete the reply queue.
        """
        conf = broker.app.conf
        self._broker = broker
        self._timeout = timeout
        self._lifetime = lifetime
        self._exchange = f"{conf.control_exchange}.pidbox"
        self._queue = ""
        self._serializer = "json" if conf.task_serializer in _PICKLE else conf.task_serializer
        self._accept = prepare_accept_content({"json", *(conf.accept_content or ())} - _PICKLE)
        self._tickets = Tickets()
        self._connection: Any = None
        self._transport: ReplyTransport | None = None
        self._early: list[Message] = []

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._transport is not None

    @property
    def settled(self) -> bool:
        """Whether it is known that no answer is missing."""
        return self._transport is not None and self._transport.counts and self._tickets.settled

    @property
    def owed(self) -> bool:
        """Whether it is known that answers are missing."""
        return self._transport is not None and self._transport.counts and not self._tickets.settled

    def connect(self) -> ReplyTransport:
        """Connect, if there is no connection."""
        if self._transport is None:
            self._connection = connection = self._broker.connect(heartbeat=0, timeout=self._timeout)
            kind = connection.transport.driver_type
            if kind == "amqp" or not self._queue:
                # The exclusive queue of a dead connection stays until the broker sees that the connection is dead.
                # A name of PGMQ has at most 47 characters.
                name = uuid() if kind in ("amqp", "redis") else uuid()[:8]
                self._queue = f"{name}.reply.celery-exporter.pidbox"
            if kind == "redis":
                self._transport = RedisTransport(connection, self._queue)
            elif kind == "amqp":
                self._transport = AmqpTransport(connection, self._queue, lifetime=self._lifetime)
            else:
                self._transport = VirtualTransport(connection, self._queue)
        return self._transport

    @_refusals()
    def open(self) -> None:
        """Make the reply queue; replies in it are kept for :meth:`take`. Raises RefusedError."""
        self.connect()
        self._early += self._take()

    @_refusals()
    def ask(self, command: str, *, answered: bool) -> int | None:
        """Send a command to all workers; returns how many received it, if the broker tells. Raises RefusedError."""
        ticket = self._tickets.issue(command) if answered else ""
        taken = self._send(command, ticket)
        if answered and taken is not None:
            self._tickets.expect(ticket, taken)
        return taken

    @_refusals()
    def ask_about_tasks(self, question: TaskQuestion) -> str:
        """Send a question to one worker, which gets it from the same exchange as all others; returns its ticket.

        Raises RefusedError.
        """
        ticket = self._tickets.issue(question.command)
        taken = self._send(question.command, ticket, ABOUT_TASKS[question.command], [question.worker])
        if taken is not None:
            self._tickets.expect(ticket, min(taken, 1 + question.several), of_one=True)
        return ticket

    def _send(
        self,
        command: str,
        ticket: str,
        arguments: Mapping[str, object] = MappingProxyType({}),
        destination: list[str] | None = None,
    ) -> int | None:
        transport = self.connect()  # before the name of the reply queue is used
        message: dict[str, object] = {
            "method": command,
            "arguments": dict(arguments),
            "destination": destination,
            "pattern": None,
            "matcher": None,
        }
        if ticket:
            message |= {"ticket": ticket, "reply_to": {"exchange": "", "routing_key": self._queue}}
        content_type, content_encoding, body = dumps(message, serializer=self._serializer)
        return transport.publish(Message(body, content_type, content_encoding, _HEADERS), self._exchange)

    @_refusals()
    def probe(self) -> bool:
        """Send a probe event, which every receiver of events receives too. Raises RefusedError.

        Returns:
            False with a kind of broker that does not deliver events to other clients; nothing is sent then.
        """
        transport, app = self.connect(), self._broker.app
        if isinstance(transport, VirtualTransport):  # not all of these deliver events to other clients
            return False
        # Over AMQP, nobody receives events where there is no exchange; this is not reported.
        transport.publish(probe_of(app), app.conf.event_exchange, ROUTING_KEY)
        return True

    @_refusals()
    def send_probe(self, told: Probed, *, anew: bool) -> None:
        """Send a probe, whose result goes to ``told``; ``anew``: over a new connection. Raises what prevents it."""
        if anew:
            self.drop()
        kept = self.connected
        try:
            sent = self.probe()
        except RefusedError as error:
            log.info(
                "cannot probe the event stream: the broker refuses our event",
                extra=fields(broker=self._broker.name, error=error),
            )
            told.refused()
        except Exception:
            if not kept:
                told.failed()
                raise
            self.send_probe(told, anew=True)  # firewalls and brokers drop idle connections
        else:
            (told.published if sent else told.refused)()

    def take(self) -> list[Message]:
        """Take the next batch of answers, oldest first; none without a connection."""
        early, self._early = self._early, []
        return early + self._take()

    def _take(self) -> list[Message]:
        """Answers about tasks are long, and are taken one by one; the latest may be late ones."""
        most = 1 if self._tickets.missing_of_one else BATCH
        return [] if self._transport is None else self._transport.take(most)

    def read(self, message: Message) -> tuple[str, Any]:
        """Return the command of an answer, and the deserialized answer. Raises UnreadableReplyError."""
        ticket, body = message.headers.get("ticket"), message.body
        command = self._tickets.redeem(ticket)
        longest = MAX_TASKS_BYTES if command in ABOUT_TASKS else MAX_BODY_BYTES
        if command is None or not isinstance(body, str | bytes) or len(body) > longest:
            raise UnreadableReplyError(f"ticket {str(ticket)[:80]!r}, {type(body).__name__}")
        try:
            if message.content_type == "application/json":  # takes a fifth of the time of kombu's json
                with contextlib.suppress(msgspec.DecodeError):  # of a lone surrogate, which kombu's reads
                    if command in ABOUT_TASKS:  # most of it are arguments, which nobody reads
                        return command, msgspec.json.decode(body, type=dict[str, msgspec.Raw])
                    return command, msgspec.json.decode(body)
            return command, loads(body, message.content_type, message.content_encoding, accept=self._accept)
        except Exception as error:  # whatever a codec raises
            raise UnreadableReplyError(one_line(error)) from error

    @_refusals()
    def discard(self) -> None:
        """Discard the answers that have arrived, and expect no more."""
        if self._transport is not None:
            self._transport.discard()

    def rest(self) -> None:
        """Remove the reply queue for a while, if no answer is missing."""
        if self.settled:
            self.discard()

    def drop(self) -> None:
        """Close the connection without sending anything to the broker, which may be gone."""
        connection, self._connection, self._transport = self._connection, None, None
        self._early.clear()
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be broken in any way
                connection.collect()

    def close(self) -> None:
        """Remove the reply queue, unless answers are missing, and disconnect."""
        if not self.owed:
            self.discard()
        if self._connection is not None:
            self._connection.release()
            self._connection = self._transport = None
