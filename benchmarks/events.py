"""The events that all projects get: page views of three sizes, and recorded changes."""

from decimal import Decimal
from typing import Any, Final

from example_project.shop.buckets import orders, webhooks
from example_project.shop.models import Order, Product

SIZES: Final = (60, 200, 2000)
"""Bytes of one page view as JSON."""


USUAL: Final = "200 bytes"


def kinds(count: int) -> dict[str, list[Any]]:
    """That many events of each kind, by the name of the kind."""
    views = {f"{size:,} bytes": [page_view(size)] * count for size in SIZES}
    return {**views, "a recorded change": recorded_changes(count)}


def page_view(size: int = 200) -> dict[str, Any]:
    """A page view of exactly that many bytes."""
    if size == 60:
        return {"path": "/products/blue-shoe/", "status": 200, "ms": 112.813456}
    view: dict[str, Any] = {
        "path": "/products/blue-shoe/",
        "method": "GET",
        "status": 200,
        "user": 4711,
        "ms": 12.813,
        "at": "2026-11-24T10:15:30.123456Z",
        "referrer": "https://shop.example/",
        "agent": "Mozilla/5.0 (X11; Linux) Firefox/145",
    }
    if size == 2000:
        view["clicks"] = [view.copy() for _ in range(8)]
        view["query"] = "blue+shoes" * 17
    return view


def recorded_changes(count: int) -> list[Any]:
    """The events that the shop records when orders are paid and shipped. Needs its tables."""
    product = Product.objects.create(name="Blue shoe", slug="blue-shoe", price=Decimal("44.75"))
    order = Order.objects.create(product=product, quantity=2, total=Decimal("89.50"))
    orders.purge()
    for number in range(count):
        order.status = (Order.Status.PAID, Order.Status.SHIPPED)[number % 2]
        order.save()
    changes = orders.take()
    order.delete()
    product.delete()
    orders.purge()
    webhooks.purge()  # it records the same changes
    return changes
