"""The project's settings; its broker is named by the environment variable PROJECT_BROKER."""

import os
import sys

SECRET_KEY = "known-to-everybody"
INSTALLED_APPS = ["django.contrib.contenttypes", "tests.integration.django_project.shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# Silences every logger that was there before, as many projects do; but a test waits for a line of the worker.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": "worker" not in sys.argv,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "DEBUG"},
}

CELERY_BROKER_URL = os.environ["PROJECT_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = "website"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ROUTES = {"*.shop.tasks.mail_*": {"queue": "mail"}}
