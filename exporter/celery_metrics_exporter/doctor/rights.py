"""What we are allowed to do: receive events, read queues, ask workers. Each is tried out as the exporter does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit

from redis.exceptions import RedisError

from celery_metrics_exporter.control import RefusedError
from celery_metrics_exporter.control.probe import reaches
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.failures import ConnectFailure, failure_of
from celery_metrics_exporter.doctor.permissions import (
    line_to_ask,
    line_to_read,
    line_to_subscribe,
    rabbitmq_line,
)
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.questions import Questions
from celery_metrics_exporter.doctor.results import failed, listed, ok, skipped, warning
from celery_metrics_exporter.doctor.traffic import Traffic
from celery_metrics_exporter.doctor.trial_run import start_exporter
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.facts import BrokerFacts
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers.choosing import reader_for
from celery_metrics_exporter.receivers.durable_queue import (
    OtherArgumentsError,
    declare_durable_queue,
    is_durable,
)
from celery_metrics_exporter.status_page.findings import Finding, count

_FOLDERS: Final = (
    "name the application's folders by --broker-transport-option data_folder_in=..., data_folder_out=... and "
    "control_folder=..., absolute, and let this process read and write there"
)
#: What to do where queues cannot be read; errors of SQS say it themselves.
_UNREAD: Final = {
    "filesystem": _FOLDERS,
    "sqs": "",
    "sqlalchemy": "write the application's broker_url, with a user who may read kombu's tables",
}
#: What is missing without these commands, which are not needed otherwise ...
_OPTIONAL: Final = {
    "lindex": "the age of the oldest message",
    "hlen": "unacknowledged messages",
    "zrange": "the oldest unacknowledged message",
}
#: ... and these, unless --queue names the queues.
_FINDING: Final = {"scan": "queues that nobody named", "smembers": "queues that nobody named"}


def check_subscribe(context: Context) -> Finding:
    """Events can be received; from now on the exporter receives them, for the checks of what it observes."""
    broker, config = context.broker, context.config
    conf = broker.app.conf
    exchange = conf.event_exchange
    left = is_durable(broker)
    try:
        with doing("subscribing to events"):
            if left:
                routing_key = config.event_queue.routing_key
                declare_durable_queue(broker, routing_key=routing_key, timeout=context.timeout)
                # Two that consume one queue share its events: an exporter that runs would miss those that we take.
                own = replace(config.event_queue, durable=False, exclusive=True)
                config = replace(config, event_queue=own)
                conf.event_queue_durable, conf.event_queue_exclusive = False, True
            traffic = Traffic(broker, config)
            traffic.open(keep=context.is_redis)
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        return _not_subscribed(context, error, exchange)
    context.traffic = traffic
    context.leaving.callback(traffic.close)
    if context.family != "memory":
        start_exporter(context, config)
    how = "; the durable queue is left to the exporter, doctor has one of its own" if left else ""
    return ok(f"events of exchange {exchange} can be received{how}")


def _not_subscribed(context: Context, error: Exception, exchange: str) -> Finding:
    if isinstance(error, OtherArgumentsError):
        return failed(
            error.trouble,
            "write the settings that it was declared with, another --event-queue-prefix, or delete it with its events "
            "once no exporter with these settings runs",
            error.command,
        )
    words = one_line(error)
    match failure_of(error):
        case ConnectFailure.RIGHT:
            return failed(
                words, f"let the user receive events{_replaces(context)}", line_to_subscribe(context)
            )
        case ConnectFailure.CONFLICT:
            return failed(
                words,
                f"something else exists under this name: write --event-exchange if {exchange} is no event "
                "exchange of Celery's, or another --event-queue-prefix if somebody else has the queue",
            )
        case _:
            return failed(
                words,
                _FOLDERS
                if context.family == "filesystem"
                else "see the broker's log: it ended the connection",
            )


def _replaces(context: Context) -> str:
    return "" if context.is_redis else "; the line replaces all rights that it has there"


def check_read(context: Context) -> Finding:
    """Queues can be read."""
    if context.is_redis:
        return _check_redis_reading(context, context.queues[0])
    reader = reader_for(
        context.broker,
        management_url=context.config.management_url,
        accepts=lambda name: not is_internal(name),
        max_queues=context.config.max_series,
    )
    if reader is None:
        return skipped("the queues of such a broker cannot be read")
    try:
        with doing("reading queues"), closing(reader):
            facts = reader.read(context.queues)
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        if context.config.management_url is not None:
            return _unread_api(context, error)
        return failed(one_line(error), _UNREAD.get(context.family, "see the broker's log"))
    return _judge(context, facts)


def _judge(context: Context, facts: BrokerFacts) -> Finding:
    if facts.forbidden and context.family == "sqs":
        return failed(
            f"SQS does not let us read {count(len(facts.forbidden), 'queue')}: {listed(facts.forbidden)}",
            "allow sqs:GetQueueUrl and sqs:GetQueueAttributes on these queues",
        )
    if facts.missing and not facts.queues:
        return warning(
            f"the broker does not have {listed(facts.missing)}",
            "correct --queue or --app, and the transport options region, queue_name_prefix and predefined_queues; a "
            "queue is there as soon as a worker consumes it or a task was sent to it",
        )
    if facts.forbidden:
        return failed(
            f"RabbitMQ refuses passive declares of {count(len(facts.forbidden), 'queue')} (403), so that lengths and "
            f"consumers are not known: {listed(facts.forbidden)}",
            "give --management-url http://HOST:15672, which needs the user tag management and no permission on queues. "
            "Or let the user read each queue (RabbitMQ 4.2.6 and 4.3.0: upgrade first, they want more), which lets it "
            f"consume them too{_replaces(context)}. Name the queues by --queue if your workers consume others",
            rabbitmq_line(context, reads=True),
        )
    return ok(f"{count(len(facts.queues), 'queue')} read in {facts.round_trip * 1000:.1f} ms")


def _unread_api(context: Context, error: Exception) -> Finding:
    if isinstance(error, OSError):
        return failed(
            str(error), "check scheme, host and port of --management-url: http has port 15672, https 15671"
        )
    user = unquote(urlsplit(context.config.management_url or "").username or context.user)
    return failed(
        one_line(error),
        "write the management API's URL with user and password (--management-url http://USER:PASSWORD@HOST:15672); "
        "the user needs the tag management, and rights in the virtual host, if only empty ones (set_permissions -p "
        f"{shlex.quote(context.vhost)} {shlex.quote(user)} '' '' ''). The line replaces all tags that the user has",
        f"rabbitmqctl set_user_tags {shlex.quote(user)} management",
    )


def _check_redis_reading(context: Context, queue: str) -> Finding:
    try:
        with context.redis_server() as server:
            refused = server.refused(queue)
            if "scan" not in refused:
                context.tables = server.tables(server.database)
    except RedisError as error:
        if failure_of(error) is not ConnectFailure.RIGHT:
            raise
        return failed(one_line(error), "let the user read queues", line_to_read(context))
    if refused:
        optional = _OPTIONAL | (_FINDING if context.config.queues else {})
        lost = {(_OPTIONAL | _FINDING).get(command, "lengths of queues") for command in refused}
        words = next(iter(refused.values()))
        text = f"refused: {listed(refused)} ({words}); without them these are not known: {listed(lost)}"
        judge = failed if refused.keys() - optional.keys() else warning
        return judge(text, "let the user read queues", line_to_read(context))
    known = " ".join(filter(None, (context.software, context.version)))
    if context.role == "replica":
        return warning(
            f"all commands are allowed, but {known} is a replica: workers publish to its master",
            "write the master's host and port in --broker-url, or sentinel://",
        )
    return ok(f"all commands are allowed{f' on {known}' if known else ''}")


def check_ask(context: Context) -> Finding:
    """Workers can be asked, and an event of our own can be sent."""
    config = context.config
    if not config.remote_control:
        return skipped("--no-remote-control: nothing is asked, and no event of our own is sent")
    questions = context.questions = Questions(context.broker, timeout=context.timeout)
    context.leaving.callback(questions.close)
    with doing("asking workers"):
        answered = config.enable_events or config.inspect_workers
        asking = _error_of(lambda: questions.ask(answered=answered, inspect=config.inspect_workers))
        probing = None
        if isinstance(asking, RefusedError | None) and reaches(config.event_queue.routing_key):
            probing = _error_of(questions.probe)
    error = asking or probing
    if error is None:
        took = (
            "" if questions.taken is None else f"; {count(questions.taken, 'worker')} received the question"
        )
        return ok(f"workers can be asked, and events can be sent{took}")
    words = str(error) if isinstance(error, RefusedError) else one_line(error)
    if failure_of(error) is not ConnectFailure.RIGHT:
        return failed(
            words, "see the broker's log; RabbitMQ lets nobody publish while it lacks memory or disk"
        )
    if asking is None:
        return warning(
            f"no event of our own can be sent, so that a silence proves nothing: {words}",
            f"let the user send events{_replaces(context)}",
            line_to_ask(context),
        )
    remedy = f"let the user ask workers, or ask nothing: --no-remote-control{_replaces(context)}"
    return failed(f"workers cannot be asked: {words}", remedy, line_to_ask(context))


def _error_of(act: Callable[[], None]) -> Exception | None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        return error
    return None
