"""What is being waited for, on a terminal, as soon as that takes longer than a second; erased afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

#: Seconds after which a wait is worth a word, and between two looks at it.
PATIENCE_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.25
_ERASE: Final = "\r\033[K"


@contextlib.contextmanager
def doing(what: str, *, seconds: float | None = None) -> Iterator[None]:
    """Show this while the block runs, if standard error is a terminal that can erase.

    Args:
        what: such as ``listening for events``; hides no secrets.
        seconds: how long it will take, if that is known.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(what, seconds, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _show(what: str, seconds: float | None, over: threading.Event) -> None:
    began = time.monotonic()
    if over.wait(PATIENCE_SECONDS):
        return
    out = sys.stderr
    try:
        while True:
            spent = time.monotonic() - began
            time_shown = f"{spent:.0f} s" if seconds is None else f"{spent:.0f} of {seconds:.0f} s"
            out.write(f"{_ERASE}... {what} ({time_shown})")
            out.flush()
            if over.wait(_TICK_SECONDS):
                return
    finally:
        out.write(_ERASE)
        out.flush()
