"""The project's application."""

from celery import Celery

app = Celery("project", set_as_current=False)
app.config_from_object("tests.integration.project.settings", namespace="CELERY")
app.autodiscover_tasks(["tests.integration.project"])
