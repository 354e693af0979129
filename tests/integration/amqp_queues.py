"""Queues on a RabbitMQ with known numbers of messages and consumers, made and held by one connection."""

import contextlib
import gc
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import pytest
from amqp import Message
from celery import Celery
from kombu import Connection

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from tests.waiting import wait_for


def broker(url: str) -> Broker:
    """The broker at this URL, as the exporter would make it."""
    return broker_of(Config(broker_url=url))


def asked_arguments(queue: Mapping[str, Any]) -> dict[str, object]:
    """The arguments that a queue of the management API was declared with; RabbitMQ 4 adds its type to them."""
    return {name: value for name, value in queue["arguments"].items() if name != "x-queue-type"}


#: For tests with refused connections: py-amqp closes its socket only after errors of the system
#: (``amqp/connection.py``, ``connect``), else the garbage collector does.
ignoring_unclosed_sockets = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def error_of(failing: Callable[[], object]) -> str:
    """What a call raises, as text; the exception is gone, and what hangs on it collected, when this returns."""
    try:
        failing()
    except Exception as error:  # noqa: BLE001 - the test says which one it wants
        text = f"{type(error).__name__}: {error}"
    else:
        pytest.fail("nothing was raised")
    gc.collect()
    return text


class AmqpQueues:
    """Makes queues, fills and consumes them; a context manager that lets go of all with its connection."""

    def __init__(self, url: str) -> None:
        app = Celery("queues", set_as_current=False)
        self.connection: Connection = app.connection_for_write(
            url, transport_options={"confirm_publish": True, "read_timeout": 10}
        )
        self._channel: Any = self.connection.default_channel

    def declare(self, *names: str, arguments: dict[str, object] | None = None, **settings: bool) -> None:
        """Make durable queues, classic unless ``arguments`` say otherwise."""
        for name in names:
            options = {"durable": True, "auto_delete": False, **settings}
            self._channel.queue_declare(name, arguments=arguments, **options)

    def declare_many(self, names: list[str]) -> None:
        """Make durable classic queues, without waiting for each."""
        for name in names[:-1]:
            self._channel.queue_declare(name, durable=True, auto_delete=False, nowait=True)
        self.declare(names[-1])

    def publish(self, name: str, number: int) -> None:
        """Put so many messages into a queue; it has them when this returns."""
        for _ in range(number):
            self._channel.basic_publish(Message(b"{}"), exchange="", routing_key=name)

    def delete(self, *names: str) -> None:
        """Remove queues, whatever is in them."""
        for name in names:
            self._channel.queue_delete(name)

    def hold(self, name: str, number: int) -> Any:
        """Consume a queue and acknowledge none of so many messages; returns the channel, whose end gives them back."""
        channel = self.connection.channel()
        channel.basic_qos(0, number, False)
        held: list[Any] = []
        channel.basic_consume(name, callback=held.append)
        wait_for(lambda: self._drained(held, number), timeout=5, what=f"{number} messages of {name}")
        return channel

    def _drained(self, held: list[Any], number: int) -> bool:
        with contextlib.suppress(TimeoutError):
            while len(held) < number:
                self.connection.drain_events(timeout=0.1)
        return len(held) == number

    def __enter__(self) -> Self:
        """Do nothing: it is connected already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; its exclusive queues go with it."""
        self.connection.collect()
