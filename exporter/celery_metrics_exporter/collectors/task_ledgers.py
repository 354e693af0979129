"""The ledgers by (task, queue): bounded in number, and with them the tasks that are expected but were not seen yet.

Owns: which label sets there are. Must not know: events, what is counted.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from celery_metrics_exporter.collectors.task_ledger import TaskLedger
from celery_metrics_exporter.labels import OTHER, UNKNOWN, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery_metrics_exporter.collectors.task_ledger import LedgerSettings
    from celery_metrics_exporter.tasks.attempt import Kind


class TaskLedgers(dict["Kind", TaskLedger]):
    """By (task, queue) as the labels have them; for others :meth:`__missing__` finds the ledger. None ever goes.

    One thread at a time writes, any may read.
    """

    def __init__(
        self, settings: LedgerSettings, *, max_series: int, on_overflow: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._settings = settings
        self._max_series = max_series
        self._on_overflow = on_overflow
        self._expected: dict[str, tuple[str, str]] = {}  # task -> its labels

    def __missing__(self, kind: Kind) -> TaskLedger:
        task, queue = kind
        labels = (clean(task or UNKNOWN), clean(queue or UNKNOWN))
        ledger = self.get(labels)
        if ledger is None and len(self) >= self._max_series:
            labels = (OTHER, OTHER)
            self._on_overflow("celery_task")
            ledger = self.get(labels)
        if ledger is None:
            ledger = self[labels] = TaskLedger(self._settings, labels)
            self._expected.pop(labels[0], None)  # after: no scrape between misses it
        return ledger

    def expect(self, queues: Mapping[str, str | None]) -> None:
        """Expect these tasks, each on the queue that is given, if it is known.

        A task is expected until it is seen, on whatever queue: what is then counted elsewhere leaves no series of zeros
        beside it.
        """
        for task, queue in islice(queues.items(), self._max_series):
            label = clean(task)
            self._expected[label] = (label, clean(queue or UNKNOWN))

    def expected(self) -> list[tuple[str, str]]:
        """The labels of tasks that were not seen yet, as many as the limit has room for."""
        expected = tuple(self._expected.values())
        room = max(0, self._max_series - len(self))
        return [labels for labels in expected if labels not in self][:room]
