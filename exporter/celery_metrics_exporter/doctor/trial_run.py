"""Runs the exporter itself for some seconds, without a web server, and takes one last look at what it saw."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.status_page.missing import find_missing
from celery_metrics_exporter.status_page.snapshot_tables import Top

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from celery_metrics_exporter.config.config import Config
    from celery_metrics_exporter.doctor.context import Context
    from celery_metrics_exporter.status_page.snapshot import Snapshot

_TICK_SECONDS: Final = 0.1


class TrialRun:
    """An exporter, from its start to the last look.

    Attributes:
        seconds: for which it received events at that time.
    """

    def __init__(self, config: Config, app: Any) -> None:
        """Starts it; ``app`` is the application that ``config.app`` names."""
        self._exporter = Exporter(config, app, serve=False)
        self._since: float | None = None
        self._stopped = False
        self.seconds = 0.0
        self._exporter.start()

    def wait_until_connected(self, timeout: float) -> None:
        """Wait until it receives events, or for so many seconds."""
        until = time.monotonic() + timeout
        while self._since is None and time.monotonic() < until:
            if self._exporter.survey.look().subscription.connected:
                self._since = time.monotonic()
            else:
                time.sleep(_TICK_SECONDS / 4)

    def last_look(self, wait: float, meanwhile: Callable[[], None]) -> Snapshot:
        """Let it receive for so many seconds in all, then stop it; returns what it saw."""
        since = time.monotonic() if self._since is None else self._since
        while (left := since + wait - time.monotonic()) > 0:
            meanwhile()
            time.sleep(min(left, _TICK_SECONDS))
        meanwhile()
        self.seconds = time.monotonic() - since
        seen = self._exporter.survey.look()
        self.close()
        return seen

    def close(self) -> None:
        """Stop it."""
        if not self._stopped:
            self._stopped = True
            self._exporter.stop()


def listen(context: Context) -> Snapshot:
    """What the exporter saw in the time that there is for it; the first call waits for that."""
    run = context.trial_run
    if run is None:
        raise RuntimeError("there is no exporter")
    if context.seen is None:
        with context.progress.doing("listening for events", seconds=context.wait):
            run.wait_until_connected(context.timeout)
            seen = run.last_look(context.wait, _collect(context))
        if context.traffic is not None:
            context.traffic.close()
        context.seen = _with_our_own(context, seen)
        context.findings = find_missing(context.seen, final=True)
    return context.seen


def _collect(context: Context) -> Callable[[], None]:
    """What is done while it listens: take the answers to our own question."""
    return (lambda: None) if context.questions is None else context.questions.collect


def _with_our_own(context: Context, seen: Snapshot) -> Snapshot:
    """Add what our own event and question tell sooner than anything that the exporter does by itself."""
    questions, workers, subscription = context.questions, seen.workers, seen.subscription
    if questions is None:
        return seen
    if questions.probed and subscription.connected and not seen.stream.heard:
        deafness = f"nothing in {context.seconds:.0f} s, not even the event that was sent to ourselves"
        subscription = replace(subscription, deafness=subscription.deafness or deafness)
    shared = {name for name, number in questions.answers.items() if number > 1} | set(workers.namesakes.rows)
    if len(shared) > workers.namesakes.total:
        workers = replace(workers, namesakes=Top(tuple(sorted(shared)), len(shared)))
    return replace(seen, subscription=subscription, workers=workers)
