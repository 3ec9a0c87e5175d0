"""Models of the kinds that sinks write."""

import uuid
from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import F


class Product(models.Model):
    name = models.CharField(max_length=20, default="")

    objects: ClassVar["models.Manager[Product]"]


class SpecialProduct(Product):
    weight = models.IntegerField(default=0)


class ProductProxy(Product):
    class Meta:
        proxy = True


class PageView(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    path = models.CharField(max_length=20)
    product = models.ForeignKey(Product, models.CASCADE, null=True)
    loose = models.ForeignKey(
        Product, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    at = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    number = models.IntegerField(default=5)
    length = models.DurationField(null=True)
    content = models.BinaryField(null=True)
    is_robot = models.BooleanField(default=False)
    rest = models.JSONField(null=True)
    recorded = models.DateTimeField(auto_now_add=True)

    objects: ClassVar["models.Manager[PageView]"]


class Stock(models.Model):
    sku = models.CharField(max_length=20, unique=True)
    product = models.ForeignKey(Product, models.CASCADE)
    note = models.TextField(null=True, default="fresh")  # noqa: DJ001
    quantity = models.IntegerField(default=7)
    version = models.IntegerField(null=True)
    rest = models.JSONField()
    changed = models.DateTimeField(auto_now=True)
    created = models.DateTimeField(auto_now_add=True)

    objects: ClassVar["models.Manager[Stock]"]


class Count(models.Model):
    product = models.ForeignKey(Product, models.CASCADE)
    day = models.DateField()
    views = models.BigIntegerField(default=0)
    maybe = models.IntegerField(null=True)
    total = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal(0))
    ratio = models.FloatField(default=0)
    token = models.UUIDField(default=uuid.uuid4)
    note = models.TextField(default="fresh")
    changed = models.DateTimeField(auto_now=True)

    objects: ClassVar["models.Manager[Count]"]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["product", "day"], name="one_count_a_day"),
            models.UniqueConstraint(
                fields=["note"], condition=models.Q(views__lt=-1), name="one_odd_note"
            ),
        ]


class Cell(models.Model):
    pk = models.CompositePrimaryKey("x", "y")
    x = models.IntegerField()
    y = models.CharField(max_length=20)
    value = models.IntegerField(default=0)

    objects: ClassVar["models.Manager[Cell]"]


class Computed(models.Model):
    name = models.CharField(max_length=20, primary_key=True)
    number = models.IntegerField(db_default=3)
    other = models.IntegerField(default=1)
    double = models.GeneratedField(
        expression=F("other") * 2, output_field=models.IntegerField(), db_persist=True
    )

    objects: ClassVar["models.Manager[Computed]"]


class Strict(models.Model):
    name = models.CharField(max_length=20, unique=True)
    needed = models.IntegerField()
    number = models.IntegerField(default=0)

    objects: ClassVar["models.Manager[Strict]"]


class WithoutTable(models.Model):
    name = models.TextField()


MODELS = (Product, PageView, Stock, Count, Cell, Computed, Strict)
