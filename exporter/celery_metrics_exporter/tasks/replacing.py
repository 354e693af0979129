"""Ends attempts that end without an event: another task took their place, or what ended them was missed."""

from __future__ import annotations

import math

from celery_metrics_exporter.tasks.attempt import Attempt


def supersede(latest: Attempt, head: Attempt, *, may_replace: bool) -> None:
    """After the first delivery of ``latest``, end the attempt that it replaces, or it if it was replaced before.

    It replaces the last retry. Of several executions of that one has done so, and nothing tells which: the one that has
    run longest is taken.
    """
    replaced = [attempt for attempt in head.chain() if _follows(latest, attempt) and not attempt.ended]
    if may_replace and replaced:
        min(replaced, key=lambda one: (-(one.retries or 0), one.started or math.inf)).supersede()
    elif not any(attempt.is_superseded and attempt.name == latest.name for attempt in head.chain()) and any(
        later.is_republished and _follows(later, latest) for later in head.chain()
    ):
        latest.supersede()


def supersede_instead(attempt: Attempt, head: Attempt) -> None:
    """It has an outcome after all: another execution was replaced."""
    attempt.ended = attempt.received  # for now
    for later in head.chain():
        if _follows(later, attempt):
            supersede(later, head, may_replace=True)
            break
    attempt.ended = 0.0


def _follows(later: Attempt, attempt: Attempt) -> bool:
    """Whether one was delivered after the other, is another publication, and no retry."""
    # An answer told of it instead of a task-received: then it was delivered before it started.
    delivered = attempt.received or (attempt.started if attempt.answered else 0.0)
    return 0 < delivered < later.received and (
        attempt.name != later.name
        or (
            later.is_republished
            and not later.retries
            and not (attempt.is_republished and not attempt.retries and attempt.sent == later.sent)
        )
    )


def end_before(attempt: Attempt, head: Attempt) -> None:
    """End what seems to run before this attempt on the same worker: how it ended was missed."""
    for link in head.chain():
        if link.open and link.worker == attempt.worker and not link.ended and leads_to(link, attempt, head):
            link.open = False
            link.stop_running()


def leads_to(attempt: Attempt, later: Attempt, head: Attempt) -> bool:
    """Whether the later one is a retry or the replacement of the attempt, and of no other execution of it."""
    is_retry = (attempt.retries or 0) < (later.retries or 0)
    has_another_name = None not in (attempt.name, later.name) and attempt.name != later.name
    if not (is_retry or (has_another_name and later.is_republished)):
        return False
    return not any(
        (other.will_retry or other.is_superseded)
        and other.kind == attempt.kind
        and other.retries == attempt.retries
        for other in head.chain()
    )
