"""The watchdog: replaces a receiver that makes no progress, and gives up when too many of them hang.

Every wait of ours has a deadline. The watchdog is for waits inside libraries: a name server, a TLS handshake, a close,
an endless loop. A thread cannot be ended from outside, so a stuck receiver is cut off: its socket is shut down, and if
it ever wakes up, it feeds nothing and ends. An outage of the broker is no reason to act: a receiver that raises an
error in the end was slow, not stuck.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import Final

from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.receivers import Link, Sink
from celery_metrics_exporter.receivers.receiver import Receiver

log = logging.getLogger(__name__)

#: A receiver without progress for so long is stuck: far beyond the deadlines of connecting and of answers.
PATIENCE_SECONDS: Final = 60.0
#: The watchdog gives up when so many receivers hang, and none has worked for ``PATIENCE_SECONDS`` in between.
MAX_STUCK: Final = 5
#: Longest time between two checks of the receiver.
_TICK_SECONDS: Final = 1.0
#: Longest time that a stop waits for the receiver to disconnect.
_LEAVING_SECONDS: Final = 3.0
_FRAMES: Final = 3


class Watchdog:
    """Keeps a working receiver running, until it is told to stop or gives up.

    Attributes:
        gave_up: too many receivers hang; :meth:`run` has returned, and only a restart of the process can help.
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
        sink, link: are fed and told by the current receiver only.
        make: makes a new receiver for a sink and a link; connects to nothing.
        on_restart: is called for each receiver that replaces a stuck one.
        patience: seconds without progress after which a receiver is stuck.
        max_stuck: number of hanging receivers at which the watchdog gives up.
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
        """Make :meth:`run` return soon. May be called from any thread and from a signal handler."""
        self._stopping.set()
        if self._receiver is not None:
            self._receiver.stop()

    def renew(self, reason: str) -> None:
        """Make the receiver replace its subscription by a new one. May be called from any thread."""
        receiver = self._receiver
        if receiver is not None:
            receiver.renew(reason)

    def run(self) -> None:
        """Receive until told to stop, or until too many receivers hang."""
        while not (self._stopping.is_set() or self.gave_up):
            sink = RevocableSink(self._sink, self._link)
            self._receiver = receiver = self._make(sink, sink)
            thread = threading.Thread(target=receiver.run, name="receiving", daemon=True)
            thread.start()
            trouble = self._watch(receiver, thread, sink)
            if trouble is None:
                receiver.stop()
                thread.join(_LEAVING_SECONDS)
            else:
                self._abandon(receiver, thread, sink, trouble)

    def _watch(self, receiver: Receiver, thread: threading.Thread, sink: RevocableSink) -> str | None:
        """Watch until something is wrong with the receiver, and return what; None when told to stop."""
        stuck = well = 0.0
        last = time.monotonic()
        while not self._stopping.wait(self._tick):
            now = time.monotonic()
            # Time in which the whole process was frozen does not count against the receiver.
            step, last = min(now - last, 2 * self._tick), now
            stage = receiver.still()
            if not thread.is_alive():
                if self._stopping.is_set():  # just now, and the receiver was quick
                    return None
                self._died += 1
                return "receiver ended by itself"
            stuck = stuck + step if stage else 0.0
            well = well + step if stage is None and sink.connected else 0.0
            if well >= self._patience:
                self._hanging.clear()
                self._died = 0
            if stuck >= self._patience:
                self._hanging.append(thread)
                return f"receiver stuck in {stage} for {self._patience:g} s"
        return None

    def _abandon(
        self, receiver: Receiver, thread: threading.Thread, sink: RevocableSink, trouble: str
    ) -> None:
        """Cut the receiver off, and give up if too many hang now."""
        where = _innermost_calls(thread)
        sink.revoke()
        self._link.mark_disconnected(trouble)
        receiver.stop()
        # Receivers that were only slow have ended since.
        self._hanging = [each for each in self._hanging if each.is_alive()]
        hanging = len(self._hanging) + self._died
        receiver.cut()
        news = fields(broker=self._name, trouble=trouble, at=where, hanging=hanging)
        self.gave_up = hanging >= self._max_stuck
        if self.gave_up:
            log.critical("every receiver gets stuck, giving up: the process ends, restart it", extra=news)
        else:
            log.warning("the receiver is stuck, starting another receiver", extra=news)
            self._on_restart()


class RevocableSink:
    """Passes everything on to a sink and a link until it is revoked, and nothing after that.

    Attributes:
        connected: the receiver's subscription is confirmed.
    """

    def __init__(self, sink: Sink, link: Link) -> None:
        # Attributes that ``revoke`` replaces: a check of a flag would cost time for each message.
        self.feed: Callable[[bytes], None] = sink.feed
        self.feed_all: Callable[[list[bytes]], None] = sink.feed_all
        self.drop: Callable[[str, str], None] = sink.drop
        self.connected = False
        self._link = link
        self._lock = threading.Lock()
        self._revoked = False

    def mark_connected(self, *, standby: bool = False) -> None:
        """Tell the link that events are delivered, if not to a standby."""
        with self._lock:
            if not self._revoked:
                self.connected = True
                self._link.mark_connected(standby=standby)

    def mark_disconnected(self, error: str | None, *, since: float | None = None) -> None:
        """Tell the link that no events are delivered; see :meth:`receivers.Link.mark_disconnected`."""
        with self._lock:
            self.connected = False
            if not self._revoked:
                self._link.mark_disconnected(error, since=since)

    def revoke(self) -> None:
        """Pass nothing on any more."""
        with self._lock:
            self._revoked = True
        self.feed = _ignore
        self.feed_all = _ignore
        self.drop = _ignore


def _ignore(*_: object) -> None:
    """Ignore what arrives too late."""


def _innermost_calls(thread: threading.Thread) -> str:
    """The innermost calls of a thread, the innermost first."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for just this
    calls = traceback.extract_stack(frame)[: -_FRAMES - 1 : -1] if frame else []
    return ", ".join(f"{PurePath(call.filename).name}:{call.lineno} {call.name}" for call in calls)
