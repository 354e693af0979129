"""Redis' limit for slow subscribers, against what comes.

Owns: this check, the arithmetic, and what repairs it. Must not know: how events are received.

Source of the facts: ``client-output-buffer-limit`` in redis.conf. A subscriber is cut off at once beyond the hard limit
and beyond the soft one when that lasts for so many seconds; what it has not read yet stands in that buffer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor.case import TIMEOUT_SECONDS
from celery_metrics_exporter.doctor.findings import Verdict, ok, skipped, warning
from celery_metrics_exporter.doctor.listening import listen
from celery_metrics_exporter.doctor.redis_server import OutputLimit, RedisServer

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case

#: Seconds for which the exporter may stand still (a slow machine, a paused container) without losing events.
STALL_SECONDS: Final = 30.0
#: What one burst may bring, whatever was measured.
BURST_BYTES: Final = 1024 * 1024
_MEGABYTE: Final = 1024 * 1024
_HOUR: Final = 3600.0


def check_buffers(case: Case) -> Verdict:
    """Redis keeps events long enough for an exporter that is held up."""
    if not case.is_redis:
        return skipped("there is such a limit on Redis only")
    hearing = listen(case)
    server = RedisServer(case.broker, timeout=TIMEOUT_SECONDS)
    try:
        limit = server.output_limit()
    finally:
        server.close()
    if isinstance(limit, str):
        return skipped(
            f"the server does not tell its limit: {limit}",
            "let the user read it, or look it up yourself",
            f"ACL SETUSER {case.user} +config|get",
        )
    return judge(limit, hearing.stream_bytes / max(case.listened, 0.1))


def judge(limit: OutputLimit, rate: float) -> Verdict:
    """What this limit means at so many bytes a second."""
    seconds = patience(limit, rate)
    room = "no limit" if not limit.hard else f"{limit.hard / _MEGABYTE:.3g} MB"
    load = f"events take {rate / 1024:.1f} KB/s"
    hard = max(8 * _MEGABYTE, math.ceil(2 * rate * STALL_SECONDS / _MEGABYTE) * _MEGABYTE)
    command = f"CONFIG SET client-output-buffer-limit 'pubsub {4 * hard} {hard} 60'"
    remedy = "raise the limit, and write it to redis.conf as well (CONFIG REWRITE)"
    if limit.hard and limit.hard < BURST_BYTES:
        return warning(
            f"{load}, and a slow subscriber is cut off at {room}: any burst loses events", remedy, command
        )
    if seconds < STALL_SECONDS:
        return warning(
            f"{load}: an exporter that is held up for {seconds:.0f} s is cut off and loses events (limit {room})",
            remedy,
            command,
        )
    held = "more than an hour" if seconds > _HOUR else f"{seconds:.0f} s"
    return ok(f"{load}: an exporter may be held up for {held} (limit {room})")


def patience(limit: OutputLimit, rate: float) -> float:
    """Seconds until a subscriber that reads nothing is cut off."""
    if rate <= 0:
        return math.inf
    hard = limit.hard / rate if limit.hard else math.inf
    soft = limit.soft / rate + limit.seconds if limit.soft and limit.seconds else math.inf
    return min(hard, soft)
