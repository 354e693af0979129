"""The demo's client process, `python -m celery_metrics_exporter.demo.client`: sends tasks as a shop's customers would.

It sends 8 to 18 tasks per second in waves, a burst of newsletters every 45 s, and one periodic task. It begins with one
task of each kind, so that every outcome shows within seconds.
"""

from __future__ import annotations

import itertools
import math
import random
import sched
import time
from typing import Any, Final

from celery import Celery

from celery_metrics_exporter.demo.shop import WORKERS, make_app

_MEAN_RATE: Final = 13.0  # tasks per second
_RATE_SWING: Final = 5.0
_WAVE_SECONDS: Final = 120.0
_FIRST_NEWSLETTER_SECONDS: Final = 5.0
_NEWSLETTER_INTERVAL_SECONDS: Final = 45.0
_NEWSLETTER_SIZE: Final = 60
_PRICES_INTERVAL_SECONDS: Final = 10.0
_WORKERS_TIMEOUT_SECONDS: Final = 30.0


class Customers:
    """Publishes the workload."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._orders = itertools.count(1000)
        self._later = sched.scheduler(time.monotonic)
        self._scenes = (
            (30.0, lambda: self._charge("valid")),
            (2.0, lambda: self._charge("expired")),
            (2.0, lambda: self._charge("gateway-busy")),
            (22.0, lambda: self._send("shop.orders.reserve_stock", next(self._orders), "A7")),
            (0.6, lambda: self._send("shop.orders.reserve_stock", next(self._orders), "gone")),
            (0.6, lambda: self._send("shop.orders.reserve_stock", next(self._orders), "locked")),
            (20.0, lambda: self._receipt("jane@example.com")),
            (1.0, lambda: self._receipt("full@example.com")),
            (1.0, lambda: self._receipt("slow@example.com")),
            (3.0, lambda: self._remind(countdown=random.uniform(1.0, 8.0))),
            (0.6, lambda: self._remind(countdown=2.0, expires=1.0)),
            (0.6, self._remind_and_revoke),
            (12.0, lambda: self._send("media.resize_image", "cat.jpg")),
            (1.0, lambda: self._send("media.resize_image", "logo.psd")),
            (1.5, lambda: self._send("media.transcode_video", "unboxing.mp4")),
            (1.5, lambda: self._send("reports.build_sales_report", random.choice((7, 30, 90)))),
            (0.15, lambda: self._send("reports.build_sales_report", 365)),
            (0.15, self._export_and_terminate),
        )

    def run(self) -> None:
        """Publish until the process ends."""
        start = time.monotonic()
        self._later.enter(0.0, 0, self._sync_prices)
        self._later.enter(_FIRST_NEWSLETTER_SECONDS, 0, self._newsletter)
        weights, scenes = zip(*self._scenes, strict=True)
        for scene in scenes:
            scene()
        while True:
            wave = math.sin(2 * math.pi * (time.monotonic() - start) / _WAVE_SECONDS)
            time.sleep(random.expovariate(_MEAN_RATE + _RATE_SWING * wave))
            random.choices(scenes, weights)[0]()
            self._later.run(blocking=False)

    def _send(self, task: str, *args: object, **options: object) -> Any:
        return self._app.send_task(task, args=args, **options)

    def _charge(self, card: str) -> None:
        self._send("shop.orders.charge_card", next(self._orders), card)

    def _receipt(self, recipient: str) -> None:
        self._send("mail.send_receipt", next(self._orders), recipient)

    def _remind(self, **options: float) -> Any:
        return self._send("mail.send_reminder", next(self._orders), **options)

    def _remind_and_revoke(self) -> None:
        reminder = self._remind(countdown=3.0)
        self._later.enter(1.0, 0, lambda: self._app.control.revoke(reminder.id))

    def _export_and_terminate(self) -> None:
        export = self._send("reports.export_archive", 2020)
        self._later.enter(4.0, 0, lambda: self._app.control.revoke(export.id, terminate=True))

    def _sync_prices(self) -> None:
        self._send("shop.stock.sync_prices")
        self._later.enter(_PRICES_INTERVAL_SECONDS, 0, self._sync_prices)

    def _newsletter(self) -> None:
        for recipient in range(_NEWSLETTER_SIZE):
            self._send("mail.send_newsletter", recipient)
        self._later.enter(_NEWSLETTER_INTERVAL_SECONDS, 0, self._newsletter)


def main() -> None:
    """Wait for the workers, then publish until SIGTERM."""
    app = make_app()
    deadline = time.monotonic() + _WORKERS_TIMEOUT_SECONDS
    # A worker that does not listen yet would miss a revoke.
    while len(app.control.ping(timeout=0.5, limit=len(WORKERS))) < len(WORKERS):
        if time.monotonic() > deadline:
            break
    Customers(app).run()


if __name__ == "__main__":
    main()
