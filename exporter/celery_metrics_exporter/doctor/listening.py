"""Listening for some seconds: our own subscription, and the answers of workers meanwhile.

Owns: the thread that receives, how long is listened. Must not know: what is made of what came.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor.case import one_line
from celery_metrics_exporter.doctor.hearing import Hearing
from celery_metrics_exporter.receivers.choosing import subscription_for

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case
    from celery_metrics_exporter.receivers import Subscription

_TICK_SECONDS: Final = 0.1
_LEAVING_SECONDS: Final = 3.0


class Listener:
    """One subscription, as the exporter makes it; never another one.

    Attributes:
        hearing: what came.
        since: monotonic time from which on events are heard.
        error: why none are any more.
    """

    def __init__(self, case: Case) -> None:
        """Subscribes nothing yet."""
        self.hearing = Hearing()
        self._subscription: Subscription = subscription_for(
            case.broker,
            self.hearing,
            routing_key=case.config.event_queue.routing_key,
            universal=case.config.receiver == "kombu",
        )()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.since = 0.0
        self.error: str | None = None

    def open(self) -> None:
        """Subscribe, and receive from now on. Raises what hinders it."""
        try:
            self._subscription.open()
        except BaseException:
            with contextlib.suppress(Exception):  # what hindered us is the news
                self._subscription.close(clean=False)
            raise
        self.since = time.monotonic()
        self._thread = threading.Thread(target=self._receive, name="listening", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave; what came stays."""
        self._over.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_LEAVING_SECONDS)

    def _receive(self) -> None:
        clean = False
        try:
            while not self._over.is_set():
                self._subscription.poll()
            clean = True
        except Exception as error:  # noqa: BLE001 - whatever ends a connection is the finding
            self.error = one_line(error)
        finally:
            with contextlib.suppress(Exception):
                self._subscription.close(clean=clean)


def listen(case: Case) -> Hearing:
    """What came within the time that the case has for it; the first call waits for that."""
    listener = case.listener
    if listener is None:
        raise RuntimeError("there is no subscription")
    if case.hearing is None:
        until = max(listener.since, time.monotonic() - case.wait) + case.wait
        with case.progress.doing("listening for events", seconds=case.wait):
            while (left := until - time.monotonic()) > 0 and listener.error is None:
                _collect(case)
                time.sleep(min(left, _TICK_SECONDS))
            _collect(case)
        case.listened = time.monotonic() - listener.since
        listener.close()
        case.hearing = listener.hearing
    return case.hearing


def _collect(case: Case) -> None:
    if case.survey is not None and case.survey_error is None:
        try:
            case.survey.collect()
        except Exception as error:  # noqa: BLE001 - the answers are lost, events may still come
            case.survey_error = one_line(error)
