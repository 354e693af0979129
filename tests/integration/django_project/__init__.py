"""A Django project as its documentation and Celery's show one, with one application of its own.

DJANGO_SETTINGS_MODULE=tests.integration.django_project.settings celery -A tests.integration.django_project worker
"""

from tests.integration.django_project.celery import app as celery_app

__all__ = ("celery_app",)
