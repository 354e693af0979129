"""Real messages over kombu's in-memory transport, and the requests that a worker makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, signals
from celery.worker.request import Request

TASK = "deliveries.note"


def application(**settings: Any) -> Celery:
    """An application with a broker of its own in this process, and one task."""
    app = Celery("deliveries", broker=f"memory://{uuid.uuid4()}", set_as_current=False)
    app.conf.update(task_ignore_result=True, **settings)
    app.task(name=TASK, shared=False)(note)
    return app


def note() -> None:
    """Do nothing."""


class Consuming:
    """What a worker's ``Consumer`` is to its queues: it has a ``task_consumer``, a new one after each reconnect."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection = app.connection_for_read()
        self.requests: list[Request] = []
        self.task_consumer: Any
        self.connect()
        self.task_consumer.purge()  # queues in memory are those of all tests

    def connect(self, *queues: Any) -> None:
        """Consume the application's queues, or these, by a new consumer."""
        channel = self._connection.channel()
        self.task_consumer = self._app.amqp.TaskConsumer(channel, queues=list(queues) or None)
        self.task_consumer.on_message = self._take
        self.task_consumer.consume()

    def _take(self, message: Any) -> None:
        message.ack()
        if "task" in message.headers:
            self.requests.append(Request(message, app=self._app))
        else:  # protocol 1, as celery/worker/strategy.py takes it
            body = message.decode()
            facts = {**body, "headers": message.headers}
            embed = dict.fromkeys(("callbacks", "errbacks", "chord", "chain"))
            payload = (body["args"], body["kwargs"], embed)
            self.requests.append(Request(message, app=self._app, body=payload, headers=facts, decoded=True))

    def next(self) -> Request:
        """The request of the next message."""
        before = len(self.requests)
        while len(self.requests) == before:
            self._connection.drain_events(timeout=5)
        return self.requests[before]

    def close(self) -> None:
        """Close the connection."""
        self._connection.release()
        self._app.close()


@contextmanager
def kept_signals() -> Iterator[None]:
    """Undo what is connected to Celery's signals, which are those of the whole process."""
    kept = [
        (signal, list(signal.receivers))
        for signal in (signals.before_task_publish, signals.after_task_publish)
    ]
    try:
        yield
    finally:
        for signal, receivers in kept:
            signal.receivers[:] = receivers
            signal.sender_receivers_cache.clear()


@contextmanager
def consuming(app: Celery) -> Iterator[Consuming]:
    """Consume the queues of an application."""
    consumer = Consuming(app)
    try:
        yield consumer
    finally:
        consumer.close()


def alter(request: Request, *, headers: Any = None, **delivery: Any) -> Request:
    """The request with other headers (all of them) and other facts about its delivery."""
    if headers is not None:
        request.message.headers = headers
    request.message.delivery_info.update(delivery)
    return request
