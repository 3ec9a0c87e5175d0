from django.db import models
from django.urls import reverse


class Product(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:product", args=[self.slug])


class Order(models.Model):
    class Status(models.TextChoices):
        NEW = "new", "New"
        PAID = "paid", "Paid"
        SHIPPED = "shipped", "Shipped"
        CANCELLED = "cancelled", "Cancelled"

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"

    def get_absolute_url(self) -> str:
        return reverse("shop:order", args=[self.pk])


class AuditEntry(models.Model):
    """One committed change of an order. A drain writes it later."""

    event_id = models.CharField(max_length=36, unique=True)
    type = models.CharField(max_length=50)
    subject = models.CharField("order", max_length=20, db_index=True)
    actor = models.CharField(max_length=20, blank=True)
    at = models.DateTimeField(db_index=True)
    data = models.JSONField()

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class PageView(models.Model):
    """One answered request to the shop. A drain writes it later."""

    path = models.TextField()
    method = models.CharField(max_length=16)
    status_code = models.PositiveSmallIntegerField()
    user_agent = models.TextField()
    duration_ms = models.FloatField("duration in ms")
    at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ProductViews(models.Model):
    """How often the page of a product was viewed on one day. A drain adds to it later."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="daily_views")
    day = models.DateField()
    views = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-day", "product"]
        constraints = [
            # A drain finds the row of a product and a day by this.
            models.UniqueConstraint(fields=["product", "day"], name="one_row_per_product_and_day")
        ]
        verbose_name_plural = "product views"

    def __str__(self) -> str:
        return f"{self.product} on {self.day}"


class WebhookRequest(models.Model):
    """One request to the endpoint of the webhooks, and its answer."""

    webhook_id = models.CharField(max_length=100, db_index=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    status_code = models.PositiveSmallIntegerField()
    changes = models.PositiveIntegerField("number of changes")

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.webhook_id}: {self.status_code}"


class ReceivedChange(models.Model):
    """A change of an order that the endpoint of the webhooks has received, perhaps repeatedly."""

    event_id = models.CharField(max_length=36, unique=True)
    type = models.CharField(max_length=50)
    subject = models.CharField("order", max_length=20, db_index=True)
    at = models.DateTimeField(db_index=True)
    data = models.JSONField()

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"
