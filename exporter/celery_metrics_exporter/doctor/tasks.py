"""Events of tasks: that anything arrives, that it can be read, and that publishers send task-sent.

Owns: these checks, and what repairs them. Must not know: how events are received.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.control.probe import reaches
from celery_metrics_exporter.doctor.case import counted, listed
from celery_metrics_exporter.doctor.findings import Verdict, failed, ok, skipped, warning
from celery_metrics_exporter.doctor.listening import listen

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case

#: Tasks without a task-sent are a fault of their publishers only when there are more of them than this share: one
#: that was published before we listened may come from the queue meanwhile.
_SHARE: Final = 0.02
_SETTING: Final = (
    "set task_send_sent_event = True in every process that publishes tasks (web servers, beat, workers whose tasks "
    "call others)"
)


def check_arrival(case: Case) -> Verdict:
    """Events really arrive, and can be read."""
    if case.family == "memory":
        return skipped("memory:// carries events within one process only")
    hearing = listen(case)
    listener = case.listener
    if listener is not None and listener.error is not None:
        return failed(
            f"the connection was lost while we listened: {listener.error}",
            "see the broker's log: an operator, a proxy or a limit of the broker ended it",
        )
    unread = sum(number for number, _ in hearing.drops.values())
    if unread:
        (reason, (_, detail)) = next(iter(hearing.drops.items()))
        return (warning if hearing.events else failed)(
            f"{counted(hearing.events, 'event')} in {case.listened:.0f} s, and {counted(unread, 'message')} that "
            f"cannot be read ({reason}: {detail[:120]})",
            "set event_serializer = 'json' in the application, or name its serializer: --event-serializer NAME (never "
            "pickle); else find out who else sends to this event exchange",
        )
    if hearing.events:
        own = ", our own among them" if hearing.own else ""
        return ok(f"{counted(hearing.events, 'event')} in {case.listened:.0f} s{own}")
    if case.probed:
        return failed(
            f"nothing in {case.listened:.0f} s, not even the event that was sent to ourselves",
            "the broker answers and delivers nothing: go round a proxy that stands in between, and see the broker's "
            "log for alarms and for who deleted a binding",
        )
    why = "--no-remote-control" if not case.config.remote_control else "no event of our own was sent"
    if case.config.remote_control and not reaches(case.config.event_queue.routing_key):
        why = f"--event-routing-key {case.config.event_queue.routing_key} leaves out our own event"
    return warning(
        f"nothing in {case.listened:.0f} s, which proves nothing: {why}",
        "run doctor again with a longer --wait, while workers run",
    )


def check_task_sent(case: Case) -> Verdict:
    """Publishers send task-sent, without which waiting times and queues are not known."""
    if case.family == "memory":
        return skipped("memory:// carries events within one process only")
    hearing = listen(case)
    unsent = {uuid: task for uuid, task in hearing.received.items() if uuid not in hearing.sent}
    publishers = _machines(hearing.publishers)
    if not hearing.received and not hearing.sent:
        return skipped(
            f"no task was published or received in {case.listened:.0f} s",
            "run doctor again while tasks run, with a longer --wait",
        )
    if unsent and len(unsent) > _SHARE * len(hearing.received):
        names = Counter(task.name for task in unsent.values())
        children = sum(task.child for task in unsent.values())
        by = f"; {children} of them were published by other tasks, that is by workers" if children else ""
        sent = f"; task-sent comes from {publishers}" if publishers else ", and no task-sent came at all"
        tasks = listed([f"{name} ({number})" for name, number in names.most_common()])
        return warning(
            f"{len(unsent)} of {len(hearing.received)} received tasks came without task-sent: {tasks}{by}{sent}",
            f"{_SETTING}; a task that was published before doctor listened looks the same",
        )
    return ok(f"on: {len(hearing.sent)} published by {publishers}")


def _machines(publishers: Counter[str]) -> str:
    """Who published, by machine: a client's name is made of its process id (``gen123@host``)."""
    machines = Counter[str]()
    for hostname, number in publishers.items():
        machines[hostname.partition("@")[2] or hostname] += number
    return listed([f"{machine} ({number})" for machine, number in machines.most_common()])
