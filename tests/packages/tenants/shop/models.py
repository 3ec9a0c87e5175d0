"""Tables of each tenant's schema."""

from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, IntegerRangeField
from django.db import models


class Order(models.Model):
    status = models.CharField(max_length=20, default="open")
    total = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    weight = models.FloatField(default=0)
    sizes = ArrayField(models.IntegerField(), default=list)
    delivery = DateTimeRangeField(null=True)
    floors = IntegerRangeField(null=True)
