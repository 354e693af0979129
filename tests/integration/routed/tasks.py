"""The project's tasks: one on the default queue, one behind a pattern, one with its own queue, one by its arguments."""

from tests.integration.routed.celery import app


@app.task
def pack() -> None:
    """Go to the default queue."""


@app.task
def mail_receipt() -> None:
    """Go where the route says."""


@app.task(queue="paper")
def print_label() -> None:
    """Go to a queue that the task itself names."""


@app.task
def bill(customer: int) -> None:
    """Go where its argument says."""
