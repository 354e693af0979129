"""The demo's Celery application: a small web shop with four queues, two workers and ten tasks.

Owns the tasks, their routes and the workers that run them. Outcomes follow from a task's arguments, as in a real shop
(an expired card is declined, a locked shelf is put back to the queue), so the client decides what happens.
Work is time asleep: the demo shows much and costs little CPU.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process: name, pool, slots, queues."""

    name: str
    pool: str
    concurrency: int
    queues: tuple[str, ...]


WORKERS = (
    Worker("shop", pool="prefork", concurrency=3, queues=("orders", "reports")),
    Worker("media", pool="threads", concurrency=6, queues=("mail", "media")),
)


BUSY_FOR = 2  # attempts that a busy gateway turns away


class CardDeclined(Exception):
    """The bank says no."""


class GatewayTimeout(Exception):
    """The payment gateway or the mail server did not answer in time; worth another try."""


class MailboxFull(Exception):
    """The recipient's mailbox takes no more mail."""


class UnsupportedImage(Exception):
    """The uploaded file is no image that the shop can read."""


def charge_card(self: Any, order: int, card: str) -> str:
    """Fail with an expired card; try again while the gateway is busy."""
    _work(0.02, 0.12)
    if card == "expired":
        raise CardDeclined(f"order {order}")
    if card == "gateway-busy" and self.request.retries < BUSY_FOR:
        raise self.retry(exc=GatewayTimeout(f"order {order}"), countdown=1.0, max_retries=3)
    return f"order {order} paid"


def reserve_stock(self: Any, order: int, shelf: str) -> str:
    """Refuse a shelf that is gone; put the message of a locked one back once."""
    _work(0.01, 0.05)
    if shelf == "gone":
        raise Reject(f"order {order}: no such shelf", requeue=False)
    if shelf == "locked" and not self.request.delivery_info.get("redelivered"):
        raise Reject(f"order {order}: shelf is locked", requeue=True)
    return f"order {order} reserved"


def sync_prices() -> int:
    """Run every ten seconds, as if beat sent it."""
    _work(0.2, 0.5)
    return 1200


def send_receipt(self: Any, order: int, recipient: str) -> str:
    """Fail with a full mailbox; try again once when the mail server is slow."""
    _work(0.03, 0.2)
    if recipient == "full@example.com":
        raise MailboxFull(recipient)
    if recipient == "slow@example.com" and self.request.retries < 1:
        raise self.retry(exc=GatewayTimeout(recipient), countdown=2.0, max_retries=3)
    return f"receipt of order {order} sent"


def send_reminder(order: int) -> str:
    """Run some seconds after it was sent (ETA), unless it is revoked or expires first."""
    _work(0.03, 0.1)
    return f"reminder of order {order} sent"


def send_newsletter(recipient: int) -> str:
    """Come in bursts, so that the queue fills."""
    _work(0.1, 0.2)
    return f"newsletter {recipient} sent"


def resize_image(path: str) -> str:
    """Fail with a file that is no image."""
    _work(0.1, 0.8)
    if path.endswith(".psd"):
        raise UnsupportedImage(path)
    return path


def transcode_video(path: str) -> str:
    """Take seconds."""
    _work(1.5, 5.0)
    return path


def build_sales_report(days: int) -> int:
    """Take the longer the more days it covers; a whole year runs into the soft time limit."""
    _work(0.01 * days, 0.02 * days)
    return days


def export_archive(year: int) -> int:
    """Run until somebody terminates it."""
    _work(30.0, 40.0)
    return year


# `throws` names the failures that belong to the plot: Celery then does not log them as errors.
_TASKS: tuple[tuple[str, Callable[..., object], dict[str, object]], ...] = (
    ("shop.orders.charge_card", charge_card, {"bind": True, "throws": (CardDeclined,)}),
    ("shop.orders.reserve_stock", reserve_stock, {"bind": True, "acks_late": True}),
    ("shop.stock.sync_prices", sync_prices, {}),
    ("mail.send_receipt", send_receipt, {"bind": True, "throws": (MailboxFull,)}),
    ("mail.send_reminder", send_reminder, {}),
    ("mail.send_newsletter", send_newsletter, {}),
    ("media.resize_image", resize_image, {"throws": (UnsupportedImage,)}),
    ("media.transcode_video", transcode_video, {}),
    (
        "reports.build_sales_report",
        build_sales_report,
        {"soft_time_limit": 3, "throws": (SoftTimeLimitExceeded,)},
    ),
    ("reports.export_archive", export_archive, {}),
)


def make_app() -> Celery:
    """Return the application on the broker that the environment names, with its tasks registered."""
    app = Celery("shop", broker=os.environ["CELERY_BROKER_URL"], set_as_current=True)
    app.conf.update(
        accept_content=["json"],  # JSON alone: Celery then lets root run a worker
        broker_connection_retry_on_startup=True,
        task_ignore_result=True,
        task_routes={
            "shop.*": {"queue": "orders"},
            "mail.*": {"queue": "mail"},
            "media.*": {"queue": "media"},
            "reports.*": {"queue": "reports"},
        },
        task_send_sent_event=True,
    )
    for name, function, options in _TASKS:
        app.task(name=name, **options)(function)
    return app


def _work(least: float, most: float) -> None:
    time.sleep(random.uniform(least, most))
