from datetime import timedelta

from django.conf import settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.sinks import Increment, Insert, Post
from example_project.shop.models import AuditEntry, Order, PageView, ProductViews

RECORDED_FIELDS = ["product", "quantity", "status", "total"]

# Each event becomes a row. With receipts, a batch that comes again adds no second row.
page_views = Bucket(
    "page-views",
    batch_size=1000,
    linger=timedelta(seconds=1),
    processor=Insert(PageView),
    receipts="default",
)

# The views of a batch are added to the rows of their product and day. A page is more important than
# its counter, so it is also answered without Redis.
product_views = Bucket(
    "product-views",
    processor=Increment(ProductViews, key=["product", "day"], fields={"views": 1}),
    receipts="default",
    on_unavailable="drop",
)

# Each committed change of an order is an event, which a function of the shop processes.
orders = Bucket("orders")
orders.record(Order, fields=RECORDED_FIELDS, changes=True, actor=True)


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


# The same changes are posted to an endpoint. It has a bucket of its own: while the endpoint is out
# of order, its changes wait here, and the audit goes on.
webhooks = Bucket("webhooks", processor=Post(settings.WEBHOOK_URL, secret=settings.WEBHOOK_SECRET))
webhooks.record(Order, fields=RECORDED_FIELDS)
