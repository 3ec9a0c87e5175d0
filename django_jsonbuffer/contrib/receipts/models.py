"""The table of the receipts: the only table of this project."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Receipt(models.Model):
    """Which events of one origin have been processed. An origin is an open batch of a bucket."""

    bucket = models.CharField(_("bucket"), max_length=100)
    origin = models.CharField(_("origin"), max_length=60)
    places = models.TextField(
        pgettext_lazy("receipt", "places"),
        help_text=_("Places of the events in the open batch, from 0: 0-999,1002"),
    )
    at = models.DateTimeField(pgettext_lazy("receipt", "at"), db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bucket", "origin"], name="jsonbuffer_once")]
        verbose_name = _("receipt")
        verbose_name_plural = _("receipts")

    def __str__(self) -> str:
        return f"{self.bucket} {self.origin}:{self.places:.100}"
