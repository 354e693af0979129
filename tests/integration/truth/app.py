"""The Celery app of the truth test.

Workers import it with `celery -A tests.integration.truth.app`, the client imports it to publish; both take the broker
from CELERY_BROKER_URL, and the options of its transport from TRUTH_TRANSPORT. What its tasks do stands in acts.py.
"""

import json
import os

from celery import Celery, Task
from kombu import Queue
from kombu.common import Broadcast

from celery_metrics_exporter.in_worker import install
from tests.integration.truth.acts import act
from tests.integration.truth.workload import ACKS_LATE, EVERYONE, GIFT, QUEUES, TASKS, Behaviour

#: The variable that lets workers report for themselves.
IN_WORKER = "TRUTH_IN_WORKER"
#: The variable with the options of the broker's transport, as JSON.
TRANSPORT = "TRUTH_TRANSPORT"

app = Celery("truth")
app.conf.update(
    task_send_sent_event=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get(TRANSPORT, "{}")),
    task_queues=(*(Queue(name) for name in QUEUES), Broadcast(EVERYONE)),
)

if IN_WORKER in os.environ:
    install(app)


def _register(name: str) -> None:
    late = name in ACKS_LATE

    @app.task(bind=True, name=name, acks_late=late, reject_on_worker_lost=late)
    def run(self: Task, behaviour: str) -> str:
        act(self, Behaviour(behaviour))
        return behaviour


for _name in (*TASKS, GIFT):
    _register(_name)
