from django.db import models


class Product(models.Model):
    sku = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField(default=0)


class Customer(models.Model):
    email = models.EmailField(unique=True)
    points = models.IntegerField(default=0)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    product = models.ForeignKey(Product, models.CASCADE)
    quantity = models.IntegerField()
    total = models.DecimalField(max_digits=8, decimal_places=2)
    status = models.CharField(max_length=10, default="open")
    placed_at = models.DateTimeField(auto_now_add=True)


class Payment(models.Model):
    reference = models.CharField(max_length=40, unique=True)
    order = models.ForeignKey(Order, models.CASCADE)
    amount = models.DecimalField(max_digits=8, decimal_places=2)


class AuditEntry(models.Model):
    """A change of an order."""

    change = models.UUIDField(unique=True)
    order = models.IntegerField()
    action = models.CharField(max_length=20)
    data = models.JSONField()
