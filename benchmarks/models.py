from typing import ClassVar

from django.db import models


class PageView(models.Model):
    """A row for the event of 200 bytes."""

    path = models.TextField()
    method = models.CharField(max_length=16)
    status = models.PositiveSmallIntegerField()
    user = models.BigIntegerField()
    ms = models.FloatField()
    at = models.DateTimeField(db_index=True)
    referrer = models.TextField()
    agent = models.TextField()

    objects: ClassVar["models.Manager[PageView]"]


class ViewCount(models.Model):
    """The views of one path."""

    path = models.CharField(max_length=100, unique=True)
    views = models.IntegerField(default=0)

    objects: ClassVar["models.Manager[ViewCount]"]
