"""The checks in their order, and which of them depend on which.

Owns: that table, and the way through it. Must not know: what a check does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor.buffers import check_buffers
from celery_metrics_exporter.doctor.case import one_line
from celery_metrics_exporter.doctor.elsewhere import check_elsewhere
from celery_metrics_exporter.doctor.event_queue import check_event_queue
from celery_metrics_exporter.doctor.findings import Finding, Status, Verdict, failed
from celery_metrics_exporter.doctor.queues import check_applications, check_queues
from celery_metrics_exporter.doctor.reach import (
    check_login,
    check_master,
    check_names,
    check_namespace,
    check_ports,
)
from celery_metrics_exporter.doctor.rights import check_ask, check_read, check_subscribe
from celery_metrics_exporter.doctor.tasks import check_arrival, check_task_sent
from celery_metrics_exporter.doctor.tls import check_tls
from celery_metrics_exporter.doctor.workers import (
    check_clocks,
    check_task_events,
    check_versions,
    check_workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery_metrics_exporter.doctor.case import Case


@dataclass(frozen=True, slots=True)
class Check:
    """One link of the chain.

    Attributes:
        name: stands in the JSON document, and stays as it is.
        title: stands in the text.
        examine: what is done.
        needs: the names of those without which it cannot be done.
    """

    name: str
    title: str
    examine: Callable[[Case], Verdict]
    needs: tuple[str, ...] = ()


CHECKS: Final = (
    Check("resolve", "name resolution", check_names),
    Check("tcp", "connection", check_ports, ("resolve",)),
    Check("tls", "TLS", check_tls, ("tcp",)),
    Check("sentinel", "Sentinel's master", check_master, ("tls",)),
    Check("login", "login", check_login, ("sentinel",)),
    Check("namespace", "vhost or database", check_namespace, ("login",)),
    Check("event_queue", "event queue's flags", check_event_queue, ("namespace",)),
    Check("subscribe", "right: events", check_subscribe, ("event_queue",)),
    Check("read", "right: queues", check_read, ("namespace",)),
    Check("ask", "right: ask workers", check_ask, ("namespace",)),
    Check("arrival", "events arrive", check_arrival, ("subscribe",)),
    Check("workers", "workers", check_workers, ("subscribe",)),
    Check("elsewhere", "Celery elsewhere", check_elsewhere, ("subscribe",)),
    Check("versions", "workers' versions", check_versions, ("subscribe",)),
    Check("task_events", "task events", check_task_events, ("subscribe",)),
    Check("task_sent", "task-sent events", check_task_sent, ("subscribe",)),
    Check("clocks", "workers' clocks", check_clocks, ("subscribe",)),
    Check("queues", "queues", check_queues, ("subscribe", "read")),
    Check("applications", "applications", check_applications, ("subscribe",)),
    Check("buffers", "output buffer", check_buffers, ("subscribe",)),
)


def examine(case: Case, redact: Callable[[str], str]) -> Iterator[Finding]:
    """Make all checks in their order; what depends on one that failed is skipped, and says so.

    ``redact`` takes the secrets out of what the broker and its libraries said.
    """
    verdicts: dict[str, Verdict] = {}
    titles = {check.name: check.title for check in CHECKS}
    for check in CHECKS:
        hindrance = next((need for need in check.needs if _hinders(verdicts[need])), None)
        if hindrance is None:
            verdict = _made(check, case)
        else:
            verdict = Verdict(Status.SKIPPED, f"needs: {titles[hindrance]}", blocked=True)
        verdicts[check.name] = verdict
        yield Finding(
            check.name,
            check.title,
            verdict.status,
            _plain(redact(verdict.message)),
            # These are our own words and names of the configuration: a password that is a common word, such as guest,
            # must not make holes into a line that is to be typed.
            _plain(verdict.remedy),
            _plain(verdict.command),
        )


def _made(check: Check, case: Case) -> Verdict:
    try:
        return check.examine(case)
    except Exception as error:  # noqa: BLE001 - the broker may go away at any moment; the other checks go on
        return failed(one_line(error), "run doctor again; see the broker's log")


def _hinders(verdict: Verdict) -> bool:
    return verdict.status is Status.FAILED or verdict.blocked


def _plain(text: str) -> str:
    """One line without control characters: names of workers and queues are anybody's."""
    return "".join(character if character.isprintable() else "?" for character in text)
