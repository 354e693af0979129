"""What a task needs of Django: importing it before Django is set up fails."""

from django.db import models


class Order(models.Model):
    """An order."""

    number = models.IntegerField()

    def __str__(self) -> str:
        """Show it."""
        return str(self.number)
