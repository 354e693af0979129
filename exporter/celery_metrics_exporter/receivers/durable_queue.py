"""The durable event queue on RabbitMQ: its name and arguments, how its messages are acknowledged, who consumes it.

RabbitMQ refuses an existing queue with other arguments (406), so whoever changes one here changes the name as well. It
keeps the queue's messages while no exporter is there, and gives them to one consumer at a time
(``x-single-active-consumer``): others are standbys, which get nothing until that one is gone.

A classic queue, whatever the virtual host's default: a quorum queue would keep its messages when the broker restarts
while no exporter is there, and costs the broker several times as much for each event, see ``docs/availability.md``.

Source of the facts: RabbitMQ's documentation of consumer acknowledgements and single active consumers, and tries with
3.10.8, 4.0.5 and 4.3.6. Over AMQP 0-9-1 no consumer is told that it is active: it gets messages, or it is the only one.
"""

from __future__ import annotations

import re
from shlex import quote
from types import MappingProxyType
from typing import Any, Final

from amqp.exceptions import PreconditionFailed

from celery_metrics_exporter.config.broker_url import family
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.connection.versions import event_queue

#: Its name after the prefix, the same after a restart.
NODE: Final = "celery-exporter.single"
#: Beside the times, which are settings. The oldest messages are dropped when the queue is full.
_ARGUMENTS: Final = MappingProxyType(
    {"x-queue-type": "classic", "x-single-active-consumer": True, "x-max-length-bytes": 256 * 1024 * 1024}
)
#: Messages that the broker delivers ahead of acknowledgements; as many are counted twice at most.
PREFETCH: Final = 1_000
#: Messages after which they are acknowledged; at the latest it is done with the next tick of a subscription.
BATCH: Final = 250
#: After so long a time in which this process did not run, the broker may have given to another what it sent to us.
FROZEN_SECONDS: Final = 8.0

_INEQUIVALENT: Final = re.compile(r"inequivalent arg '(.+?)' for queue '(.+?)' in vhost '(.+?)'(.*)")
_VALUE: Final = r"(?:the value )?'?(.+?)'?(?: of type '\w+')?"
_DIFFERENCE: Final = re.compile(f"received {_VALUE} but current is {_VALUE}$")


class OtherArgumentsError(ConnectionError):
    """The durable event queue exists with other arguments: other times, or those of another version of ours.

    Attributes:
        trouble: which queue, and what differs.
        command: what deletes it.
    """

    def __init__(self, queue: str, vhost: str, difference: str) -> None:
        self.trouble = f"the event queue {queue} has {difference}"
        self.command = f"rabbitmqctl delete_queue -p {quote(vhost)} {quote(queue)}"
        super().__init__(
            f"{self.trouble}: delete it ({self.command}) while no exporter uses it, or take its settings"
        )


def is_durable(broker: Broker) -> bool:
    """Whether the events of this broker come from a durable queue, and are acknowledged."""
    return bool(broker.app.conf.event_queue_durable) and family(broker.url) == "amqp"


def durable_queue(broker: Broker, connection: Any, *, routing_key: str) -> Any:
    """The durable event queue, a ``kombu.Queue``; declares nothing."""
    return event_queue(broker.app, connection, node=NODE, routing_key=routing_key, arguments=dict(_ARGUMENTS))


def explained(error: Exception) -> Exception:
    """What to raise for a refusal of the queue: which queue to delete, where that is the remedy."""
    found = _INEQUIVALENT.search(str(error))
    if found is None:
        return error
    argument, queue, vhost, values = found.groups()
    told = _DIFFERENCE.search(values)
    difference = f"{argument} {told[2]}, not {told[1]}" if told else f"another {argument}"
    return OtherArgumentsError(queue, vhost, difference)


def declare_durable_queue(broker: Broker, *, routing_key: str, timeout: float) -> None:
    """Declare and bind the durable event queue without consuming it.

    Changes nothing where an exporter with the same settings has declared it before. Raises what prevents it.
    ``timeout`` is in seconds, for connecting and for each answer of the broker.
    """
    connection = broker.connect(heartbeat=0, timeout=timeout)
    try:
        durable_queue(broker, connection, routing_key=routing_key)(connection.default_channel).declare()
    except PreconditionFailed as error:
        raise explained(error) from error
    finally:
        connection.collect()


class Acknowledgements:
    """Acknowledges the messages of one channel, many at once; without :meth:`begin` there are none.

    Attributes:
        latest: delivery tag of the latest message that was handed over; tags count the channel's deliveries.
    """

    def __init__(self) -> None:
        self._channel: Any = None
        self._sent = 0
        self.latest = 0

    def begin(self, channel: Any) -> None:
        """Let this ``amqp.Channel``, which gets one consumer, deliver so many messages ahead and no more."""
        channel.basic_qos(0, PREFETCH, False)  # noqa: FBT003 - the library's
        self._channel = channel

    def note(self, tag: int) -> None:
        """Note that the message with this delivery tag was handed over."""
        self.latest = tag

    def send(self, *, at_least: int) -> None:
        """Acknowledge everything up to the latest message, if so many are not acknowledged yet.

        To be called when the handlers have got all of these.
        """
        if self.latest - self._sent >= at_least:
            self._channel.basic_ack(self.latest, multiple=True)
            self._sent = self.latest
