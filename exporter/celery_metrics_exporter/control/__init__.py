"""Remote control: broadcast commands to all workers, and read their answers.

``remote`` is the loop that asks; ``mailbox`` sends commands and finds the command of an answer; ``transport`` and
``redis_transport`` carry messages over each kind of broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from celery_metrics_exporter.facts import HeldTask, TaskQuestion


class RefusedError(Exception):
    """The broker answers and refuses what we want to do; the message is the broker's own."""


class Probed(Protocol):
    """Is told the result of a probe; called by the thread that sends it."""

    def published(self) -> None:
        """The broker has accepted the probe."""

    def refused(self) -> None:
        """The broker refuses the probe, or would not deliver it to us."""

    def failed(self) -> None:
        """The broker cannot be reached, or does not answer."""


class AsksTasks(Protocol):
    """Plans the questions to single workers about their tasks; called by the thread that sends them."""

    def next_question(self) -> TaskQuestion | None:
        """The question to ask now, if one is due."""

    def take_tasks(self, tasks: Sequence[HeldTask], /) -> None:
        """Take an answer to it."""

    def take_json_only(self, *, told: bool) -> None:
        """Take whether the worker that was asked accepts messages in JSON alone."""

    def close_question(self, *, answered: bool | None) -> None:
        """The question is over; None if it could not be asked."""

    def pause(self) -> float:
        """Seconds until one is due, if nothing happens until then."""
