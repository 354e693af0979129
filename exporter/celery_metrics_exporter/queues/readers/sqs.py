"""The queue reader for Amazon SQS, and for services that speak its protocol.

Source of the facts: SQS' API reference (``GetQueueUrl``, ``GetQueueAttributes``: the three numbers are approximate, and
right about a minute after the last change), ``kombu/transport/SQS`` (``Channel.canonical_queue_name``: how a queue is
called there; ``endpoint_url``, ``sqs``, ``get_sqs_credentials``: what its URL and transport options mean). kombu itself
creates a queue that it is asked about, and is not used.
"""

from __future__ import annotations

import logging
import string
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from kombu.utils.url import parse_url

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.readers.sqs_clients import (
    Endpoint,
    RoleCredentials,
    SqsError,
    code_of,
    explain,
    make_client,
)

log = logging.getLogger(__name__)

_FIFO: Final = ".fifo"
#: kombu: a dot becomes a dash, every other punctuation mark but dash and underscore an underscore.
_ALLOWED: Final = str.maketrans({**dict.fromkeys(set(string.punctuation) - set("-_."), "_"), ".": "-"})
_READY: Final = "ApproximateNumberOfMessages"
_IN_FLIGHT: Final = "ApproximateNumberOfMessagesNotVisible"
_DELAYED: Final = "ApproximateNumberOfMessagesDelayed"
#: Also of names that no queue can have.
_MISSING: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidAddress",
        "InvalidParameterValue",
        "QueueDoesNotExist",
    }
)
_FORBIDDEN: Final = frozenset({"AccessDenied", "AccessDeniedException"})
#: Queues that are asked about at once.
_AT_ONCE: Final = 8


def sqs_name(queue: str, prefix: str = "") -> str:
    """How kombu calls a queue of Celery's in SQS, with the transport option ``queue_name_prefix``."""
    name = prefix + queue
    end = _FIFO if name.endswith(_FIFO) else ""
    return name.removesuffix(_FIFO).translate(_ALLOWED) + end


class SqsReader:
    """Reads queues by their names; a :class:`queues.readers.BrokerReader`. Needs boto3."""

    def __init__(self, broker: Broker, *, accepts: Callable[[str], bool], max_queues: int) -> None:
        """See :func:`queues.readers.choosing.reader_for`."""
        self._parts = parse_url(broker.url)
        self._options: Mapping[str, Any] = broker.app.conf.broker_transport_options
        options = self._options
        self._prefix = str(options.get("queue_name_prefix") or "")
        self._predefined: Mapping[str, Mapping[str, Any]] = options.get("predefined_queues") or {}
        role = options.get("sts_role_arn")
        self._role = RoleCredentials(str(role), options) if role and self._predefined else None
        self._accepts = accepts
        self._max_queues = max_queues
        self._clients: dict[str, Any] = {}  # by name of a predefined queue; "" is for all others
        self._urls: dict[str, str] = {}
        self._told: frozenset[str] = frozenset()

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues and the predefined ones.

        Returns:
            Facts of the queues that are there, and the names of those that are missing, or that we may not read.

        Raises:
            SqsError: SQS cannot be reached, refuses our keys, or lets us read no queue at all.
        """
        endpoint = Endpoint.of(self._parts, self._options)
        began = time.monotonic()
        try:
            found = [name for name in self._found() if self._accepts(name)]
            names = list(dict.fromkeys((*wanted, *found)))[: self._max_queues]
            self._connect(names, endpoint)
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sqs") as pool:
                answers = dict(zip(names, pool.map(self._ask, names), strict=True))
        except Exception as error:
            self.close()
            raise explain(error, endpoint) from error
        queues = {name: answer for name, answer in answers.items() if isinstance(answer, QueueFacts)}
        forbidden = _with(_FORBIDDEN, answers)
        for name in sorted(set(forbidden) - self._told):
            log.warning(
                "SQS does not let us read a queue, its length is left out: allow sqs:GetQueueUrl and "
                "sqs:GetQueueAttributes",
                extra=fields(queue=name),
            )
        self._told = frozenset(forbidden)
        if forbidden and not queues:
            raise SqsError(
                f"SQS does not let us read {len(forbidden)} queues, such as {forbidden[0]}: allow sqs:GetQueueUrl and "
                "sqs:GetQueueAttributes"
            )
        return BrokerFacts(
            queues=queues,
            round_trip=(time.monotonic() - began) / max(1, -(-len(names) // _AT_ONCE)),
            forbidden=forbidden,
            missing=_with(_MISSING, answers),
        )

    def close(self) -> None:
        """Forget the clients, whose connections close by themselves."""
        self._clients.clear()
        self._urls.clear()

    def _found(self) -> Iterable[str]:
        """The names of predefined queues, as Celery knows them."""
        for name in self._predefined:
            queue = name.removeprefix(self._prefix)
            if sqs_name(queue, self._prefix) == name:
                yield queue

    def _connect(self, names: Iterable[str], endpoint: Endpoint) -> None:
        """Make the clients that are needed: boto3's sessions are not for several threads."""
        if self._role is not None and self._role.is_due():
            self._clients.clear()
            self._role.renew(endpoint)
        for name in {self._client_of(sqs_name(name, self._prefix)) for name in names} - self._clients.keys():
            self._clients[name] = make_client(endpoint, self._predefined.get(name, {}), self._role)

    def _client_of(self, name: str) -> str:
        return name if name in self._predefined else ""

    def _ask(self, queue: str) -> QueueFacts | str:
        """The facts of a queue, or the code of SQS for why there are none."""
        name = sqs_name(queue, self._prefix)
        if self._predefined and name not in self._predefined:
            return "QueueDoesNotExist"  # kombu neither publishes to it nor consumes it
        client = self._clients[self._client_of(name)]
        try:
            url = self._predefined.get(name, {}).get("url") or self._urls.get(queue)
            if url is None:
                url = self._urls[queue] = client.get_queue_url(QueueName=name)["QueueUrl"]
            numbers = client.get_queue_attributes(
                QueueUrl=url, AttributeNames=[_READY, _IN_FLIGHT, _DELAYED]
            )["Attributes"]
        except Exception as error:
            code = code_of(error)
            if code not in _MISSING | _FORBIDDEN:
                raise
            self._urls.pop(queue, None)
            return code
        return QueueFacts(
            exists=True,
            ready=int(numbers[_READY]),
            unacked=int(numbers[_IN_FLIGHT]),
            delayed=int(numbers[_DELAYED]),
        )


def _with(codes: Collection[str], answers: Mapping[str, QueueFacts | str]) -> tuple[str, ...]:
    return tuple(name for name, answer in answers.items() if isinstance(answer, str) and answer in codes)
