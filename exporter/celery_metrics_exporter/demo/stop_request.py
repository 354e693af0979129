"""Turn SIGINT, SIGTERM and SIGHUP into a request to stop, which can be polled and waited for.

The signal handler only counts and writes one byte into a pipe. A threading.Event could deadlock, because the handler
runs in the thread that waits for the event.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if os.name == "posix" else (signal.SIGINT,)


class StopRequest:
    """A context in which the signals request a stop instead of ending the process. Main thread only."""

    def __init__(self) -> None:
        self._asked = 0
        self._previous: dict[signal.Signals, object] = {}
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal.signal itself returned
        os.close(self._read_end)
        os.close(self._write_end)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked += 1
        with suppress(BlockingIOError):
            os.write(self._write_end, b"\0")

    @property
    def asked(self) -> bool:
        """Whether a stop was requested."""
        return self._asked > 0

    @property
    def asked_again(self) -> bool:
        """Whether a stop was requested more than once: the user does not want to wait for running tasks."""
        return self._asked > 1

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most `seconds`; returns whether there is one."""
        if not self.asked:
            select.select([self._read_end], [], [], max(seconds, 0.0))
        return self.asked
