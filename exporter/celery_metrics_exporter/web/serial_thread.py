"""A thread beside the loop for what takes long: one call after the other.

Not ``asyncio.to_thread``: the interpreter waits for an executor's threads before it ends, however long they take. One
thread is enough: each that makes pages keeps memory of its own, since glibc gives it an arena.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

_ResultT = TypeVar("_ResultT")
_Call: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class SerialThread:
    """Makes calls in the order in which they were asked for; never keeps the process alive."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin with the calls."""
        self._thread.start()

    def run(self, call: Callable[[], _ResultT]) -> "asyncio.Future[_ResultT]":
        """What the call will return, or raise; where it is cancelled before its turn, it is not called."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_ResultT] = loop.create_future()
        self._calls.put((loop, future, call))
        return future

    def stop(self) -> None:
        """End the thread once its calls are made."""
        self._calls.put(None)

    def _work(self) -> None:
        while self._make_next():
            pass

    def _make_next(self) -> bool:
        next_call = self._calls.get()
        if next_call is None:
            return False
        loop, future, call = next_call
        if not future.cancelled():
            try:
                settle = partial(future.set_result, call())
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                settle = partial(future.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, future, settle)
        return True


def _settle(future: "asyncio.Future[Any]", settle: Callable[[], None]) -> None:
    if not future.cancelled():
        settle()
