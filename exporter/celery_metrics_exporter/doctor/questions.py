"""What doctor asks workers besides the exporter that it runs: which tasks they know, once.

Owns: this question, the trial of the rights that the exporter's own questions need, and an event of our own.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.control.answers import tasks_in
from celery_metrics_exporter.control.commands import HEARTBEAT, REGISTERED
from celery_metrics_exporter.control.mailbox import Mailbox, UnreadableReplyError

#: Seconds without a look after which the broker may drop the queue of answers.
_LIFETIME_SECONDS: Final = 120.0


class Questions:
    """Asks once; connects when it does. What the broker's library raises passes through ``ask`` and ``probe``.

    Attributes:
        tasks: that workers know, by nodename.
        answers: how many came, by nodename; more than one: several workers have this name.
        taken: how many took the last question, if the broker tells; 0: there is nobody.
        probed: an event of our own was published.
    """

    def __init__(self, broker: Broker, *, timeout: float) -> None:
        """``timeout``: seconds that connecting and each answer of the broker may take."""
        self._mailbox = Mailbox(broker, timeout=timeout, lifetime=_LIFETIME_SECONDS)
        self.tasks: dict[str, frozenset[str]] = {}
        self.answers: Counter[str] = Counter()
        self.taken: int | None = None
        self.probed = False

    def ask(self, *, answered: bool, inspect: bool) -> None:
        """Let workers show themselves. Raises RefusedError.

        Args:
            answered: the exporter asks something that they answer, so that we need a queue of answers.
            inspect: ask which tasks they know.
        """
        taken = self._mailbox.ask(HEARTBEAT, answered=False)
        if answered:
            self._mailbox.open()
        if inspect:
            taken = self._mailbox.ask(REGISTERED, answered=True)
        self.taken = taken

    def probe(self) -> None:
        """Send an event of our own, see :meth:`control.mailbox.Mailbox.probe`. Raises RefusedError."""
        self.probed = self._mailbox.probe()

    def collect(self) -> None:
        """Take the answers that came."""
        try:
            replies = self._mailbox.take()
        except Exception:  # noqa: BLE001 - the answers are lost, events may still come
            self._mailbox.drop()
            return
        for reply in replies:
            try:
                worker, tasks = tasks_in(self._mailbox.read(reply)[1])
            except (UnreadableReplyError, msgspec.ValidationError, RecursionError):
                continue
            self.answers[worker] += 1
            self.tasks[worker] = self.tasks.get(worker, frozenset()) | tasks

    def close(self) -> None:
        """Leave the broker in good order, if it lets us."""
        try:
            self._mailbox.close()
        except Exception:  # noqa: BLE001 - whatever a broker's library raises; nothing depends on a clean close
            self._mailbox.drop()
