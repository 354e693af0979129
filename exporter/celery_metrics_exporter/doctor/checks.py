"""The checks in their order, and which of them depend on which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from celery_metrics_exporter.doctor.buffers import check_buffers
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.elsewhere import check_elsewhere
from celery_metrics_exporter.doctor.event_queue import check_event_queue
from celery_metrics_exporter.doctor.observed import (
    check_applications,
    check_arrival,
    check_clocks,
    check_queues,
    check_task_events,
    check_task_sent,
    check_versions,
    check_workers,
)
from celery_metrics_exporter.doctor.reach import (
    check_login,
    check_master,
    check_names,
    check_namespace,
    check_ports,
)
from celery_metrics_exporter.doctor.results import failed, skipped
from celery_metrics_exporter.doctor.rights import check_ask, check_read, check_subscribe
from celery_metrics_exporter.doctor.tls import check_tls
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.status_page.findings import Finding, Level


@dataclass(frozen=True, slots=True)
class Check:
    """One link of the chain.

    Attributes:
        name: stands in the JSON document, and stays as it is.
        title: stands in the text.
        examine: what is done.
        needs: the names of those without which it cannot be done.
        of_events: whether it says nothing with --no-events.
    """

    name: str
    title: str
    examine: Callable[[Context], Finding]
    needs: tuple[str, ...] = ()
    of_events: bool = False


_of_events: Final = partial(Check, of_events=True)

CHECKS: Final = (
    Check("resolve", "name resolution", check_names),
    Check("tcp", "connection", check_ports, ("resolve",)),
    Check("tls", "TLS", check_tls, ("tcp",)),
    Check("sentinel", "Sentinel's master", check_master, ("tls",)),
    Check("login", "login", check_login, ("sentinel",)),
    Check("namespace", "vhost or database", check_namespace, ("login",)),
    _of_events("event_queue", "event queue's flags", check_event_queue, ("namespace",)),
    _of_events("subscribe", "right: events", check_subscribe, ("event_queue",)),
    Check("read", "right: queues", check_read, ("namespace",)),
    _of_events("ask", "right: ask workers", check_ask, ("namespace",)),
    _of_events("arrival", "events arrive", check_arrival, ("subscribe",)),
    _of_events("workers", "workers", check_workers, ("subscribe",)),
    _of_events("elsewhere", "Celery elsewhere", check_elsewhere, ("subscribe",)),
    _of_events("versions", "workers' versions", check_versions, ("subscribe",)),
    _of_events("task_events", "task events", check_task_events, ("subscribe",)),
    _of_events("task_sent", "task-sent events", check_task_sent, ("subscribe",)),
    _of_events("clocks", "workers' clocks", check_clocks, ("subscribe",)),
    Check("queues", "queues", check_queues, ("subscribe", "read")),
    _of_events("applications", "applications", check_applications, ("subscribe",)),
    _of_events("buffers", "output buffer", check_buffers, ("subscribe",)),
)


def examine(context: Context, redact: Callable[[str], str]) -> Iterator[tuple[str, Finding]]:
    """Make all checks in their order; what depends on one that failed is skipped, and says so.

    Args:
        context: what is examined.
        redact: takes the secrets out of what the broker and its libraries said.

    Yields:
        The title of each check and what it came to, under the check's name.
    """
    broken: dict[str, str] = {}  # what failed or was skipped for that -> what failed
    for check in CHECKS:
        cause = next((broken[need] for need in check.needs if need in broken), None)
        if check.of_events and not context.config.events:
            yield check.title, replace(skipped("--no-events"), key=check.name)
            continue
        finding = _made(check, context) if cause is None else skipped(f"needs: {cause}")
        if cause is not None or finding.level is Level.FAILED:
            broken[check.name] = cause or check.title
        # Remedies and commands are our own words and names of the configuration: a password that is a common word, such
        # as guest, must not make holes into a line that is to be typed.
        yield (
            check.title,
            replace(
                finding,
                key=check.name,
                title=_plain(redact(finding.title)),
                remedy=_plain(finding.remedy),
                command=_plain(finding.command),
            ),
        )


def _made(check: Check, context: Context) -> Finding:
    try:
        return check.examine(context)
    except Exception as error:  # noqa: BLE001 - the broker may go away at any moment; the other checks go on
        return failed(one_line(error), "run doctor again; see the broker's log")


def _plain(text: str) -> str:
    """One line without control characters: names of workers and queues are anybody's."""
    return "".join(character if character.isprintable() else "?" for character in text)
