"""Turn SIGINT, SIGTERM and SIGHUP into a request to stop, which can be polled and waited for."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue


class StopRequest:
    """Counts the signals from now on, instead of letting them end the process. Main thread only.

    ``count`` above 1 means that the user does not want to wait for running tasks.
    """

    def __init__(self) -> None:
        self.count = 0
        #: A threading.Event could deadlock: the handler runs in the thread that waits for the event.
        self._received: SimpleQueue[None] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self.count += 1
        self._received.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most `seconds`; returns whether there is one."""
        if not self.count:
            with suppress(Empty):
                self._received.get(timeout=max(seconds, 0.0))
        return self.count > 0
