"""The workers of a bucket with the batch that each holds, and the batches that will be retried."""

from datetime import timedelta
from typing import Any, Final

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.figures import Age
from django_jsonbuffer.store.deliveries import Delivery

DELIVERIES_SHOWN: Final = 100


def describe_deliveries(bucket: Bucket, *, lease: timedelta, with_messages: bool) -> dict[str, Any]:
    """A row for each worker, and one for each released batch.

    Without `with_messages`, only the class of an error is shown, because its message may quote an
    event.
    """
    deliveries = catalog.deliveries(bucket, DELIVERIES_SHOWN)
    held = {delivery.worker: delivery for delivery in deliveries.batches if delivery.worker}
    names = sorted({*deliveries.workers, *held})
    return {
        "workers": [
            _worker(name, last_seen=deliveries.workers.get(name), batch=held.get(name))
            for name in names
        ],
        "released": [
            {
                "batch": batch,
                "error": escape_invisible(batch.error if with_messages else batch.error_kind),
                "retry_in": Age.of(batch.retry_in(lease)),
            }
            for batch in deliveries.batches
            if not batch.worker
        ],
    }


def _worker(name: str, *, last_seen: timedelta | None, batch: Delivery | None) -> dict[str, Any]:
    held_for = batch.claimed if batch else None
    return {
        "name": name,
        "last_seen": None if last_seen is None else Age.of(last_seen),
        "batch": batch,
        "held_for": None if held_for is None else Age.of(held_for),
    }
