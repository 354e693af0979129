"""Tasks of the Django application, which belong to no Celery application in particular."""

from celery import shared_task

from tests.integration.django_project.shop.models import Order


@shared_task
def count_fields() -> int:
    """Use a model without a database."""
    return len(Order._meta.get_fields())


@shared_task
def mail_receipt() -> None:
    """Go where the route says."""
