"""Redis' limit for slow subscribers, against what comes.

Source of the facts: ``client-output-buffer-limit`` in redis.conf. A subscriber is cut off at once beyond the hard limit
and beyond the soft one when that lasts for so many seconds; what it has not read yet stands in that buffer.
"""

from __future__ import annotations

import math
from typing import Final

from redis.exceptions import ResponseError

from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.redis_server import OutputLimit
from celery_metrics_exporter.doctor.results import ok, skipped, warning
from celery_metrics_exporter.doctor.trial_run import listen
from celery_metrics_exporter.status_page.findings import Finding

#: Seconds for which the exporter may stand still (a slow machine, a paused container) without losing events.
STALL_SECONDS: Final = 30.0
_MEGABYTE: Final = 1024 * 1024
#: What one burst may bring, whatever was measured.
BURST_BYTES: Final = _MEGABYTE
_HOUR: Final = 3600.0


def check_buffers(context: Context) -> Finding:
    """Redis keeps events long enough for an exporter that is held up."""
    if not context.is_redis:
        return skipped("there is such a limit on Redis only")
    listen(context)
    rate = context.traffic.rate() if context.traffic else 0.0
    try:
        with context.redis_server() as server:
            return judge(server.output_limit(), rate)
    except ResponseError as error:
        return skipped(
            f"the server does not tell its limit: {error}",
            "let the user read it, or look it up yourself",
            f"ACL SETUSER {context.user} +config|get",
        )


def judge(limit: OutputLimit, rate: float) -> Finding:
    """What this limit means at so many bytes a second."""
    seconds = patience(limit, rate)
    room = "no limit" if not limit.hard else f"{limit.hard / _MEGABYTE:.3g} MB"
    load = f"events take {rate / 1024:.1f} KB/s"
    hard = max(8 * _MEGABYTE, math.ceil(2 * rate * STALL_SECONDS / _MEGABYTE) * _MEGABYTE)
    command = f"CONFIG SET client-output-buffer-limit 'pubsub {4 * hard} {hard} 60'"
    trouble = ""
    if limit.hard and limit.hard < BURST_BYTES:
        trouble = f", and a slow subscriber is disconnected at {room}: any burst loses events"
    elif seconds < STALL_SECONDS:
        trouble = (
            f": an exporter that stalls for {seconds:.0f} s is disconnected and loses events (limit {room})"
        )
    if trouble:
        remedy = "raise the limit, and write it to redis.conf as well (CONFIG REWRITE)"
        return warning(load + trouble, remedy, command)
    held = "more than an hour" if seconds > _HOUR else f"{seconds:.0f} s"
    return ok(f"{load}: an exporter may stall for {held} without a loss (limit {room})")


def patience(limit: OutputLimit, rate: float) -> float:
    """Seconds until a subscriber that reads nothing is cut off."""
    if rate <= 0:
        return math.inf
    hard = limit.hard / rate if limit.hard else math.inf
    soft = limit.soft / rate + limit.seconds if limit.soft and limit.seconds else math.inf
    return min(hard, soft)
