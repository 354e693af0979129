"""A Celery application with queues behind exchanges of every kind; its broker is that of CELERY_BROKER_URL."""

from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

APP = "tests.integration.published_app"
TASK = "published.note"

#: Over Redis only those who have declared an exchange publish by its type: clients give them as ``declare``.
SHOP = Exchange("shop", "topic")
NEWS = Exchange("news", "fanout")
POSTED = Exchange("posted", "fanout")

_QUORUM = {"x-queue-type": "quorum"}


def note() -> None:
    """Do nothing."""


def application() -> Celery:
    """Make the application; each has Broadcast queues of its own, as each process does."""
    made = Celery("published", set_as_current=False)

    made.conf.update(
        task_send_sent_event=True,
        task_ignore_result=True,
        worker_direct=True,
        task_queues=(
            Queue("celery", Exchange("celery"), "celery"),
            Queue("video", SHOP, "video.#"),
            Queue("image", SHOP, "image.*"),
            Broadcast("news"),
            Broadcast("posted", queue="letters", unique=True),
        ),
    )
    made.task(name=TASK, shared=False)(note)
    return made


def delaying() -> Celery:
    """The same with quorum queues, whose delayed messages RabbitMQ holds back."""
    made = application()
    made.conf.task_queues = (
        Queue("late", Exchange("late", "topic"), "late", queue_arguments=_QUORUM),
        Queue("later", Exchange("later", "topic"), "by.and.by", queue_arguments=_QUORUM),
    )
    made.conf.task_default_queue = "late"
    return made


app = application()
app_of_delays = delaying()
