"""The Celery application that is recorded: tasks whose outcome follows from their name and arguments.

Runs inside the environment of the recorded Celery version, next to a copy of nothing else of this repository;
so it imports Celery and redis-py only, and must suit Celery 5.3 to 5.7.
"""

import os
import time
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Reject
from redis import Redis

BROKER_URL = os.environ["RECORDING_BROKER_URL"]

app = Celery("recorded", broker=BROKER_URL, backend=BROKER_URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=600,
    task_send_sent_event=True,
    worker_hijack_root_logger=False,
)


class OddError(Exception):
    """An exception whose repr does not show its class."""

    def __repr__(self) -> str:
        return "<odd: 'quoted' (and bracketed) ✗>"


@app.task(name="recorded.add")
def add(x: int, y: int) -> int:
    """Succeed."""
    return x + y


@app.task(name="recorded.total")
def total(numbers: list[int]) -> int:
    """Succeed; the body of a chord."""
    return sum(numbers)


@app.task(name="recorded.größe-数量-🚚")
def unicode_name() -> str:
    """Succeed under a name outside ASCII, one character outside the Basic Multilingual Plane."""
    return "größe"


@app.task(name="recorded.forgotten", ignore_result=True)
def forgotten() -> None:
    """Succeed, the result is not stored."""


@app.task(name="recorded.silent", send_events=False)
def silent() -> str:
    """Succeed; its worker sends no event about it."""
    return "silent"


@app.task(name="recorded.fail")
def fail(kind: str) -> None:
    """Fail with the named exception."""
    if kind == "ValueError":
        raise ValueError("no such order: 'A-1' (gone)")
    if kind == "KeyError":
        raise KeyError("größe")
    raise OddError("an odd message: 1")


@app.task(name="recorded.flaky", bind=True)
def flaky(self: Any) -> str:
    """Retry twice, then succeed."""
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("no answer"), countdown=0)
    return "at last"


@app.task(name="recorded.stubborn", bind=True)
def stubborn(self: Any) -> None:
    """Retry once with an exception of its own, then fail with that exception."""
    raise self.retry(exc=TimeoutError("too late"), countdown=0, max_retries=1)


@app.task(name="recorded.hopeless", bind=True)
def hopeless(self: Any) -> None:
    """Retry once without an exception, then fail with MaxRetriesExceededError."""
    raise self.retry(countdown=0, max_retries=1)


@app.task(name="recorded.discard", acks_late=True)
def discard() -> None:
    """Reject the message, which is not acknowledged yet."""
    raise Reject("of no use", requeue=False)


@app.task(name="recorded.discard_early")
def discard_early() -> None:
    """Reject a message that is acknowledged already, so that there is nothing left to reject."""
    raise Reject("of no use", requeue=False)


@app.task(name="recorded.put_back", acks_late=True, bind=True)
def put_back(self: Any) -> str:
    """Put the message back on its queue at the first delivery, succeed at the second."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not now", requeue=True)
    return "second time"


@app.task(name="recorded.ignored")
def ignored() -> None:
    """End without an outcome."""
    raise Ignore


@app.task(name="recorded.hold")
def hold(gate: str) -> str:
    """Succeed once somebody pushes to the list ``gate``."""
    Redis.from_url(BROKER_URL).blpop([gate], timeout=60)
    return gate


@app.task(name="recorded.nap")
def nap(seconds: float) -> None:
    """Sleep; time limits and revocations end it."""
    time.sleep(seconds)


@app.task(name="recorded.replaced", bind=True)
def replaced(self: Any, gate: str, queue: str) -> None:
    """Go on as ``recorded.add`` on another queue, once ``gate`` opens: its own start is known by then."""
    hold(gate)
    raise self.replace(add.si(1, 2).set(queue=queue))


@app.task(name="recorded.progress", bind=True)
def progress(self: Any) -> None:
    """Send two events of its own, one of them under the task prefix, and succeed."""
    self.send_event("task-progress", percent=50, note="half-way ½")
    self.send_event("order-shipped", order={"id": 7, "lines": [1, None, 2.5]})
