"""Chains of attempts, made by hand."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from celery_metrics_exporter.tasks.attempt import Attempt


def make_attempt(name: str | None = "t", queue: str | None = None, **fields: Any) -> Attempt:
    """An attempt with these fields."""
    attempt = Attempt(0.0, (name, queue))
    for field, value in fields.items():
        setattr(attempt, field, value)
    return attempt


def chain(*attempts: Attempt) -> Sequence[Attempt]:
    """Link these attempts, newest first."""
    for newer, older in pairwise(attempts):
        newer.older = older
    return attempts
