"""Gives up a receiver that is stuck, wherever that is, and starts another in its place.

Owns: the thread of the receiver, what counts as stuck, the gate that shuts behind one that was given up, and the end
of all patience. Must not know: transports, what is received, metrics.

Every wait of a receiver has a deadline that we know of; this is for those that we do not: a name server, a TLS
handshake, a farewell, a loop within a library. A thread cannot be ended from outside. It is cut off, its socket is
shut, and should it ever wake up it feeds nothing and ends. An outage of the broker is none of this: whatever raises
in the end was slow, not stuck.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.receivers import Link, Sink
    from celery_metrics_exporter.receivers.reconnecting import Receiver

log = logging.getLogger(__name__)

#: Seconds without any progress after which a receiver is stuck: far beyond the deadlines of connecting and answers.
PATIENCE_SECONDS: Final = 60.0
#: So many receivers that hang at once, none of them ever well for as long as that, are the end.
MAX_STUCK: Final = 5
#: Longest time between two looks at the receiver.
_TICK_SECONDS: Final = 1.0
#: What a stop waits for the receiver to leave the broker.
_LEAVING_SECONDS: Final = 3.0
_FRAMES: Final = 3


class Watchdog:
    """Keeps a receiver running that moves, until it is told to stop or gives up.

    Attributes:
        gave_up: too many receivers hang; :meth:`run` has returned, and only a new process can help.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        link: Link,
        make: Callable[[Sink, Link], Receiver],
        *,
        on_restart: Callable[[], None],
        patience: float = PATIENCE_SECONDS,
        max_stuck: int = MAX_STUCK,
    ) -> None:
        """Args:
        name: of the broker, for the log; without a password.
        sink: is fed by the receiver of the moment alone.
        link: is told whether a subscription stands.
        make: makes the next receiver, connecting to nothing yet.
        on_restart: is told of each receiver that takes the place of one that was given up.
        patience: seconds without progress after which a receiver is stuck.
        max_stuck: how many may hang before it gives up.
        """
        self._name = name
        self._sink = sink
        self._link = link
        self._make = make
        self._on_restart = on_restart
        self._patience = patience
        self._max_stuck = max_stuck
        self._tick = min(_TICK_SECONDS, patience / 10)
        self._stopping = threading.Event()
        self._receiver: Receiver | None = None
        self._hanging: list[threading.Thread] = []
        self._died = 0
        self.gave_up = False

    def stop(self) -> None:
        """Let :meth:`run` return soon. May be called from any thread and from a signal handler."""
        self._stopping.set()
        if self._receiver is not None:
            self._receiver.stop()

    def renew(self, reason: str) -> None:
        """Let the receiver leave its subscription and make another. May be called from any thread."""
        receiver = self._receiver
        if receiver is not None:
            receiver.renew(reason)

    def run(self) -> None:
        """Receive until told to stop, or until too many receivers hang."""
        while not self._stopping.is_set():
            gate = _Gate(self._sink, self._link)
            self._receiver = receiver = self._make(gate, gate)
            thread = threading.Thread(target=receiver.run, name="receiving", daemon=True)
            thread.start()
            trouble = self._watch(receiver, thread, gate)
            if trouble is None:
                receiver.stop()
                thread.join(_LEAVING_SECONDS)
            elif self._abandon(receiver, thread, gate, trouble):
                return

    def _watch(self, receiver: Receiver, thread: threading.Thread, gate: _Gate) -> str | None:
        """Return what is wrong with the receiver, once something is; None when told to stop."""
        stuck = well = 0.0
        last = time.monotonic()
        while not self._stopping.wait(self._tick):
            now = time.monotonic()
            # After a time in which this whole process was frozen, the receiver has its chance as well.
            step, last = min(now - last, 2 * self._tick), now
            stage = receiver.still()
            if not thread.is_alive():
                self._died += 1
                return "receiver ended by itself"
            stuck = stuck + step if stage else 0.0
            well = well + step if stage is None and gate.stands else 0.0
            if well >= self._patience:
                self._hanging.clear()
                self._died = 0
            if stuck >= self._patience:
                self._hanging.append(thread)
                return f"receiver stuck in {stage} for {self._patience:g} s"
        return None

    def _abandon(self, receiver: Receiver, thread: threading.Thread, gate: _Gate, trouble: str) -> bool:
        """Cut a receiver off; returns whether it was one too many."""
        where = _whereabouts(thread)
        gate.shut()
        self._link.down(trouble)
        receiver.stop()
        # Who was only slow has ended since.
        self._hanging = [each for each in self._hanging if each.is_alive()]
        hanging = len(self._hanging) + self._died
        receiver.cut()
        news = fields(broker=self._name, trouble=trouble, at=where, hanging=hanging)
        if hanging >= self._max_stuck:
            self.gave_up = True
            log.critical("no receiver gets through, giving up", extra=news)
            return True
        log.warning("no events, starting another receiver", extra=news)
        self._on_restart()
        return False


class _Gate:
    """What one receiver feeds and tells: a sink and a link, until it is shut."""

    def __init__(self, sink: Sink, link: Link) -> None:
        # Attributes that are replaced at the end: a check for each message would cost each message.
        self.feed: Callable[[bytes], None] = sink.feed
        self.feed_all: Callable[[list[bytes]], None] = sink.feed_all
        self.drop: Callable[[str, str], None] = sink.drop
        self.stands = False
        self._link = link
        self._lock = threading.Lock()
        self._shut = False

    def up(self) -> None:
        with self._lock:
            if not self._shut:
                self.stands = True
                self._link.up()

    def down(self, error: str | None, *, since: float | None = None) -> None:
        with self._lock:
            self.stands = False
            if not self._shut:
                self._link.down(error, since=since)

    def shut(self) -> None:
        """Let nothing through any more."""
        with self._lock:
            self._shut = True
        self.feed = _ignore
        self.feed_all = _ignore
        self.drop = _ignore


def _ignore(*_: object) -> None:
    """Take what comes too late."""


def _whereabouts(thread: threading.Thread) -> str:
    """The innermost calls of a thread, the innermost first."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for just this
    calls = traceback.extract_stack(frame)[: -_FRAMES - 1 : -1] if frame else []
    return ", ".join(f"{PurePath(call.filename).name}:{call.lineno} {call.name}" for call in calls)
