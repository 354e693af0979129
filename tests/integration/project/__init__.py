"""A Celery project as people write them: an application, its settings under a prefix, tasks found by themselves.

celery -A tests.integration.project worker
"""

from tests.integration.project.celery import app as celery_app

__all__ = ("celery_app",)
