"""The one mailbox from which workers are asked and to which they answer.

Owns: the connection, the name of the queue of answers, serialization, tickets. Must not know: what an answer means.

Source of the facts: ``kombu/pidbox.py`` (``Mailbox._publish``: what a question looks like) and
``celery/app/control.py`` (``Control.__init__``: exchange, serializer and accepted content). kombu publishes with
``retry=True`` and makes connections behind our back; here everything is tried once, and whoever asks decides.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from amqp import AccessRefused
from celery.utils import uuid
from kombu.serialization import dumps, loads, prepare_accept_content
from redis.exceptions import NoPermissionError, OutOfMemoryError

from celery_metrics_exporter.control.commands import Tickets
from celery_metrics_exporter.control.post import AmqpPost, Letter, VirtualPost
from celery_metrics_exporter.control.probe import send_through
from celery_metrics_exporter.control.redis_post import RedisPost
from celery_metrics_exporter.errors import one_line

if TYPE_CHECKING:
    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.control.post import Post

#: Larger answers are not read.
MAX_BODY: Final = 2_000_000
_PICKLE: Final = frozenset({"pickle", "application/x-python-serialize"})
_REFUSALS: Final = (AccessRefused, NoPermissionError, OutOfMemoryError)


class RefusedError(Exception):
    """The broker is there and does not let us do this; its words are the cause's."""


class UnreadableError(Exception):
    """An answer that is too large, was never asked for, or cannot be deserialized."""


class Mailbox:
    """Connects at the first need. What raises anything but our own errors is to be followed by :meth:`drop`."""

    def __init__(self, broker: Broker, *, timeout: float, lifetime: float) -> None:
        """Args:
        broker: where the workers are.
        timeout: seconds that connecting and each answer of the broker may take.
        lifetime: seconds without :meth:`open` after which the broker may drop the queue of answers.
        """
        conf = broker.app.conf
        self._broker = broker
        self._timeout = timeout
        self._lifetime = lifetime
        self._exchange = f"{conf.control_exchange}.pidbox"
        self._queue = _queue_of_answers()
        self._serializer = "json" if conf.task_serializer in _PICKLE else conf.task_serializer
        self._accept = prepare_accept_content({"json", *(conf.accept_content or ())} - _PICKLE)
        self._tickets = Tickets()
        self._connection: Any = None
        self._post: Post | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._post is not None

    @property
    def settled(self) -> bool:
        """Whether it is known that no answer is missing."""
        return self._post is not None and self._post.counts and self._tickets.settled

    @property
    def owed(self) -> bool:
        """Whether it is known that answers are missing."""
        return self._post is not None and self._post.counts and not self._tickets.settled

    def connect(self) -> Post:
        """Connect, if there is no connection."""
        if self._post is None:
            self._connection = self._broker.connect(heartbeat=0, timeout=self._timeout)
            self._post = self._post_of(self._connection)
        return self._post

    def open(self) -> None:
        """Let answers come.

        Raises:
            RefusedError: the broker lets us have no queue of answers.
        """
        with _Refusal():
            self.connect().prepare()

    def ask(self, command: str, *, answered: bool) -> int | None:
        """Send a command to all workers; ``answered``: they are to answer.

        Returns:
            How many took it, if that is known.

        Raises:
            RefusedError: the broker lets us send nothing to workers.
        """
        ticket = self._tickets.issue(command) if answered else ""
        message: dict[str, object] = {
            "method": command,
            "arguments": {},
            "destination": None,
            "pattern": None,
            "matcher": None,
        }
        if answered:
            message |= {"ticket": ticket, "reply_to": {"exchange": "", "routing_key": self._queue}}
        content_type, content_encoding, body = dumps(message, serializer=self._serializer)
        with _Refusal():
            taken = self.connect().send(Letter(body, content_type, content_encoding))
        if answered and taken is not None:
            self._tickets.expect(ticket, taken)
        return taken

    def probe(self) -> bool:
        """Send an event that comes back to whoever receives events here; False: with this kind of broker it need not.

        Raises:
            RefusedError: the broker lets us send no events.
        """
        with _Refusal():
            return send_through(self.connect(), self._broker.app)

    def take(self) -> list[Letter]:
        """The answers that came, oldest first, a batch at most; none without a connection."""
        with _Refusal():
            return [] if self._post is None else self._post.take()

    def read(self, letter: Letter) -> tuple[str, Any]:
        """Find the command that an answer belongs to, and deserialize it.

        Raises:
            UnreadableError: it is no answer.
        """
        command = self._tickets.redeem(letter.ticket)
        if command is None or len(letter.body) > MAX_BODY:
            raise UnreadableError(f"ticket {letter.ticket[:80]!r}, {len(letter.body)} bytes")
        try:
            if letter.content_type == "application/json":  # a fifth of the time that kombu's json takes
                return command, msgspec.json.decode(letter.body)
            content = loads(letter.body, letter.content_type, letter.content_encoding, accept=self._accept)
            return command, content
        except Exception as error:  # whatever a codec raises
            raise UnreadableError(one_line(error)) from error

    def discard(self) -> None:
        """Throw away the answers that came."""
        if self._post is not None:
            with _Refusal():
                self._post.discard()

    def rest(self) -> None:
        """Nothing more is asked for a while."""
        if self._post is not None and self.settled:
            with _Refusal():
                self._post.leave()

    def drop(self) -> None:
        """Forget the connection at once, without a word to a broker that may be gone."""
        connection, self._connection, self._post = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):  # whatever is left of it
                connection.collect()

    def close(self) -> None:
        """Leave the broker in good order."""
        if self._post is not None:
            with _Refusal():
                self._post.leave()
            self._connection.release()
            self._connection = self._post = None

    def _post_of(self, connection: Any) -> Post:
        kind = connection.transport.driver_type
        if kind == "redis":
            return RedisPost(connection, self._exchange, self._queue, self._tickets)
        if kind == "amqp":
            # The broker may take a while to see that an old connection is dead, and keeps its exclusive queue.
            self._queue = _queue_of_answers()
            return AmqpPost(connection, self._exchange, self._queue, lifetime=self._lifetime)
        return VirtualPost(connection, self._exchange, self._queue)


class _Refusal:
    """Tells what the broker does not let us do from everything else that can go wrong."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate."""
        if isinstance(error, _REFUSALS):
            raise RefusedError(one_line(error)) from error


def _queue_of_answers() -> str:
    return f"{uuid()}.reply.celery-exporter.pidbox"
