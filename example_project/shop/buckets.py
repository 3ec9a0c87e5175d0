from datetime import timedelta

from django_jsonbuffer import Batch, Bucket
from example_project.shop.models import AuditEntry, Order, PageView

page_views = Bucket("page-views", batch_size=1000, linger=timedelta(seconds=1))


@page_views.processor
def store(batch: Batch) -> None:
    PageView.objects.bulk_create(PageView(**view) for view in batch)


orders = Bucket("orders")
orders.record(Order, fields=["product", "quantity", "status", "total"], changes=True, actor=True)


@orders.processor
def audit(batch: Batch) -> None:
    # An event that comes a second time has the same id, so its row exists already.
    AuditEntry.objects.bulk_create(
        (
            AuditEntry(
                event_id=event["id"],
                type=event["type"],
                subject=event["subject"],
                actor=event.get("authid", ""),
                at=event["time"],
                data=event["data"],
            )
            for event in batch
        ),
        ignore_conflicts=True,
    )
