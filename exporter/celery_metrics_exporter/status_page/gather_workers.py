"""Workers: who is up, lost, silent about tasks, or lives in another time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from heapq import nsmallest
from typing import Final, Literal

from celery_metrics_exporter.status_page.snapshot_tables import NAMES, Top, WorkerRow, Workers, top_names
from celery_metrics_exporter.workers.roster import Roster
from celery_metrics_exporter.workers.worker import Presence, Worker

#: Rows at most.
WORKERS: Final = 40
#: A clock that differs by more, in seconds, is told of; the alert CeleryWorkerClockOffset has the same threshold.
SKEW_SECONDS: Final = 5.0
#: The oldest version whose events we have read, and of which real ones are tried in tests.
OLDEST: Final = (4, 4)
_HALF_HOUR: Final = 1800.0


def see_workers(roster: Roster, *, asks: bool) -> Workers:
    """``asks``: whether workers are asked about pools and queues."""
    rows = [WorkerRow(_state(roster, worker), worker) for worker in roster.shown()]
    up = [row.worker for row in rows if row.state == "up"]
    lost = [row.worker for row in rows if row.state == "lost"]
    silent = [worker for worker in up if worker.events_enabled is False]
    skewed = sorted((worker.name, worker.offset or 0.0) for worker in up if _is_skewed(worker))
    with_clock = sum(worker.offset is not None for worker in up)
    return Workers(
        shown=Top(tuple(nsmallest(WORKERS, rows, key=_interest)), len(rows)),
        up=len(up),
        offline=len(rows) - len(up) - len(lost),
        lost=top_names(worker.name for worker in lost),
        silent=top_names(worker.name for worker in silent),
        switched_on=top_names(worker.name for worker in up if worker.switched_on),
        skewed=Top(tuple(skewed[:NAMES]), len(skewed)),
        skew=_reason([offset for _, offset in skewed], with_clock),
        untold=top_names(
            worker.name for worker in up if asks and worker.capacity.queues is None and _is_settled(worker)
        ),
        unheard=top_names(worker.name for worker in up if not _is_heard(worker)),
        namesakes=top_names(worker.name for worker in up if worker.shares_its_name),
        outdated=top_names(worker.name for worker in up if () < version_of(worker.version) < OLDEST),
        missed=sum(row.worker.missed for row in rows),
    )


def _state(roster: Roster, worker: Worker) -> Literal["up", "offline", "lost"]:
    if worker.presence is Presence.OFFLINE:
        return "offline"
    return "up" if roster.is_alive(worker) else "lost"


def _interest(row: WorkerRow) -> tuple[int, int, str]:
    """What is wrong first, who works most next; it changes rarely, so that rows keep their place."""
    worker = row.worker
    if row.state == "lost":
        return 0, 0, worker.name
    if row.state == "offline":
        return 3, 0, worker.name
    if worker.events_enabled is False or _is_skewed(worker):
        return 1, 0, worker.name
    return 2, -len(str(worker.processed)), worker.name


def _is_skewed(worker: Worker) -> bool:
    return worker.offset is not None and abs(worker.offset) > SKEW_SECONDS


def _reason(skews: Sequence[float], with_clock: int) -> Literal["clock", "zone", "late"] | None:
    """Why clocks may be off.

    Args:
        skews: of the workers whose clock is, in seconds.
        with_clock: how many workers told their time.
    """
    if not skews:
        return None
    if len(skews) == with_clock > 1 and max(skews) - min(skews) < SKEW_SECONDS:
        return "clock"
    if all(map(_is_zone, skews)):
        return "zone"
    return "late" if all(skew < 0 for skew in skews) else None


def _is_zone(skew: float) -> bool:
    zones = round(skew / _HALF_HOUR)
    return zones != 0 and abs(skew - zones * _HALF_HOUR) < SKEW_SECONDS


def _is_heard(worker: Worker) -> bool:
    """Whether any event of it came: a worker that only answered is in the roster too."""
    return bool(worker.pids) or worker.task_events > 0


def _is_settled(worker: Worker) -> bool:
    """Whether it has sent heartbeats for some time: a new worker needs a moment to be asked and to answer."""
    return any(record.settled is not None for record in tuple(worker.pids.values()))


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version, such as (7, 2, 4); empty if there are none."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
