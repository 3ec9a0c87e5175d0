"""A model without a table, which gives buckets their pages in the admin and their permissions."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class BucketManager(models.Manager["Bucket"]):
    """Finds no rows and never queries the database. The model has no table, and some code reads the
    rows of all models."""

    def get_queryset(self) -> models.QuerySet["Bucket"]:
        return super().get_queryset().none()


class Bucket(models.Model):
    """Stands for a bucket in the admin's index, URLs and log, and in permissions.

    The bucket itself is in Redis: see :class:`django_jsonbuffer.Bucket`.
    """

    name = models.CharField(_("name"), max_length=100, primary_key=True)

    objects = BucketManager()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change")
        permissions = [
            ("drain_bucket", "Can drain bucket"),
            ("view_events", "Can view events of a bucket"),
            ("delete_events", "Can discard dead letters and purge a bucket"),
        ]
        verbose_name = _("bucket")
        verbose_name_plural = _("buckets")

    def __str__(self) -> str:
        return self.name
