"""A thread beside the loop for what takes long: one call after the other.

Not an executor: the interpreter waits for an executor's threads before it ends, however long they take. One thread is
enough: each that makes pages keeps memory of its own, since glibc gives it an arena.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_ResultT = TypeVar("_ResultT")


class SerialThread:
    """Makes calls in the order in which they were asked for; never keeps the process alive."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin with the calls."""
        self._thread.start()

    def run(self, call: Callable[[], _ResultT]) -> "asyncio.Future[_ResultT]":
        """What the call will return, or raise; where it is cancelled before its turn, it is not called."""
        future: Future[_ResultT] = Future()
        self._calls.put((future, call))
        return asyncio.wrap_future(future)

    def stop(self) -> None:
        """End the thread once its calls are made."""
        self._calls.put(None)

    def _work(self) -> None:
        while self._make_next():  # which keeps nothing of a call until the next one
            pass

    def _make_next(self) -> bool:
        if (next_call := self._calls.get()) is None:
            return False
        future, call = next_call
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                future.set_exception(error)
        return True
