"""Its tables."""

from django.db import models


class Order(models.Model):
    """An order."""

    item = models.CharField(max_length=100)
    is_shipped = models.BooleanField(default=False)


class Seen(models.Model):
    """A signal that was received."""

    signal = models.CharField(max_length=20)
    task = models.CharField(max_length=200)
    status = models.CharField(max_length=20)
    result_id = models.CharField(max_length=64)
