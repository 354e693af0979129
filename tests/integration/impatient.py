"""Runs the exporter with less patience, so that tests need less.

The first argument says how many subscriptions hang for ever while they are opened; the rest is the exporter's.
"""

import sys
import threading

from celery_metrics_exporter import app
from celery_metrics_exporter.cli import main as cli
from celery_metrics_exporter.events import delivery_monitor as delivery
from celery_metrics_exporter.receivers import choosing
from celery_metrics_exporter.receivers.redis import RedisSubscription

#: How the exporter is run by this module; the number of stuck receivers and its own arguments follow.
IMPATIENT = (sys.executable, "-m", "tests.integration.impatient")
PATIENCE_S = 0.6


class Hanging(RedisSubscription):
    """A subscription that hangs, as often as it is told to: no server can be made to do that to it for ever."""

    times = 0

    def open(self) -> None:
        """Hang, or subscribe."""
        if Hanging.times:
            Hanging.times -= 1
            threading.Event().wait()
        super().open()


if __name__ == "__main__":
    Hanging.times = int(sys.argv.pop(1))
    if Hanging.times:
        vars(choosing).update(RedisSubscription=Hanging)
        vars(app).update(PATIENCE_SECONDS=PATIENCE_S)
    vars(delivery).update(SILENCE_SECONDS=0.5, ANSWER_SECONDS=1.5, RENEWAL_PAUSE_SECONDS=(0.0, 1.0))
    sys.exit(cli.main())
