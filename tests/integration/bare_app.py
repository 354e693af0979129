"""The smallest Celery application: one task, its broker named by the environment (CELERY_BROKER_URL)."""

from celery import Celery

app = Celery("bare")
app.conf.task_send_sent_event = True


@app.task(name="bare.add")
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right
