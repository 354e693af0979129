"""The wish to end: SIGINT, SIGTERM and SIGHUP as something that can be asked and waited for.

Owns the demo's signal handlers. A handler only counts and writes one byte into a pipe: an Event could deadlock, for a
handler runs in the very thread that waits on it.
"""

import os
import select
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if os.name == "posix" else (signal.SIGINT,)


class StopRequest:
    """A context in which the signals ask for an end instead of killing the process. Main thread only."""

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
        """Whether an end was asked for."""
        return self._asked > 0

    @property
    def asked_again(self) -> bool:
        """Whether it was asked for more than once: the user does not want to wait for a soft end."""
        return self._asked > 1

    def wait(self, seconds: float) -> bool:
        """Wait until an end is asked for, at most `seconds`; say whether it was."""
        if not self.asked:
            select.select([self._read_end], [], [], max(seconds, 0.0))
        return self.asked
