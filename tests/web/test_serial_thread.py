"""The thread beside the loop: order, results, errors, and what becomes of calls that nobody waits for any more."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from celery_metrics_exporter.web.serial_thread import SerialThread
from tests.waiting import wait_for

TIMEOUT_S = 20.0


@pytest.fixture
def thread() -> Iterator[SerialThread]:
    """One that runs."""
    thread = SerialThread("calls")
    thread.start()
    yield thread
    thread.stop()


def stuck() -> tuple[Callable[[], bool], threading.Event]:
    """A call that returns when it is told to."""
    go_on = threading.Event()
    return lambda: go_on.wait(TIMEOUT_S), go_on


def test_calls_are_made_one_after_the_other(thread: SerialThread) -> None:
    """In the order in which they were asked for, in one thread, which does not keep the process alive."""
    made: list[int] = []

    async def ask() -> list[threading.Thread]:
        async def one(number: int) -> threading.Thread:
            await thread.run(lambda: made.append(number))
            return await thread.run(threading.current_thread)

        return await asyncio.gather(*map(one, range(10)))

    threads = set(asyncio.run(ask()))
    assert made == list(range(10))
    assert [(each.name, each.daemon) for each in threads] == [("calls", True)]


def test_an_error_is_of_who_asked(thread: SerialThread) -> None:
    """It is raised there, and the next call is made."""

    def fail() -> None:
        raise ValueError("broken")

    async def ask() -> int:
        with pytest.raises(ValueError, match="broken"):
            await thread.run(fail)
        return await thread.run(lambda: 7)

    assert asyncio.run(ask()) == 7


def test_a_call_that_is_cancelled_before_its_turn_is_not_made(thread: SerialThread) -> None:
    """One that runs is let run, and harms nobody."""
    made: list[str] = []
    call, go_on = stuck()

    async def ask() -> None:
        running, waiting = thread.run(call), thread.run(lambda: made.append("cancelled"))
        last = thread.run(lambda: made.append("last"))
        await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await last

    asyncio.run(ask())
    assert made == ["last"]


def test_a_loop_that_is_over(thread: SerialThread, caplog: pytest.LogCaptureFixture) -> None:
    """A call that outlives its loop ends without a word, and the thread serves the next loop."""
    call, go_on = stuck()

    async def ask() -> None:
        thread.run(call)

    asyncio.run(ask())
    go_on.set()

    async def ask_again() -> int:
        return await thread.run(lambda: 7)

    assert asyncio.run(ask_again()) == 7
    assert caplog.records == []


def test_nothing_is_kept(thread: SerialThread) -> None:
    """A page of megabytes is not held until the next call."""

    class Page:
        """What a call gives."""

    kept: list[weakref.ref[Page]] = []

    async def ask() -> None:
        page = await thread.run(Page)
        kept.append(weakref.ref(page))

    asyncio.run(ask())
    wait_for(lambda: (gc.collect(), kept[0]() is None)[1], timeout=TIMEOUT_S, what="the end of the page")
