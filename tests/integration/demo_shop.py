"""The shop of the demo at work: its workers and its customers, as processes."""

import sys
from contextlib import ExitStack
from pathlib import Path

from celery import Celery

from celery_metrics_exporter.demo.shop import WORKERS
from tests.integration.servers import ServerProcess
from tests.integration.servers.exporter import clean_environment

NEWSLETTERS = 3000  # six threads take more than a minute for them


def fill_mail_queue(url: str) -> None:
    """Fill a queue, so that it becomes shorter from the exporter's first look on."""
    with Celery(broker=url, set_as_current=False) as app:
        for number in range(NEWSLETTERS):
            app.send_task("mail.send_newsletter", args=(number,), queue="mail", ignore_result=True)


def open_shop(stack: ExitStack, folder: Path, url: str) -> None:
    """Start workers and customers; the stack ends them."""
    env = clean_environment({"CELERY_BROKER_URL": url})
    modules = [("celery_metrics_exporter.demo.worker", name) for name in WORKERS] + [
        ("celery_metrics_exporter.demo.client",)
    ]
    for module, *arguments in modules:
        name = "-".join((module, *arguments))
        process = ServerProcess(
            [sys.executable, "-m", module, *arguments], log=folder / f"{name}.log", env=env, cwd=folder
        )
        stack.callback(process.kill)
        process.start()
