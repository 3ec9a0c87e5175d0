"""The buckets of the orders, and what becomes of their events."""

from django.core.mail import send_mail
from django.db.models import F
from django_jsonbuffer import Bucket

from .models import AuditEntry, Customer, Order, Payment, Product

stock = Bucket("stock", max_pending=100_000)
"""Idempotent: the last level of a product counts, however often it comes."""


@stock.processor
def store_levels(batch):
    for event in batch:
        Product.objects.update_or_create(
            sku=event["sku"],
            defaults={"stock": event["level"]},
            create_defaults={"name": event["sku"], "price": 0, "stock": event["level"]},
        )


payments = Bucket("payments")
"""Idempotent: the reference of a payment is unique. A payment and its order change together."""


@payments.processor(atomic="default")
def book(batch):
    for event in batch:
        order = Order.objects.filter(pk=event["order"]).first()
        if order is None:
            batch.reject(event, f"There is no order {event['order']}.")
            continue
        _, is_new = Payment.objects.get_or_create(
            reference=event["reference"], defaults={"order": order, "amount": event["amount"]}
        )
        if is_new:
            order.status = "paid"
            order.save()
            loyalty.append({"customer": order.customer_id, "points": order.quantity})


loyalty = Bucket("loyalty", receipts="default")
"""Its processor is not idempotent: it adds. The receipts see to it that it adds once."""


@loyalty.processor
def add_points(batch):
    for event in batch:
        Customer.objects.filter(pk=event["customer"]).update(points=F("points") + event["points"])


confirmations = Bucket("confirmations")
"""Not idempotent: a customer may get a mail twice. The bakery can live with that."""


@confirmations.processor
def send_confirmations(batch):
    for event in batch:
        send_mail("Your order", f"We bake {event['product']}.", None, [event["email"]])


order_changes = Bucket("order-changes")
"""Idempotent: the id of a change is unique."""

order_changes.record(Order, fields=["status", "total"], changes=True)


@order_changes.processor
def audit(batch):
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                change=event["id"],
                order=event["subject"],
                action=event["type"].rpartition(".")[2],
                data=event["data"],
            )
            for event in batch
        ],
        ignore_conflicts=True,
    )
