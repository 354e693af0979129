"""A connection to RabbitMQ that declares many queues passively in few round trips.

Source of the facts: the AMQP 0-9-1 specification, and ``rabbit_channel.erl`` (``queue.declare`` with ``passive``). The
answers of a channel come in the order of its declares. RabbitMQ closes the channel when a queue is missing, locked by
another connection, or forbidden to us: later declares on that channel get no answer. kombu and py-amqp make the
connection; after the handshake we use its socket ourselves, and of py-amqp only public names: ``Connection.sock``,
``frame_max``, ``channel_max``.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from amqp import spec
from amqp.exceptions import ConnectionError as AmqpConnectionError
from amqp.exceptions import error_for_code

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.queues.readers import amqp_frames as frames
from celery_metrics_exporter.queues.readers.amqp_rights import PAUSE, ForbiddenQueues

#: Queues that are declared in one round trip.
BATCH: Final = 2_000
#: Additional channels for queues that may be missing. Few, because RabbitMQ can limit a user's channels.
WIDTH: Final = 16
#: Most round trips of one call; one more is allowed for each full BATCH.
TRIPS: Final = 10

_FIRST: Final = 1  # the channel for queues that exist
_CHUNK_BYTES: Final = 65_536


def is_missing(refusal: str) -> bool:
    """Whether these words of the broker say that a queue does not exist.

    A queue on a node that is down is NOT_FOUND too, with another text.
    """
    return refusal.startswith("NOT_FOUND - no queue")


@dataclass(slots=True)
class Answers:
    """The answers to the declares of one call; a queue that is in neither mapping was not declared, or not in time.

    Attributes:
        found: ready messages and consumers by queue.
        refused: why the broker refused a declare, in its own words, by queue.
        round_trip: seconds from the first declares to the first answer.
        trips: number of round trips.
    """

    found: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    round_trip: float = 0.0
    trips: int = 0


class AmqpSession:
    """One connection to RabbitMQ. The first :meth:`ask` opens it, and the next one after a failure.

    Attributes:
        forbidden: queues that we lack the right to look at.
    """

    def __init__(self, broker: Broker, timeout: float, *, pause: int = PAUSE) -> None:
        """Args:
        broker: a RabbitMQ.
        timeout: seconds for connecting (see ``Broker.connect``), and again for each :meth:`ask`.
        pause: calls of :meth:`ask` until some forbidden queues are declared again.
        """
        self._broker = broker
        self._timeout = timeout
        self._deadline = 0.0
        self._connection: Any = None
        self._socket: Any = None
        self._longest = 0
        self._width = 0
        self._open: set[int] = set()
        self._buffer = bytearray()
        self.forbidden = ForbiddenQueues(pause)

    def ask(self, existing: Iterable[str], uncertain: Iterable[str] = ()) -> Answers:
        """Declare queues passively; all names must be valid (``amqp_frames.is_queue_name``).

        Those that are forbidden are declared again after a while only, see :attr:`forbidden`.

        It takes one round trip for each BATCH of queues if at most the last WIDTH of ``uncertain`` are missing, and one
        more when some of ``uncertain`` exist. Otherwise it takes more, TRIPS at most: a round trip finds one missing
        queue on each channel.

        Args:
            existing: queues that existed last time.
            uncertain: queues that may be missing.

        Raises:
            OSError: no connection, or the answers took too long.
            amqp.exceptions.AMQPError: the broker refused or closed the connection, and said why.
        """
        try:
            if self._connection is None:
                self._connect()
            return self._ask(existing, uncertain)
        except BaseException:
            self._abandon()
            raise

    def close(self) -> None:
        """Close the connection, if there is one, with a Connection.Close if that can be sent at once."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(0)
                self._socket.send(frames.close(0, spec.Connection.Close))
            self._abandon()

    def _connect(self) -> None:
        connection = self._broker.connect(heartbeat=0, timeout=self._timeout)
        self._socket = connection.connection.sock
        self._longest = connection.connection.frame_max
        self._width = max(1, min(WIDTH, connection.connection.channel_max - _FIRST))
        self._open.clear()
        self._buffer.clear()
        self.forbidden.forget()
        self._connection = connection

    def _abandon(self) -> None:
        """Close the connection, if there is one, without sending anything to the broker, which may be silent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(0)  # on TLS py-amqp waits until the other side has closed too
            connection.collect()

    def _ask(self, existing: Iterable[str], uncertain: Iterable[str]) -> Answers:
        self._deadline = time.monotonic() + self._timeout
        answers = Answers()
        sure, unsure = tuple(existing), tuple(uncertain)
        left_out = self.forbidden.begin((*sure, *unsure))
        waiting = deque(name for name in sure if name not in left_out)
        doubtful = deque(name for name in unsure if name not in left_out)
        trips = TRIPS + (len(waiting) + len(doubtful)) // BATCH
        while answers.trips < trips and (waiting or doubtful or not answers.trips):
            declares = self._next_declares(waiting, doubtful)
            doubtful.extendleft(reversed(self._exchange(declares, answers)))
            answers.trips += 1
        if self._open - {_FIRST}:
            self._close_additional_channels()
            answers.trips += 1
        self.forbidden.learn(answers.found, answers.refused)
        return answers

    def _next_declares(self, existing: deque[str], uncertain: deque[str]) -> dict[int, deque[str]]:
        """The queues of the next round trip by channel. Without any, channel 2 is opened, which is answered too."""
        declares = {}
        if existing:
            declares[_FIRST] = deque(existing.popleft() for _ in range(min(BATCH, len(existing))))
        width = max(1, min(self._width, len(uncertain)))
        if uncertain or not declares:
            batch = [uncertain.popleft() for _ in range(min(BATCH, len(uncertain)))]
            for index in range(width):
                declares[_FIRST + 1 + index] = deque(batch[index::width])
        return declares

    def _exchange(self, declares: dict[int, deque[str]], answers: Answers) -> list[str]:
        """Send the declares and wait for all answers; returns the queues without one, whose channel was closed."""
        encoded = []
        for channel, names in declares.items():
            if channel not in self._open:
                self._open.add(channel)
                encoded.append(frames.open_channel(channel))
            encoded += [frames.passive_declare(channel, name) for name in names]
        sent = time.monotonic()
        self._send(b"".join(encoded))
        unanswered: list[str] = []
        while declares:
            received = self._receive()
            if not answers.round_trip:
                answers.round_trip = time.monotonic() - sent
            for channel, method, arguments in received:
                asked = declares[channel]
                if method == spec.Queue.DeclareOk:
                    answers.found[asked.popleft()] = frames.counts(arguments)
                elif method == spec.Channel.Close:
                    code, text, cause = frames.reason(arguments)
                    if cause != spec.Queue.Declare:
                        raise error_for_code(code, text, cause, AmqpConnectionError)
                    answers.refused[asked.popleft()] = text
                    unanswered += asked
                    asked.clear()
                    self._open.remove(channel)
                    self._send(frames.method(channel, spec.Channel.CloseOk))
                if not asked:
                    del declares[channel]
        return unanswered

    def _close_additional_channels(self) -> None:
        """Close all channels but the first.

        Not sooner, together with the declares: RabbitMQ sometimes does not answer a Close on a channel that it has
        closed itself.
        """
        closing = self._open - {_FIRST}
        self._send(b"".join(frames.close(channel, spec.Channel.Close) for channel in closing))
        while closing:
            closing -= {channel for channel, method, _ in self._receive() if method == spec.Channel.CloseOk}
        self._open &= {_FIRST}

    def _receive(self) -> list[tuple[int, frames.Method, bytes]]:
        self._socket.settimeout(self._remaining())
        received = self._socket.recv(_CHUNK_BYTES)
        if not received:
            raise ConnectionResetError("the broker closed the connection")
        self._buffer += received
        parsed = list(frames.parse(self._buffer, self._longest))
        for channel, method, arguments in parsed:
            if not channel and method == spec.Connection.Close:
                code, text, cause = frames.reason(arguments)
                self._send(frames.method(0, spec.Connection.CloseOk))
                raise error_for_code(code, text, cause, AmqpConnectionError)
        # Channel 0 also carries alarms, which are for publishers.
        return [each for each in parsed if each[0]]

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(self._remaining())
        self._socket.sendall(data)

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the answers took too long")
        return remaining
