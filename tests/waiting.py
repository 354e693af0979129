"""Waiting on conditions: the one place where a test lets time pass."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.02


def wait_for(condition: Callable[[], T], *, timeout: float, what: str | Callable[[], str]) -> T:
    """Poll ``condition`` until it returns something true, and return that.

    ``timeout`` is in seconds. ``what`` names the awaited thing; a callable is asked only on failure, so it
    can tell what was found instead. Raises AssertionError with that name and the condition's last value.
    """
    pause = Event()
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            name = what() if callable(what) else what
            message = f"waited {timeout:g} s for {name}; last value: {value!r}"
            raise AssertionError(message)
        pause.wait(_PAUSE_S)
