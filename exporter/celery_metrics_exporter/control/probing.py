"""Sends our own event when somebody wants to know whether it comes back.

Owns: one try, with a second one where the first only showed that a kept connection was dead; what is said of a
refusal. Must not know: who wants to know, what follows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celery_metrics_exporter.control.mailbox import RefusedError
from celery_metrics_exporter.logs import fields

if TYPE_CHECKING:
    from celery_metrics_exporter.control.mailbox import Mailbox
    from celery_metrics_exporter.control.probe import Probed

log = logging.getLogger(__name__)


class Probes:
    """Sends them, in the thread to which the mailbox belongs."""

    def __init__(self, mailbox: Mailbox, name: str) -> None:
        """``name``: of the broker, for the log; without a password."""
        self._mailbox = mailbox
        self._name = name

    def send(self, told: Probed, *, anew: bool) -> None:
        """Send one, and tell ``told`` what became of it; ``anew``: over a new connection.

        Raises what makes that impossible for now.
        """
        if anew:
            self._mailbox.drop()
        try:
            self._try(told)
        except Exception:
            told.failed()
            raise

    def _try(self, told: Probed) -> None:
        kept = self._mailbox.connected
        try:
            sent = self._mailbox.probe()
        except RefusedError as error:
            text = "silence cannot be told from deafness: the broker lets us send no events"
            log.info(text, extra=fields(broker=self._name, error=error))
            told.refused()
        except Exception:
            self._mailbox.drop()
            if not kept:
                raise
            self._try(told)  # idle connections are dropped by firewalls and brokers
        else:
            (told.published if sent else told.refused)()
