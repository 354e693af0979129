"""A Celery application with a known workload, for the test with a real Prometheus.

    python -m tests.integration.scraped_app

submits the workload to the broker that CELERY_BROKER_URL names.
"""

import time

from celery import Celery, Task

NAP_S = 1.05

QUICK, NAPS, BROKEN, FLAKY = 6, 2, 3, 2

app = Celery("scraped")
app.conf.task_send_sent_event = True
app.conf.task_routes = {"scraped.nap": {"queue": "slow"}}


@app.task(name="scraped.quick")
def quick() -> None:
    """Succeed at once."""


@app.task(name="scraped.nap")
def nap() -> None:
    """Succeed after a known time."""
    time.sleep(NAP_S)  # the task's work, not a test's waiting


@app.task(name="scraped.broken")
def broken() -> None:
    """Fail."""
    raise ValueError("broken on purpose")


@app.task(name="scraped.flaky", bind=True, max_retries=1)
def flaky(self: Task) -> None:
    """Fail once, succeed the second time."""
    if not self.request.retries:
        raise self.retry(exc=ConnectionError("flaky on purpose"), countdown=0)


def main() -> None:
    """Submit the workload."""
    for task, count in ((quick, QUICK), (nap, NAPS), (broken, BROKEN), (flaky, FLAKY)):
        for _ in range(count):
            task.apply_async(ignore_result=True)
    app.close()


if __name__ == "__main__":
    main()
