"""A table of the page, and which columns each of them has.

Owns: how rows become HTML. On a phone the style turns each row into a card, in which ``data-l`` names the cells; the
roles keep it a table for screen readers there (a browser takes ``display: grid`` for no row).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Generic

from celery_metrics_exporter.collectors.task import (
    FAILED,
    LAST_FAILED,
    QUEUE_WAIT,
    RETRIED,
    RUNTIME_SUCCEEDED,
    STARTED,
    SUCCEEDED,
)
from celery_metrics_exporter.distribution import Distribution
from celery_metrics_exporter.labels import clean
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.snapshot_tables import (
    QueueRow,
    RowT,
    RunningRow,
    TaskRow,
    Top,
    WorkerRow,
)
from celery_metrics_exporter.status_page.wording import (
    UNKNOWN,
    age,
    ago,
    duration,
    foreign,
    number,
    ours,
    rate,
    share,
)

#: Queues of one worker that are shown.
QUEUES: Final = 4


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """A heading and what stands below it; ``is_text`` is aligned like text, not like a number."""

    heading: str
    cell: Callable[[RowT], str]
    is_text: bool = False


def table(
    key: str, heading: str, aside: str, columns: Sequence[Column[RowT]], top: Top[RowT], empty: str
) -> str:
    """A section with a table. ``aside`` stands beside the heading, ``empty`` in place of a table without rows."""
    title = f'<h2 id="{key}">{heading}</h2>' + (f"<p>{ours(aside)}</p>" if aside else "")
    head = f'<section aria-labelledby="{key}"><header>{title}</header>'
    if not top.rows:
        return f'{head}<p class="none">{ours(empty)}</p></section>\n'
    headings = "".join(
        f'<th role="columnheader" scope="col"{_kind(column)}>{column.heading}</th>' for column in columns
    )
    rows = "\n".join(_row(columns, row) for row in top.rows)
    more = f'<p class="more">and {number(top.more)} more, in the metrics</p>' if top.more else ""
    return (
        f'{head}<table role="table" aria-labelledby="{key}">'
        f'<thead role="rowgroup"><tr role="row">{headings}</tr></thead>\n'
        f'<tbody role="rowgroup">{rows}</tbody></table>{more}</section>\n'
    )


def _row(columns: Sequence[Column[RowT]], row: RowT) -> str:
    first, *others = columns
    cells = "".join(
        f'<td role="cell"{_kind(column)} data-l="{column.heading}">{column.cell(row)}</td>'
        for column in others
    )
    return f'<tr role="row"><th role="rowheader" scope="row">{first.cell(row)}</th>{cells}</tr>'


def _kind(column: Column[RowT]) -> str:
    return "" if column.is_text else ' class="n"'


def why(found: Collection[str], key: str) -> str:
    """What stands for the unknown: a link to its finding, if there is one."""
    if key not in found:
        return UNKNOWN
    return f'<a class="why" href="#missing-{key}" aria-label="not known, see why">{UNKNOWN}</a>'


def why_unread(found: Collection[str]) -> str:
    """What stands for the length of a queue that is not known."""
    return why(found, next((key for key in ("forbidden", "missing") if key in found), "broker"))


def _why_untold(found: Collection[str]) -> str:
    """What stands for what a worker did not answer."""
    return why(found, next((key for key in ("remote-control", "inspection", "untold") if key in found), ""))


def queues_table(seen: Snapshot, found: Collection[str]) -> str:
    """``found``: the keys of the findings, to which cells link that are not known."""
    rows = seen.queues.shown.rows
    untold = _why_untold(found)

    def oldest(row: QueueRow) -> str:
        if not row.length:
            return ""
        return why(found, "age") if row.oldest is None else age(row.oldest, seen.now)

    def workers(row: QueueRow) -> str:
        if row.is_abandoned and "abandoned" in found:
            return f'<a class="bad" href="#missing-abandoned">{number(row.workers or 0)}</a>'
        return number(row.workers, untold)

    columns: list[Column[QueueRow]] = [
        Column("Queue", lambda row: foreign(row.name), is_text=True),
        Column("Waiting", lambda row: number(row.length, why_unread(found))),
        Column("Oldest", oldest),
    ]
    if any(row.unacked is not None for row in rows):
        columns.append(Column("Held", lambda row: number(row.unacked)))
    if any(row.delayed is not None for row in rows):
        columns.append(Column("Delayed", lambda row: number(row.delayed)))
    if any(row.consumers is not None for row in rows):
        columns.append(Column("Consumers", lambda row: number(row.consumers)))
    if seen.config.events:
        columns += [Column("Workers", workers), Column("Slots", lambda row: number(row.slots, untold))]
    return table("queues", "Queues", _broker(seen), columns, seen.queues.shown, "No queue is known yet.")


def _broker(seen: Snapshot) -> str:
    """What the broker tells of all queues together."""
    told = (
        (seen.queues.waiting, "waiting"),
        (seen.broker.unacked, "held by workers"),
        (seen.broker.delayed, "delayed by the broker"),
    )
    parts = [f"{number(value)} {what}" for value, what in told if value is not None]
    if seen.broker.round_trip is not None:
        parts.append(f"the broker answers in {duration(seen.broker.round_trip)}")
    return ", ".join(parts)


def busiest_table(seen: Snapshot, found: Collection[str]) -> str:
    """Tasks by their starts of the last minute."""
    columns: list[Column[TaskRow]] = [
        Column("Task", lambda row: foreign(row.counts.labels[0]), is_text=True),
        Column("Queue", lambda row: foreign(row.counts.labels[1]), is_text=True),
        Column("Per second", lambda row: rate(row.rate)),
        Column("Running", lambda row: number(row.running)),
        Column("Started", lambda row: number(row.counts.totals[STARTED])),
        Column("Succeeded", lambda row: number(row.counts.totals[SUCCEEDED])),
        Column("Failed", lambda row: number(row.counts.totals[FAILED])),
        Column("Retried", lambda row: number(row.counts.totals[RETRIED])),
        Column("Run time", lambda row: _mean(row.counts.histograms[RUNTIME_SUCCEEDED]) or UNKNOWN),
        Column("Wait", lambda row: _mean(row.counts.histograms[QUEUE_WAIT]) or why(found, "task-sent")),
    ]
    span = seen.tasks.window
    aside = "totals and means since the exporter started" + (
        f", rates of the last {duration(round(span))}" if span else ""
    )
    return table("busiest", "Busiest tasks", aside, columns, seen.tasks.busiest, "No task has started yet.")


def failing_table(seen: Snapshot) -> str:
    """Tasks by their failures of the last minutes."""
    span = seen.tasks.long_window
    columns: list[Column[TaskRow]] = [
        Column("Task", lambda row: foreign(row.counts.labels[0]), is_text=True),
        Column("Queue", lambda row: foreign(row.counts.labels[1]), is_text=True),
        Column("Lately", lambda row: _alarming(row.recent_failures)),
        Column("Share", lambda row: share(row.recent_failures, row.recent_ends)),
        Column("In all", lambda row: number(row.counts.totals[FAILED])),
        Column("Mostly", lambda row: _commonest(row.counts.exceptions), is_text=True),
        Column("Last", lambda row: ago(row.counts.latest[LAST_FAILED] or None, seen.now)),
    ]
    aside = f"lately: in the last {duration(round(span))}" if span else ""
    return table("failing", "Most failing tasks", aside, columns, seen.tasks.failing, "No task has failed.")


def _mean(distribution: Distribution | None) -> str:
    """Empty without one that has values."""
    mean = None if distribution is None else distribution.mean()
    return "" if mean is None else duration(mean)


def _commonest(exceptions: Mapping[tuple[str, str], int]) -> str:
    """The class of most failures."""
    failures = [
        (number, name) for (name, outcome), number in tuple(exceptions.items()) if outcome == "failed"
    ]
    return foreign(max(failures, key=itemgetter(0))[1]) if failures else UNKNOWN


def running_table(seen: Snapshot) -> str:
    """Tasks that run, those that began first."""
    columns: list[Column[RunningRow]] = [
        Column("Task", lambda row: foreign(row.task), is_text=True),
        Column("Queue", lambda row: foreign(row.queue), is_text=True),
        Column("Worker", lambda row: foreign(row.worker), is_text=True),
        Column("For", lambda row: age(row.started, seen.now)),
    ]
    return table("running", "Running longest", "", columns, seen.tasks.running, "No task runs.")


def workers_table(seen: Snapshot, found: Collection[str]) -> str:
    """All workers, those with troubles first."""
    untold = _why_untold(found)
    rows = seen.workers.shown.rows

    def busy(row: WorkerRow) -> str:
        if row.state != "up":
            return ""
        return f"{number(row.worker.active)} of {number(row.worker.capacity.pool_size, untold)}"

    def queues(row: WorkerRow) -> str:
        names = row.worker.capacity.queues
        if row.state != "up":
            return ""
        if names is None:
            return untold
        more = f" and {number(len(names) - QUEUES)} more" if len(names) > QUEUES else ""
        return ", ".join(foreign(clean(name)) for name in names[:QUEUES]) + more

    columns: list[Column[WorkerRow]] = [
        Column("Worker", lambda row: foreign(row.worker.name), is_text=True),
        Column("State", _state, is_text=True),
        Column("Busy", busy),
        Column("Queues", queues, is_text=True),
        Column("Succeeded", lambda row: number(row.worker.outcomes["succeeded"])),
        Column("Failed", lambda row: number(row.worker.outcomes["failed"])),
    ]
    if any(row.worker.missed for row in rows):
        columns.append(Column("Missed", lambda row: _alarming(row.worker.missed)))
    columns += [
        Column("Clock", _offset),
        Column(
            "Celery", lambda row: foreign(row.worker.version) if row.worker.version else UNKNOWN, is_text=True
        ),
        Column("Last event", lambda row: ago(row.worker.last_seen, seen.now)),
    ]
    return table("workers", "Workers", "", columns, seen.workers.shown, "No worker has been seen.")


def _state(row: WorkerRow) -> str:
    if row.state == "lost":
        return '<a class="pill bad" href="#missing-lost">lost</a>'
    if row.state == "offline":
        return '<span class="pill">offline</span>'
    if row.worker.events_enabled is False:
        return '<a class="pill warn" href="#missing-events-off">events off</a>'
    return '<span class="pill good">up</span>'


def _offset(row: WorkerRow) -> str:
    offset = row.worker.offset
    if offset is None:
        return UNKNOWN
    return f"{'+' if offset >= 0 else '−'}{duration(abs(offset))}"  # noqa: RUF001 - a minus sign


def _alarming(value: int) -> str:
    return f'<b class="bad">{number(value)}</b>' if value else "0"
