"""The project's tasks."""

from celery import shared_task


@shared_task
def pack(parcels: int) -> int:
    """Pack parcels."""
    return parcels
