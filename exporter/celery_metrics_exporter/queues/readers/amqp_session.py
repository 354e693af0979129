"""A connection to RabbitMQ on which many queues are asked for in few round trips.

Owns: connecting, channels, which answer belongs to which question, the time that answers may take. Must not know: why
a queue is asked for, events, metrics.

Source of the facts: the AMQP 0-9-1 specification, and ``rabbit_channel.erl`` (``queue.declare`` with ``passive``).
Answers come in the order of the questions of their channel. A queue that is missing, or locked by another connection,
closes the channel: whatever was asked on it later is lost. kombu and py-amqp make the connection and leave it
to us after the handshake; of py-amqp we use public names only: ``Connection.sock``, ``frame_max``, ``channel_max``.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from amqp import spec
from amqp.exceptions import ConnectionError as AmqpConnectionError
from amqp.exceptions import error_for_code

from celery_metrics_exporter.queues.readers import amqp_frames as frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celery_metrics_exporter.connection.celery_app import Broker

#: Queues asked for at once.
BATCH: Final = 2_000
#: Further channels for queues that may be missing. Few, because users of RabbitMQ can be limited in channels.
WIDTH: Final = 16
#: Round trips of one call at most, and one more for each full BATCH.
TRIPS: Final = 10

_FIRST: Final = 1
_CHUNK: Final = 65_536
_NO_QUEUE: Final = "NOT_FOUND - no queue"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The broker's reason to tell nothing of a queue, in its own words."""

    text: str

    @property
    def missing(self) -> bool:
        """Whether there is no such queue; one whose node is down is "not found" too, in other words."""
        return self.text.startswith(_NO_QUEUE)


@dataclass(slots=True)
class Answers:
    """What was told: ready messages and consumers of queues, or why not; the rest was not reached."""

    found: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    round_trip: float = 0.0  #: seconds from sending the first questions to the first answer
    trips: int = 0


class Session:
    """Connected when made."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        """Args:
        broker: where to connect.
        timeout: seconds that connecting may take, as ``Broker.connect`` has it, and then those of each :meth:`ask`.
        """
        self._timeout = timeout
        self._deadline = 0.0
        self._open: set[int] = set()
        self._buffer = bytearray()
        self._connection = broker.connect(heartbeat=0, timeout=timeout)
        connection = self._connection.connection
        self._socket: Any = connection.sock
        self._longest: int = connection.frame_max
        self._width = max(1, min(WIDTH, connection.channel_max - _FIRST))

    def ask(self, sure: Iterable[str], unsure: Iterable[str] = ()) -> Answers:
        """Ask for queues, each of a name that ``amqp_frames.queue_name`` approves of.

        It takes one round trip for each BATCH of queues as long as no other one is missing than the last WIDTH of
        ``unsure``, and one more when some of ``unsure`` are there. Else a few more, TRIPS at most: each of them finds
        out about a missing queue on each channel.

        Raises:
            OSError: the connection is lost, or the time is up.
            amqp.exceptions.ConnectionError: the broker closes it, and says why.
        """
        self._deadline = time.monotonic() + self._timeout
        answers = Answers()
        waiting, doubtful = deque(sure), deque(unsure)
        trips = TRIPS + (len(waiting) + len(doubtful)) // BATCH
        while answers.trips < trips and (waiting or doubtful or not answers.trips):
            questions = self._dealt(waiting, doubtful)
            doubtful.extendleft(reversed(self._exchange(questions, answers)))
            answers.trips += 1
        if self._open - {_FIRST}:
            self._close_further()
            answers.trips += 1
        return answers

    def close(self) -> None:
        """Say goodbye if that is possible at once, and close the connection."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(frames.close(0, spec.Connection.Close))
        self.abandon()

    def abandon(self) -> None:
        """Close the connection without a word to the broker, which may have fallen silent."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(0)  # py-amqp waits for the other side's farewell on TLS
        self._connection.collect()

    def _dealt(self, sure: deque[str], unsure: deque[str]) -> dict[int, deque[str]]:
        """The next questions, by channel. Without any, channel 2 is opened, which is answered too."""
        questions = {}
        if sure:
            questions[_FIRST] = deque(sure.popleft() for _ in range(min(BATCH, len(sure))))
        width = max(1, min(self._width, len(unsure)))
        if unsure or not questions:
            batch = [unsure.popleft() for _ in range(min(BATCH, len(unsure)))]
            for index in range(width):
                questions[_FIRST + 1 + index] = deque(batch[index::width])
        return questions

    def _exchange(self, questions: dict[int, deque[str]], answers: Answers) -> list[str]:
        """Send all questions and wait for all answers; returns the names that were lost with their channel."""
        sent = time.monotonic()
        self._send(self._written(questions))
        lost: list[str] = []
        while questions:
            received = self._receive()
            if not answers.round_trip:
                answers.round_trip = time.monotonic() - sent
            for channel, method, arguments in received:
                asked = questions[channel]
                if method == spec.Queue.DeclareOk:
                    answers.found[asked.popleft()] = frames.counts(arguments)
                elif method == spec.Channel.Close:
                    lost += self._refused(channel, arguments, asked, answers)
                if not asked:
                    del questions[channel]
        return lost

    def _written(self, questions: Mapping[int, Iterable[str]]) -> bytes:
        written = []
        for channel, names in questions.items():
            if channel not in self._open:
                self._open.add(channel)
                written.append(frames.open_channel(channel))
            encoded = map(frames.queue_name, names)
            written += [frames.passive_declare(channel, name) for name in encoded if name is not None]
        return b"".join(written)

    def _refused(self, channel: int, arguments: bytes, asked: deque[str], answers: Answers) -> Iterable[str]:
        """Take the broker's closing of a channel, which is about the queue whose turn it was."""
        code, text, cause = frames.reason(arguments)
        if cause != spec.Queue.Declare:
            raise error_for_code(code, text, cause, AmqpConnectionError)
        answers.refused[asked.popleft()] = Refusal(text)
        lost = tuple(asked)
        asked.clear()
        self._open.remove(channel)
        self._send(frames.method(channel, spec.Channel.CloseOk))
        return lost

    def _close_further(self) -> None:
        """Close all channels but the first.

        Not sooner, in the same piece as the questions: RabbitMQ forgets to answer a Close now and then on a channel
        that it has closed itself.
        """
        closing = self._open - {_FIRST}
        self._send(b"".join(frames.close(channel, spec.Channel.Close) for channel in closing))
        while closing:
            closing -= {channel for channel, method, _ in self._receive() if method == spec.Channel.CloseOk}
        self._open &= {_FIRST}

    def _receive(self) -> list[tuple[int, frames.Method, bytes]]:
        self._socket.settimeout(self._remaining())
        received = self._socket.recv(_CHUNK)
        if not received:
            raise ConnectionResetError("the broker closed the connection")
        self._buffer += received
        cut = list(frames.cut(self._buffer, self._longest))
        for channel, method, arguments in cut:
            if not channel and method == spec.Connection.Close:
                code, text, cause = frames.reason(arguments)
                self._send(frames.method(0, spec.Connection.CloseOk))
                raise error_for_code(code, text, cause, AmqpConnectionError)
        return [
            each for each in cut if each[0]
        ]  # channel 0 also tells publishers of alarms, which is not for us

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(self._remaining())
        self._socket.sendall(data)

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the answers took too long")
        return remaining
