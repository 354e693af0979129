"""What doctor asks workers besides the exporter that it runs: which tasks they know, once.

Owns: this question, the trial of the rights that the exporter's own questions need, and an event of our own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from celery_metrics_exporter.control.answers import tasks_in
from celery_metrics_exporter.control.commands import HEARTBEAT, REGISTERED
from celery_metrics_exporter.control.mailbox import Mailbox, UnreadableReplyError
from celery_metrics_exporter.errors import one_line

if TYPE_CHECKING:
    from celery_metrics_exporter.connection.celery_app import Broker

#: Seconds without a look after which the broker may drop the queue of answers.
_LIFETIME_SECONDS: Final = 120.0


class Questions:
    """Asks once. Whatever the broker's library raises passes through; ``control.RefusedError`` is a right.

    Attributes:
        tasks: that workers know, by nodename.
        answers: how many came, by nodename; more than one: several workers have this name.
        taken: how many took the last question, if the broker tells; 0: there is nobody.
        probed: an event of our own was published.
        error: why workers cannot be asked, or do not answer.
    """

    def __init__(self, broker: Broker, *, timeout: float) -> None:
        """``timeout``: seconds that connecting and each answer of the broker may take."""
        self._mailbox = Mailbox(broker, timeout=timeout, lifetime=_LIFETIME_SECONDS)
        self.tasks: dict[str, frozenset[str]] = {}
        self.answers: Counter[str] = Counter()
        self.taken: int | None = None
        self.probed = False
        self.error: str | None = None

    def ask(self, *, answered: bool, inspect: bool) -> None:
        """Let workers show themselves. Raises RefusedError.

        Args:
            answered: the exporter asks something that they answer, so that we need a queue of answers.
            inspect: ask which tasks they know.
        """
        self.taken = self._mailbox.ask(HEARTBEAT, answered=False)
        if answered:
            self._mailbox.open()
        if inspect:
            self.taken = self._mailbox.ask(REGISTERED, answered=True)

    def probe(self) -> None:
        """Send an event of our own, see :meth:`control.mailbox.Mailbox.probe`. Raises RefusedError."""
        self.probed = self._mailbox.probe()

    def collect(self) -> None:
        """Take the answers that came."""
        if self.error is not None:
            return
        try:
            letters = self._mailbox.take()
        except Exception as error:  # noqa: BLE001 - the answers are lost, events may still come
            self.error = one_line(error)
            return
        for letter in letters:
            try:
                worker, tasks = tasks_in(self._mailbox.read(letter)[1])
            except (UnreadableReplyError, msgspec.ValidationError, RecursionError):
                continue
            self.answers[worker] += 1
            self.tasks[worker] = self.tasks.get(worker, frozenset()) | tasks

    def close(self) -> None:
        """Leave the broker in good order, if it lets us."""
        try:
            self._mailbox.rest()
            self._mailbox.close()
        except Exception:  # noqa: BLE001 - whatever a broker's library raises; nothing depends on a farewell
            self._mailbox.drop()
