"""A Celery application with faults to order, for the alerts in a real Prometheus.

    python -m tests.alerts.faulty_app                                     goes on sending quick tasks, for ever
    python -m tests.alerts.faulty_app broken 20 celery quick 3 parcels   sends tasks so many times, each to a queue

to the broker that CELERY_BROKER_URL names.
"""

import sys
import time

from celery import Celery

PAUSE_S = 0.1
NAP_S = 300.0

app = Celery("faulty")
app.conf.task_send_sent_event = True
app.conf.task_ignore_result = True


@app.task(name="quick")
def quick() -> None:
    """Succeed at once."""


@app.task(name="broken")
def broken() -> None:
    """Fail."""
    raise ValueError("broken on purpose")


@app.task(name="endless")
def endless() -> None:
    """Run for longer than anybody waits for."""
    time.sleep(NAP_S)


def main() -> None:
    """Send what the arguments ask for."""
    orders = iter(sys.argv[1:])
    for task, count, queue in zip(orders, orders, orders, strict=True):
        for _ in range(int(count)):
            app.send_task(task, queue=queue)
    while len(sys.argv) == 1:
        app.send_task("quick")
        time.sleep(PAUSE_S)  # the rhythm of a workload, not a test's waiting


if __name__ == "__main__":
    main()
