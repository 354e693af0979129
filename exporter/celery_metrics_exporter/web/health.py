"""What ``/-/healthy``, ``/-/ready`` and the status page tell.

What the page shows is only handed on. Healthy is about this process alone: an outage of the
broker must not get it restarted, which would lose its counters. Ready says whether events flow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.status_page.snapshot import Snapshot


class _Status:
    """What is said of a process by its threads."""

    def __init__(
        self,
        subscription: StreamState,
        threads: Sequence[threading.Thread],
        look: Callable[[], Snapshot],
        reading: Callable[[], tuple[bool, str]] | None = None,
    ) -> None:
        """Args:
        subscription: state of the connection from which everything comes.
        threads: those without which the process is broken; they are started already.
        look: sees what the status page shows.
        reading: of an exporter without events, whether it reads queues.
        """
        self._reading = reading
        self._subscription = subscription
        self._threads = threads
        #: What the status page shows; takes milliseconds.
        self.overview = look

    def healthy(self) -> tuple[bool, str]:
        """Whether this process works."""
        dead = [thread.name for thread in self._threads if thread.ident is not None and not thread.is_alive()]
        return (False, f"dead: {', '.join(dead)}") if dead else (True, "healthy")


class WorkerStatus(_Status):
    """The status of a worker that reports for itself."""

    def ready(self) -> tuple[bool, str]:
        """Whether the worker has a connection to its broker, and consumes."""
        state = self._subscription.read()
        return (True, "consuming") if state.connected else (False, f"not consuming: {state.last_error}")


class ExporterStatus(_Status):
    """The status of a running exporter; each verdict comes with one line of text."""

    def ready(self) -> tuple[bool, str]:
        """Whether the subscription to the event stream stands and, as far as we know, delivers; else, queues are read.

        A standby is ready: it does what it can, and a rollout that waited for more would wait for the one that it is
        to replace.
        """
        if self._reading is not None:
            return self._reading()
        state = self._subscription.read()
        if not state.connected:
            return False, f"not receiving events: {state.last_error or 'connecting'}"
        if state.fault is not None:
            return False, f"connected but nothing arrives: {state.fault}"
        if state.standby:
            return True, "standby: another exporter receives the events, this one takes over when it is gone"
        return True, "receiving events"
