"""What is missing of the event stream and of the broker; workers, queues and tasks have modules of their own.

Owns: when each of these is told, and its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page.findings import (
    Finding,
    Level,
    count,
    failed,
    in_order,
    note,
    warning,
)
from celery_metrics_exporter.status_page.in_worker import missing_in_worker
from celery_metrics_exporter.status_page.missing_work import missing_queues, missing_work, unregistered
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.without_events import missing_without_events
from celery_metrics_exporter.status_page.wording import duration

#: Events that come later than this, in seconds, are told of; the alert CeleryEventLagHigh has the same threshold.
LAG_SECONDS: Final = 10.0
#: A shorter time without a subscription, in seconds, is that of every start.
GAP_SECONDS: Final = 5.0
#: For so many seconds a loss of the subscription is news.
RECENT_SECONDS: Final = 60.0
#: For this long after a connection, in seconds, workers may still be about to show themselves.
SETTLING_SECONDS: Final = 10.0
#: After this many seconds a subscription that works has told so.
UNSURE_SECONDS: Final = 30.0

_DROPS: Final = {
    "undecodable": "`undecodable`: no JSON; set `event_serializer = 'json'`, or find who else publishes there.",
    "invalid": "`invalid`: no event, or one with a field of the wrong type.",
    "oversized": "`oversized`: more than 16 MB.",
    "handler_error": "`handler_error`: a bug of this exporter, please report the traceback of its log.",
}


def find_missing(seen: Snapshot, *, final: bool = False) -> list[Finding]:
    """Everything that is missing, the worst first.

    What a start lacks for some seconds is not told before these are over; but it is if this look is the ``final`` one.
    """
    if seen.in_worker:
        return in_order((*missing_in_worker(seen), *unregistered(seen), *_stream(seen), *_limits(seen)))
    subscription = seen.subscription
    if not seen.config.events:
        parts = (
            missing_without_events(seen),
            _broker(seen),
            missing_queues(seen, final=final),
            _limits(seen),
        )
        return in_order(chain.from_iterable(parts))
    had_time = (
        subscription.connected
        and not subscription.standby
        and (final or subscription.lasting >= SETTLING_SECONDS)
    )
    return in_order(
        (
            *_subscription(seen, final=final),
            *_broker(seen),
            *missing_work(seen, had_time=had_time, final=final),
            *_stream(seen),
            *_limits(seen),
        )
    )


def _subscription(seen: Snapshot, *, final: bool) -> Iterator[Finding]:
    state = seen.subscription
    routing_key = seen.config.event_queue.routing_key
    if not state.connected:
        yield failed(
            "connection",
            "Not connected to the broker: nothing is counted",
            "The exporter keeps trying. Does the broker run, and does `--broker-url` name its host, port, "
            "database or virtual host, user and password? `celery-exporter doctor` with the same options "
            "tries each step.",
            quote=state.last_error or "connecting for the first time",
        )
    elif state.fault is not None:
        yield failed(
            "deaf",
            "Connected, but nothing arrives: nothing is counted",
            "Not even the exporter's own events come back. It subscribes anew by itself. If that does not help: may "
            "its user receive events? `celery-exporter doctor` tries it, and names the permission that is missing.",
            quote=state.fault,
        )
    elif state.standby:
        yield note(
            "standby",
            "On standby: another exporter receives the events of the durable queue",
            "This one counts nothing, and takes over when the other one is gone. To count here, stop the other one.",
        )
    elif state.delivering is None and (not seen.stream.heard if final else state.lasting > UNSURE_SECONDS):
        yield Finding(
            Level.NOTE if seen.stream.last else Level.WARNING,
            "unsure",
            "No event arrives, which proves nothing: the exporter cannot send one to itself",
            "It sends itself an event when nothing comes, which takes remote control (no `--no-remote-control`), the "
            "right to publish to the event exchange, Redis or RabbitMQ, and an `--event-routing-key` that lets it in.",
        )
    if routing_key != "#":
        yield note(
            "routing-key",
            "Only some events are received",
            "`--event-routing-key` leaves the others out; `#` is all.",
            quote=routing_key,
        )
    yield from _gaps(state)
    if state.restarts:
        yield warning(
            "stuck",
            f"{count(state.restarts, 'receiver')} hung and had to be replaced",
            "A name lookup, a TLS handshake or a connection did not come to an end: look at the network to the broker.",
        )


def _gaps(state: StreamReading) -> Iterator[Finding]:
    first_wait = 0.0 if state.connected else state.lasting
    if state.reconnects or state.disconnected_seconds > max(GAP_SECONDS, first_wait):
        is_news = state.past_error is not None and state.past_error_age < RECENT_SECONDS
        yield Finding(
            Level.FAILED if state.reconnects and is_news else Level.NOTE,
            "gaps",
            f"No events were received for {duration(state.disconnected_seconds)} in total, "
            f"with {count(state.reconnects, 'reconnect')}",
            "What happened then is not counted. The log has the reason of each loss. On Redis a slow subscriber "
            "is cut off: raise `client-output-buffer-limit pubsub`, or give the exporter more CPU.",
            quote=state.past_error if state.connected else None,
        )


def _broker(seen: Snapshot) -> Iterator[Finding]:
    broker, config = seen.broker, seen.config
    if not seen.reads_queues:
        yield note(
            "queues-unreadable",
            "No queue lengths: this kind of broker cannot be looked at",
            "Lengths come from Redis, RabbitMQ, SQS, databases of SQLAlchemy, and the memory and filesystem "
            "transports. Use the broker's own monitoring beside this page.",
        )
    elif broker.up is False:
        yield failed(
            "broker",
            "The broker cannot be read: no queue lengths",
            f"It is tried again every {duration(config.sample_interval)}. If the user may not: on Redis it needs "
            "`%R~* +ping +scan +smembers +llen +lindex +hlen +zrange`, on RabbitMQ access to the virtual host, with "
            "`--management-url` the tag `management` too, on SQS `sqs:GetQueueUrl` and `sqs:GetQueueAttributes`.",
            quote=broker.error or "no fresh answer",
        )
    if not config.events:
        return
    if not config.remote_control:
        yield note(
            "remote-control",
            "Workers are not asked: no pool sizes, no consumers of queues, and their task events are not turned on",
            "Leave `--no-remote-control` out.",
        )
    elif broker.control_error is not None and seen.subscription.connected:
        yield warning(
            "remote-control",
            "Workers cannot be asked: no pool sizes, no consumers of queues",
            "The user needs to publish to `celery.pidbox` (`control_exchange` may name it otherwise), "
            "and to read its own `*.reply.celery-exporter.pidbox`. To live without: `--no-remote-control`.",
            quote=broker.control_error,
        )
    elif not config.inspect_workers:
        yield note(
            "inspection",
            "Workers are not asked about themselves: no pool sizes, no consumers of queues",
            "Leave `--no-inspect-workers` out.",
        )


def _stream(seen: Snapshot) -> Iterator[Finding]:
    stream = seen.stream
    dropped = sum(number for _, number in stream.dropped)
    if dropped:
        parts = ", ".join(f"{number:,} {reason}" for reason, number in stream.dropped)
        yield Finding(
            Level.WARNING if stream.total else Level.FAILED,
            "dropped",
            f"{count(dropped, 'message')} cannot be read as events: {parts}",
            "The log has the beginning of one a minute. "
            + " ".join(_DROPS[reason] for reason, _ in stream.dropped if reason in _DROPS),
        )
    if stream.lag is not None and stream.lag > LAG_SECONDS:
        yield warning(
            "lag",
            f"Events come more than {duration(LAG_SECONDS)} late",
            "The exporter does not keep up (more CPU, no `--receiver kombu`), the broker holds events back, or "
            "the clocks of workers are slow.",
        )
    if stream.retimed:
        yield warning(
            "retimed",
            f"{count(stream.retimed, 'event')} had an implausible timestamp",
            "They count as of their receipt. Correct the clock or the time zone of the senders; the log names them.",
        )


def _limits(seen: Snapshot) -> Iterator[Finding]:
    if seen.stream.evicted:
        yield warning(
            "evicted",
            f"{count(seen.stream.evicted, 'task')} in flight had to be evicted",
            "Their waits and run times are not measured. Raise `--max-in-flight` (about 0.5 kB each).",
        )
    if seen.stream.overflowed:
        families = ", ".join(f"`{family}` {number:,} times" for family, number in seen.stream.overflowed)
        yield warning(
            "overflow",
            "More tasks, workers or queues than `--max-series` allows",
            f"Some were counted as `other`, or left out: {families}. Raise it, or find out who makes "
            "names at run time.",
        )
