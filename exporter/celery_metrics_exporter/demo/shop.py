"""The demo's Celery application: a small web shop with four queues, two workers and ten tasks.

The arguments of a task decide its outcome, as in a real shop (an expired card is declined, the message for a locked
shelf goes back to the queue), so the client decides what happens. Tasks sleep instead of working, to save CPU.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded

# Name of a worker -> its options.
WORKERS: Final = {
    "shop": ("--pool=prefork", "--concurrency=3", "--queues=orders,reports"),
    "media": ("--pool=threads", "--concurrency=6", "--queues=mail,media"),
}

BUSY_ATTEMPTS: Final = 2  # a busy gateway refuses so many attempts


class CardDeclined(Exception):
    """The bank refuses the card."""


class GatewayTimeout(Exception):
    """The payment gateway or the mail server did not answer in time; the task retries."""


class MailboxFull(Exception):
    """The recipient's mailbox is full."""


class UnsupportedImage(Exception):
    """The shop cannot read the uploaded file as an image."""


def charge_card(self: Any, order: int, card: str) -> str:
    """Fail for an expired card; retry while the gateway is busy."""
    _work(0.02, 0.12)
    if card == "expired":
        raise CardDeclined(f"order {order}")
    if card == "gateway-busy" and self.request.retries < BUSY_ATTEMPTS:
        raise self.retry(exc=GatewayTimeout(f"order {order}"), countdown=1.0, max_retries=3)
    return f"order {order} paid"


def reserve_stock(self: Any, order: int, shelf: str) -> str:
    """Reject the message for a shelf that is gone; requeue the message for a locked shelf once."""
    _work(0.01, 0.05)
    if shelf == "gone":
        raise Reject(f"order {order}: no such shelf", requeue=False)
    if shelf == "locked" and not self.request.delivery_info.get("redelivered"):
        raise Reject(f"order {order}: shelf is locked", requeue=True)
    return f"order {order} reserved"


def sync_prices() -> int:
    """Run every ten seconds, as if sent by beat."""
    _work(0.2, 0.5)
    return 1200


def send_receipt(self: Any, order: int, recipient: str) -> str:
    """Fail for a full mailbox; retry once when the mail server is slow."""
    _work(0.03, 0.2)
    if recipient == "full@example.com":
        raise MailboxFull(recipient)
    if recipient == "slow@example.com" and self.request.retries < 1:
        raise self.retry(exc=GatewayTimeout(recipient), countdown=2.0, max_retries=3)
    return f"receipt of order {order} sent"


def send_reminder(order: int) -> str:
    """Run some seconds after it was sent (eta), unless it is revoked or expires before."""
    _work(0.03, 0.1)
    return f"reminder of order {order} sent"


def send_newsletter(recipient: int) -> str:
    """Fill the queue: newsletters are sent in bursts."""
    _work(0.1, 0.2)
    return f"newsletter {recipient} sent"


def resize_image(path: str) -> str:
    """Fail for a file that is no image."""
    _work(0.1, 0.8)
    if path.endswith(".psd"):
        raise UnsupportedImage(path)
    return path


def transcode_video(path: str) -> str:
    """Run for some seconds."""
    _work(1.5, 5.0)
    return path


def build_sales_report(days: int) -> int:
    """Run for a time that grows with the number of days; a whole year exceeds the soft time limit."""
    _work(0.01 * days, 0.02 * days)
    return days


def export_archive(year: int) -> int:
    """Run until somebody terminates it."""
    _work(30.0, 40.0)
    return year


# `throws` names the failures that the demo intends: Celery then does not log them as errors.
_TASKS: Final[tuple[tuple[str, Callable[..., object], dict[str, object]], ...]] = (
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
    """The application with its tasks, for the broker that CELERY_BROKER_URL names."""
    app = Celery("shop", broker=os.environ["CELERY_BROKER_URL"], set_as_current=True)
    app.conf.update(
        accept_content=["json"],  # only with JSON alone Celery lets root run a worker
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
