"""The Celery app of the truth test.

Workers import it with `celery -A tests.integration.truth.app`, the client imports it to publish; both take the broker
from CELERY_BROKER_URL. What its tasks do stands in acts.py.
"""

from celery import Celery, Task
from kombu import Queue
from kombu.common import Broadcast

from tests.integration.truth.acts import act
from tests.integration.truth.workload import ACKS_LATE, EVERYONE, GIFT, QUEUES, TASKS, Behaviour

app = Celery("truth")
app.conf.update(
    task_send_sent_event=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    task_queues=(*(Queue(name) for name in QUEUES), Broadcast(EVERYONE)),
)


def _register(name: str) -> None:
    late = name in ACKS_LATE

    @app.task(bind=True, name=name, acks_late=late, reject_on_worker_lost=late)
    def run(self: Task, behaviour: str) -> str:
        act(self, Behaviour(behaviour))
        return behaviour


for _name in (*TASKS, GIFT):
    _register(_name)
