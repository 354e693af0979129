"""The project's settings; its broker is named by the environment variable PROJECT_BROKER."""

import os

CELERY_BROKER_URL = os.environ["PROJECT_BROKER"]
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "project:"} if "redis" in CELERY_BROKER_URL else {}
CELERY_CONTROL_EXCHANGE = "project-control"
CELERY_EVENT_EXCHANGE = "project-events"
CELERY_EVENT_QUEUE_PREFIX = "project"
CELERY_TASK_DEFAULT_QUEUE = "project-tasks"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SEND_SENT_EVENT = True
